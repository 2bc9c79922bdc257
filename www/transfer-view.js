/** Sends the other side of a call to somebody else. */

import { byId } from './dom.js';

const STATES = {
  trying: 'Asked…',
  ringing: 'It rings there…',
  accepted: 'Transferred.',
  failed: 'Not transferred; the call is on hold.',
};

export class TransferView {
  #form = byId('transfer');
  #toggle = byId('transfer-toggle');
  #target = byId('transfer-target');

  /** @param transfer called with what was typed */
  constructor(transfer) {
    this.#toggle.addEventListener('click', () => this.#open(this.#form.hidden));
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      transfer(this.#target.value);
    });
  }

  /** Shows whether `call` can be transferred. */
  show(call) {
    this.#toggle.disabled = call?.state !== 'active';
    if (!call) this.#open(false);
  }

  progress(state) {
    byId('transfer-state').textContent = STATES[state];
  }

  #open(open) {
    this.#form.hidden = !open;
    this.#toggle.setAttribute('aria-expanded', String(open));
    byId('transfer-state').textContent = '';
    if (open) this.#target.focus();
  }
}
