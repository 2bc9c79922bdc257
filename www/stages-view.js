/** How far a call by REST has come: the six stages of the package, in plain words. */

import { byId, element } from './dom.js';

const STAGES = {
  preparing: 'Getting the microphone ready',
  requesting: 'Asking the proxy for the call',
  'ringing-client': '46elks is calling this page',
  'client-connected': 'Answered, silent until the call is proven',
  ringing: 'Proven: 46elks is calling the number',
  connected: 'The line is open: you hear what the number says',
};
const ORDER = Object.keys(STAGES);

export class StagesView {
  #list = byId('stages');
  // For screen readers: a mark that moves along a list says nothing.
  #spoken = byId('stage');
  #reached = -1;
  #call = null;

  constructor() {
    this.#list.append(...ORDER.map((stage) => element('li', { 'data-stage': stage }, STAGES[stage])));
  }

  /** Shown for calls by REST only. */
  show(call) {
    if (!call) this.#reached = -1;
    this.#call = call;
    this.#list.hidden = call?.strategy !== 'rest-originate';
    const spoken = this.#list.hidden ? '' : (STAGES[ORDER[this.#reached]] ?? '');
    if (this.#spoken.textContent !== spoken) this.#spoken.textContent = spoken;
    for (const [at, item] of [...this.#list.children].entries()) {
      item.toggleAttribute('data-reached', at <= this.#reached);
      if (at === this.#reached) item.setAttribute('aria-current', 'step');
      else item.removeAttribute('aria-current');
    }
  }

  /** The call has come to this stage. */
  reach(stage) {
    const at = ORDER.indexOf(stage);
    if (at < 0) return;
    this.#reached = at;
    this.show(this.#call);
  }
}
