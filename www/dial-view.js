/** The number field, its keys, and the way that a call would take. */

import { completeAddress } from './address.js';
import { fillDialPad, flashKey, isDialKey } from './dial-pad.js';
import { byId, settle } from './dom.js';

const NAMES = { 'sip-invite': 'SIP INVITE', 'rest-originate': 'REST originate' };

export class DialView {
  #form = byId('dialer');
  #input = byId('destination');
  #pad = byId('dial-pad');
  #route = byId('route');
  #button = byId('call-button');
  #phone;
  #ready = false;

  /** @param handlers `{ dial(address), key(key) }` */
  constructor(phone, handlers) {
    this.#phone = phone;
    fillDialPad(this.#pad, (key) => {
      handlers.key(key);
      this.#insert(key);
    }, { plus: true });
    byId('erase').addEventListener('click', () => this.#erase());
    this.#input.addEventListener('input', () => this.showRoute());
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (!this.#ready) return;
      const address = this.#address();
      if (address === '') this.#input.focus();
      else handlers.dial(address);
    });
  }

  get hidden() {
    return this.#form.hidden;
  }

  set hidden(hidden) {
    // Where "Hang up" was.
    if (this.#form.hidden && !hidden) settle(this.#form);
    this.#form.hidden = hidden;
  }

  /** Calls can be made. */
  set ready(ready) {
    this.#ready = ready;
    this.#button.disabled = !ready;
    this.showRoute();
  }

  set value(text) {
    this.#input.value = text;
    this.showRoute();
  }

  focus() {
    this.#input.focus();
  }

  /** What could be typed here. */
  suggest(number) {
    this.#input.placeholder = number;
    this.showRoute();
  }

  /** A key typed outside any field: dialling works without aiming at the field first. */
  type(key) {
    if (key === 'Backspace') this.#erase();
    else if (key === '+' || isDialKey(key)) {
      flashKey(this.#pad, key);
      this.#input.focus();
      this.#insert(key);
    } else return false;
    return true;
  }

  /** Says which strategy would be used, and why, or why there is none. */
  showRoute() {
    const address = this.#address();
    this.#route.classList.remove('refused');
    if (address === '' || !this.#phone.config) {
      this.#route.textContent = 'Type a number, a name or a full SIP address.';
      return;
    }
    try {
      const strategy = this.#phone.strategyFor(address);
      const reason = this.#phone.strategyReason(address);
      this.#route.textContent = `Calls ${address} by ${NAMES[strategy] ?? strategy}: ${reason}.`;
    } catch (error) {
      this.#route.classList.add('refused');
      this.#route.textContent = [error.message, error.hint].filter(Boolean).join(' ');
    }
  }

  #address() {
    return completeAddress(this.#input.value, this.#phone.config ?? { uri: '' });
  }

  #insert(text) {
    const { selectionStart, selectionEnd, value } = this.#input;
    this.#input.setRangeText(text, selectionStart ?? value.length, selectionEnd ?? value.length, 'end');
    this.showRoute();
  }

  #erase() {
    const { selectionStart, selectionEnd } = this.#input;
    const from = selectionStart === selectionEnd ? Math.max(0, selectionStart - 1) : selectionStart;
    this.#input.setRangeText('', from, selectionEnd, 'end');
    this.showRoute();
  }
}
