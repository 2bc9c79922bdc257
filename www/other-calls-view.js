/** The calls beside the one that is talked in. */

import { remoteName } from './call-view.js';
import { byId, element, settle } from './dom.js';

export class OtherCallsView {
  #section = byId('other-calls');
  #list = byId('other-calls-list');
  #handlers;
  #shown = '';

  /** @param handlers `{ switchTo(call), merge(), transferTo(call), hangup(call) }` */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  show(calls, { current, conference }) {
    // Made anew only when something has changed, so that a focused button stays.
    const key = JSON.stringify([calls.map(({ id, state, localHold }) => [id, state, localHold]), current?.id, current?.state, conference]);
    if (key === this.#shown) return;
    this.#shown = key;
    this.#section.hidden = calls.length === 0;
    this.#list.replaceChildren(...calls.map((call) => this.#row(call, current, conference)));
    settle(this.#list);
  }

  #row(call, current, conference) {
    const name = remoteName(call);
    const what = conference ? 'in the conference' : call.localHold ? 'on hold' : call.state;
    const row = element('li', {}, element('span', { class: 'who' }, `${name}, ${what}`));
    const add = (label, action) => {
      const button = element('button', { type: 'button', class: 'button small', 'aria-label': `${label}: ${name}` }, label);
      button.addEventListener('click', action);
      row.append(button);
    };
    const up = call.state === 'active';
    if (up && !conference) add('Switch', () => this.#handlers.switchTo(call));
    if (up && current?.state === 'active' && !conference) {
      add('Merge', () => this.#handlers.merge());
      add('Connect both', () => this.#handlers.transferTo(call));
    }
    add('End', () => this.#handlers.hangup(call));
    return row;
  }
}
