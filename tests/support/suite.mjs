import { after, afterEach, before } from 'node:test';

import { launchBrowser } from './browser.mjs';
import { useSandbox } from './sandbox.mjs';

/** A sandbox and a browser for the tests of a `describe`. A profile that a test keeps is closed after that test. */
export class Suite {
  #profiles = [];

  /** Inside `describe`. */
  constructor() {
    before(async () => {
      [this.sandbox, this.browser] = await Promise.all([useSandbox(), launchBrowser()]);
    });
    after(async () => {
      await this.browser?.close();
      await this.sandbox?.stop();
    });
    afterEach(() => Promise.all(this.#profiles.splice(0).map((profile) => profile.close())));
  }

  get url() {
    return this.sandbox.url;
  }

  keep(profile) {
    this.#profiles.push(profile);
    return profile;
  }
}
