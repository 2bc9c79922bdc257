/** What the phone has said and heard, newest last. The package removes secrets before a line gets here. */

import { byId, element } from './dom.js';

const KEPT = 400;

export class TraceView {
  #list = byId('trace');
  #entries = [];

  constructor() {
    const everything = byId('trace-everything');
    everything.addEventListener('change', () => {
      this.#list.classList.toggle('everything', everything.checked);
    });
    byId('trace-clear').addEventListener('click', () => {
      this.#entries = [];
      this.#list.replaceChildren();
    });
    const copy = byId('trace-copy');
    copy.addEventListener('click', async () => {
      const text = this.#entries.map(({ time, text }) => `${clock(time)} ${text}`).join('\n\n');
      await navigator.clipboard.writeText(text);
      copy.textContent = 'Copied';
      copy.addEventListener('blur', () => { copy.textContent = 'Copy'; }, { once: true });
    });
  }

  /** @param entry a "log" event of the package */
  add(entry) {
    this.#entries.push(entry);
    const atEnd = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 40;
    this.#list.append(row(entry));
    if (this.#entries.length > KEPT) {
      this.#entries.shift();
      this.#list.firstElementChild.remove();
    }
    if (atEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }
}

function row({ level, time, text }) {
  const { direction, kind, lines } = readEntry(text);
  const line = [
    element('time', {}, clock(time)),
    element('span', { class: 'direction' }, { sent: '↑ sent', received: '↓ received' }[direction] ?? level),
    element('span', { class: 'summary' }, lines[0]),
  ];
  const item = element('div', { class: 'entry', 'data-level': level, 'data-kind': kind, 'data-direction': direction });
  if (lines.length === 1) item.append(element('p', { class: 'line' }, ...line));
  else item.append(element('details', {}, element('summary', { class: 'line' }, ...line), element('pre', {}, lines.join('\n'))));
  return item;
}

/** The package puts "sent" or "received" on a line of its own before a message. */
function readEntry(text) {
  const [first, ...rest] = text.replaceAll('\r', '').trimEnd().split('\n');
  if (first !== 'sent' && first !== 'received') return { direction: '', kind: 'note', lines: [first, ...rest] };
  if (rest.length === 0) return { direction: first, kind: 'keep-alive', lines: ['keep-alive'] };
  return { direction: first, kind: 'message', lines: rest };
}

function clock(time) {
  const date = new Date(time);
  const two = (value) => String(value).padStart(2, '0');
  const milliseconds = String(date.getMilliseconds()).padStart(3, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${milliseconds}`;
}
