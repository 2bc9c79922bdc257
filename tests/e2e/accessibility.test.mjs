/** axe finds nothing, light and dark, in every state; and nothing sticks out at the width of a telephone. */

import { after, before, describe, test } from 'node:test';

import { launchBrowser } from '../support/browser.mjs';
import { useSandbox } from '../support/sandbox.mjs';
import { inspect } from './axe.mjs';
import { DemoPage, newProfile } from './demo-page.mjs';

describe('accessibility of the demo page', { timeout: 180_000 }, () => {
  let sandbox;
  let browser;

  before(async () => {
    [sandbox, browser] = await Promise.all([useSandbox(), launchBrowser()]);
  });
  after(async () => {
    await browser?.close();
    await sandbox?.stop();
  });

  for (const colorScheme of ['light', 'dark']) {
    for (const viewport of [{ width: 1280, height: 860 }, { width: 360, height: 740 }]) {
      test(`${colorScheme}, ${viewport.width} pixels wide`, async () => {
        const [profile, other] = await Promise.all([
          newProfile(browser, { colorScheme, viewport, reducedMotion: 'reduce' }), newProfile(browser),
        ]);
        const [alice, bob] = await Promise.all([
          DemoPage.open(profile, sandbox.url, { account: 'alice' }), DemoPage.open(other, sandbox.url, { account: 'bob' }),
        ]);
        await inspect('idle', alice);
        await alice.destination.fill('mailto:x');
        await inspect('refused destination', alice);
        await alice.call('602');
        await alice.error();
        await inspect('error', alice);
        await alice.call('600');
        await alice.inCall();
        await alice.button('Mute').click();
        await alice.button('Keypad').click();
        await inspect('in a call', alice);
        await alice.hangUp();
        await alice.idle();
        await bob.call('alice');
        await alice.incoming.waitFor();
        await inspect('incoming call', alice);
        await bob.hangUp();
        await alice.incoming.waitFor({ state: 'hidden' });
        await alice.page.getByRole('radio', { name: 'Custom…' }).check();
        await inspect('custom account', alice);
        alice.unblemished();
        await Promise.all([profile.close(), other.close()]);
      });
    }
  }
});
