/** The last thing that went wrong, and what to do about it. */

import { byId } from './dom.js';

export class ErrorView {
  #box = byId('error');

  constructor() {
    byId('error-dismiss').addEventListener('click', () => this.clear());
  }

  /** @param error a SoftphoneError, or any Error */
  show(error) {
    byId('error-message').textContent = error.message;
    byId('error-hint').textContent = error.hint ?? '';
    byId('error-hint').hidden = !error.hint;
    const code = [error.code, error.sipStatus && `SIP ${error.sipStatus}`].filter(Boolean).join(' · ');
    byId('error-code').textContent = code;
    this.#box.hidden = false;
  }

  clear() {
    this.#box.hidden = true;
  }
}
