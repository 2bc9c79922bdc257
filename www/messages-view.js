/** Text messages, sent and received. */

import { userOf } from './address.js';
import { byId, element } from './dom.js';

const KEPT = 100;

export class MessagesView {
  #section = byId('messages');
  #list = byId('message-list');
  #to = byId('message-to');
  #text = byId('message-text');

  /** @param send called with address and text; resolves to whether it was delivered */
  constructor(send) {
    byId('message-form').addEventListener('submit', async (event) => {
      event.preventDefault();
      const [to, text] = [this.#to.value, this.#text.value];
      if (!await send(to, text)) return;
      this.#add(`to ${to}`, text);
      this.#text.value = '';
    });
  }

  show(available) {
    this.#section.hidden = !available;
  }

  received({ from, body }) {
    this.#add(`from ${userOf(from)}`, body);
    if (this.#to.value === '') this.#to.value = userOf(from);
  }

  #add(who, text) {
    // As text: it is a stranger's.
    this.#list.append(element('p', {}, element('b', {}, `${who}: `), text));
    while (this.#list.children.length > KEPT) this.#list.firstElementChild.remove();
    this.#list.scrollTop = this.#list.scrollHeight;
  }
}
