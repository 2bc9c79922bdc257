/** The controls of the 46elks simulator in the sandbox, and what it would have billed. */

import assert from 'node:assert/strict';

import { until } from './until.mjs';

/** What the simulator's far ends do. */
export const NUMBERS = {
  echo: '+46700000001',
  busy: '+46700000002',
  noAnswer: '+46700000003',
  failed: '+46700000004',
  hangsUp: '+46700000005',
  slow: '+46700000006',
  tones: '+46700000007',
};
/** A number that nobody here has. */
export const STRANGER = '+46701740605';

export class Simulator {
  #url;

  /** @param url of the sandbox */
  constructor(url) {
    this.#url = url;
  }

  /** Settings for DialStrategy, with a token that is as good as new. */
  async account(at = 0) {
    const { elks } = await (await fetch(`${this.#url}/demo.json`)).json();
    return elks[at];
  }

  /** Nothing is armed and nothing is counted. */
  async reset() {
    await this.#ask('/fault', 'DELETE');
    await this.#ask('/log', 'DELETE');
    await this.configure({ reg: 'last-wins' });
  }

  /** Options of the simulator; `reg: 'fork'` lets all phones of a number ring. */
  configure(options) {
    return this.#ask('/config', 'POST', options);
  }

  /** For the next call. */
  arm(name, value = undefined) {
    return this.#ask('/fault', 'POST', { name, times: 1, value });
  }

  /** Names of all faults. */
  async faults() {
    const { faults } = await (await this.#ask('/fault')).json();
    return faults.map(({ name }) => name);
  }

  /** A call from outside. */
  async incoming(from, to) {
    return (await this.#ask('/incoming', 'POST', { from, to })).json();
  }

  async log() {
    return (await this.#ask('/log')).json();
  }

  /** Legs that somebody pays for: asked of the provider and begun, answered or not. */
  async billed() {
    const { a_legs: a, b_legs: b } = await this.log();
    return { a, b };
  }

  /**
   * Waits until every leg is over, of `atLeast` so many, and the proxy has heard so: the number is free again.
   * Returns the log then.
   */
  async quiet({ deadline = 15_000, atLeast = 0 } = {}) {
    return until('every leg is over', async () => {
      const log = await this.log();
      assert.deepEqual(log.legs.filter(({ ended_at: end }) => !end), []);
      const reported = log.webhooks.filter(({ kind, status }) => kind === 'report' && status < 300).map(({ form }) => form.id);
      assert.deepEqual(log.legs.filter(({ leg, billed, call }) => leg === 'a' && billed && !reported.includes(call)), []);
      return log.legs.length >= atLeast && log;
    }, { deadline });
  }

  async #ask(path, method = 'GET', body = undefined) {
    const response = await fetch(`${this.#url}/_sim${path}`, {
      method,
      ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    assert.ok(response.ok, `${method} /_sim${path}: ${response.status} ${response.ok ? '' : await response.text()}`);
    return response;
  }
}
