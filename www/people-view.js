/** Who is on the phone, who is there, and whether messages wait. */

import { presenceDocument, watchDialogs, watchMessageSummary, watchPresence } from '/pkg/events.js';
import { domainOf, userOf } from './address.js';
import { byId, element } from './dom.js';

const WORDS = { idle: 'free', ringing: 'rings', busy: 'on the phone', held: 'has a call on hold', unknown: 'not known' };

export class PeopleView {
  #section = byId('people');
  #lamps = byId('lamps');
  #open = byId('presence-open');
  #handlers;
  #stops = [];
  #phone = null;
  #config = null;
  #published = null;

  /** @param handlers `{ call(user), error(error) }` */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#open.addEventListener('change', () => this.#publish());
    byId('mailbox-clear').addEventListener('click', () => {
      this.#phone.sendMessage(`sip:mailbox@${domainOf(this.#config.uri)}`, 'heard').catch(handlers.error);
    });
  }

  /** Watches these people with this phone, which is connected; without a phone nobody. */
  watch(phone, config, uris) {
    for (const stop of this.#stops.splice(0)) stop();
    this.#phone = phone;
    this.#config = config;
    this.#published = null;
    this.#open.checked = false;
    this.#section.hidden = !phone;
    this.#lamps.replaceChildren();
    byId('mailbox').textContent = '';
    byId('mailbox-clear').hidden = true;
    if (!phone) return;
    for (const uri of uris) this.#lamp(uri);
    const mailbox = watchMessageSummary(phone, config.uri, ({ waiting, messages }) => {
      const count = messages.voice?.new ?? 0;
      byId('mailbox').textContent = waiting ? `Messages wait: ${count || 'some'}` : 'No message waits.';
      byId('mailbox-clear').hidden = !waiting;
    });
    this.#stops.push(() => mailbox.stop());
  }

  #lamp(uri) {
    const dot = element('span', { class: 'dot', 'aria-hidden': 'true', 'data-state': 'unknown' });
    const word = element('small', {}, WORDS.unknown);
    const user = userOf(uri);
    const button = element('button', { type: 'button', class: 'lamp', 'data-user': user }, dot, element('span', {}, user, ' '), word);
    button.addEventListener('click', () => this.#handlers.call(uri));
    this.#lamps.append(element('li', {}, button));
    let state = 'unknown';
    let present = false;
    const show = () => {
      dot.dataset.state = state;
      word.textContent = WORDS[state] + (present ? ', here' : '');
    };
    const dialogs = watchDialogs(this.#phone, uri, (lamp) => {
      state = lamp.state;
      show();
    });
    const presence = watchPresence(this.#phone, uri, ({ open }) => {
      present = open;
      show();
    });
    this.#stops.push(() => dialogs.stop(), () => presence.stop());
  }

  async #publish() {
    const document = presenceDocument({ entity: this.#config.uri, open: this.#open.checked });
    try {
      if (this.#published) await this.#published.update(document);
      else this.#published = this.#phone.publish('presence', document, { contentType: 'application/pidf+xml' });
    } catch (error) {
      this.#handlers.error(error);
    }
  }
}
