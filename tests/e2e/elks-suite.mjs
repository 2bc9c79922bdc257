import { after, afterEach, before, beforeEach } from 'node:test';

import { launchBrowser } from '../support/browser.mjs';
import { Simulator } from '../support/elks.mjs';
import { useSandbox } from '../support/sandbox.mjs';
import { DemoPage } from './demo-page.mjs';
import { ElksPhone, elksProfile } from './elks-phone.mjs';

/** The sandbox, a browser, and a simulator that begins each test with nothing armed and nothing counted. */
export class ElksSuite {
  #opened = [];
  #profiles = [];

  /** Inside `describe`. */
  constructor() {
    before(async () => {
      [this.sandbox, this.browser] = await Promise.all([useSandbox(), launchBrowser()]);
      this.simulator = new Simulator(this.sandbox.url);
    });
    after(async () => {
      await this.browser?.close();
      await this.sandbox?.stop();
    });
    beforeEach(async () => {
      this.#opened = [];
      this.#profiles = [];
      await this.simulator.reset();
    });
    afterEach(async () => {
      await Promise.all(this.#profiles.map((profile) => profile.close()));
      // What a test leaves behind is that test's failure, not the next one's.
      await this.simulator.quiet();
      for (const page of this.#opened) page.unblemished();
    });
  }

  get url() {
    return this.sandbox.url;
  }

  async profile(options = {}) {
    const profile = await elksProfile(this.browser, options);
    this.#profiles.push(profile);
    return profile;
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
