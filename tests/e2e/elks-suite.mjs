import { afterEach, before, beforeEach } from 'node:test';

import { Simulator } from '../support/elks.mjs';
import { Suite } from '../support/suite.mjs';
import { DemoPage } from './demo-page.mjs';
import { ElksPhone, elksProfile } from './elks-phone.mjs';

/** The sandbox, a browser, and a simulator that begins each test with nothing armed and nothing counted. */
export class ElksSuite extends Suite {
  #opened = [];

  /** Inside `describe`. */
  constructor() {
    super();
    before(() => {
      this.simulator = new Simulator(this.url);
    });
    beforeEach(async () => {
      this.#opened = [];
      await this.simulator.reset();
    });
    afterEach(async () => {
      // What a test leaves behind is that test's failure, not the next one's.
      await this.simulator.quiet();
      for (const page of this.#opened) page.unblemished();
    });
  }

  async profile(options = {}) {
    return this.keep(await elksProfile(this.browser, options));
  }

  /** The package in a page of its own, connected. */
  async phone({ account = 0, profile, settings = {}, tone, context = {}, ...options } = {}) {
    const config = { ...(await this.simulator.account(account)), ...settings };
    const phone = await ElksPhone.open(profile ?? await this.profile({ tone, ...context }), this.url, config, options);
    this.#opened.push(phone);
    return phone;
  }

  /** The demo page with this account. */
  async demo({ account = 0, profile, expected = [], ...options } = {}) {
    const { credentials: { username } } = await this.simulator.account(account);
    const demo = await DemoPage.open(profile ?? await this.profile(options), this.url, { account: username, expected });
    this.#opened.push(demo);
    return demo;
  }
}
