/** The card of a call that rings here. */

import { initials } from './address.js';
import { remoteName } from './call-view.js';
import { byId, settle } from './dom.js';

export class IncomingView {
  #dialog = byId('incoming');
  #answer = byId('answer');
  #reject;
  #call = null;
  #title = document.title;

  /** @param handlers `{ answer(), reject() }` */
  constructor(handlers) {
    this.#reject = handlers.reject;
    this.#answer.addEventListener('click', handlers.answer);
    byId('reject').addEventListener('click', handlers.reject);
    // Escape closes a dialog by itself, and would leave the call ringing out of sight.
    this.#dialog.addEventListener('cancel', (event) => {
      event.preventDefault();
      this.#reject();
    });
  }

  /** Shows `call`; `null` puts the card away. */
  show(call, { busy }) {
    byId('incoming-note').hidden = !busy;
    if (call?.id === this.#call?.id) return;
    this.#call = call;
    if (!call) {
      this.#dialog.close();
      document.title = this.#title;
      return;
    }
    settle(this.#dialog);
    const name = remoteName(call);
    byId('incoming-avatar').textContent = initials(name);
    byId('incoming-heading').textContent = name;
    const place = call.replaces && `, to take the place of ${remoteName(call.replaces)}`;
    byId('incoming-detail').textContent = `${call.remote.uri}${place ?? ''}`;
    document.title = `Incoming call: ${name}`;
    // Somebody who is typing a number must not answer with the Enter that was meant for it.
    const typing = document.activeElement?.matches('input');
    if (!this.#dialog.open) this.#dialog.showModal();
    if (typing) this.#dialog.focus();
    else this.#answer.focus();
  }
}
