/** Makes the simulator misbehave, and shows what it would have billed. Only for its own accounts. */

import { userOf } from './address.js';
import { byId, element } from './dom.js';
import { armFault, callFrom, disarmFaults, readFaults, readLog, resetLog } from './simulator.js';

/** Legs that are listed. */
const LISTED = 8;
/** Milliseconds between two looks at the bill of a call. */
const EVERY = 1000;

export class SimulatorView {
  #box = byId('simulator');
  #faults = byId('simulator-fault');
  #legs = byId('simulator-legs');
  #docs = new Map();
  #number = null;
  #timer = 0;

  constructor() {
    byId('simulator-incoming').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#try(() => callFrom(byId('simulator-caller').value.replace(/[\s-]/g, ''), this.#number));
    });
    byId('simulator-faults').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#try(() => armFault(this.#faults.value));
    });
    this.#faults.addEventListener('change', () => this.#explain());
    byId('simulator-clear').addEventListener('click', () => this.#try(disarmFaults));
    byId('simulator-reset').addEventListener('click', () => this.#try(resetLog));
    byId('simulator-refresh').addEventListener('click', () => this.refresh());
  }

  /** For this account of the simulator; `null` puts the view away. */
  async show(config) {
    this.#number = config && `+${userOf(config.uri)}`;
    this.#box.hidden = config === null;
    await this.refresh();
  }

  /** Keeps asking while a call is up: the provider tells nobody what it does. */
  watch(inCall) {
    const wanted = inCall && this.#number !== null;
    if (wanted === (this.#timer !== 0)) return;
    clearInterval(this.#timer);
    this.#timer = wanted ? setInterval(() => this.refresh(), EVERY) : 0;
  }

  /** Asks how things stand. */
  async refresh() {
    if (this.#number) await this.#try(async () => {});
  }

  async #try(action) {
    const problem = byId('simulator-problem');
    try {
      await action();
      const [faults, log] = await Promise.all([readFaults(), readLog()]);
      this.#showFaults(faults);
      this.#showLog(log);
      problem.textContent = '';
    } catch (error) {
      problem.textContent = error.message;
    }
  }

  #showFaults(faults) {
    if (this.#faults.options.length !== faults.length) {
      this.#faults.replaceChildren(...faults.map(({ name }) => element('option', { value: name }, name)));
      this.#docs = new Map(faults.map(({ name, doc }) => [name, doc]));
      this.#explain();
    }
    const armed = faults.filter((fault) => fault.armed).map(({ name }) => name);
    byId('simulator-armed').textContent = armed.length > 0 ? `Armed: ${armed.join(', ')}` : 'Nothing is armed.';
    byId('simulator-clear').disabled = armed.length === 0;
  }

  #explain() {
    byId('simulator-doc').textContent = this.#docs.get(this.#faults.value) ?? '';
  }

  #showLog({ a_legs: a, b_legs: b, legs }) {
    byId('simulator-a').textContent = String(a);
    byId('simulator-b').textContent = String(b);
    this.#legs.replaceChildren(...legs.slice(-LISTED).map(({ leg, from, to, answered }) => (
      element('li', {}, `${leg.toUpperCase()}: ${from} to ${to}, ${answered ? 'answered' : 'not answered'}`))));
  }
}
