/** axe finds nothing, light and dark, in every state; and nothing sticks out at the width of a telephone. */

import { describe, test } from 'node:test';

import { Suite } from '../support/suite.mjs';
import { inspect } from './axe.mjs';
import { DemoPage, newProfile } from './demo-page.mjs';

describe('accessibility of the demo page', { timeout: 400_000 }, () => {
  const suite = new Suite();

  for (const colorScheme of ['light', 'dark']) {
    for (const viewport of [{ width: 1280, height: 860 }, { width: 360, height: 740 }]) {
      test(`${colorScheme}, ${viewport.width} pixels wide`, async () => {
        const [profile, other] = await Promise.all([
          newProfile(suite.browser, { colorScheme, viewport, reducedMotion: 'reduce' }), newProfile(suite.browser),
        ]);
        const [alice, bob] = await Promise.all([
          DemoPage.open(profile, suite.url, { account: 'alice' }), DemoPage.open(other, suite.url, { account: 'bob' }),
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
    // Colours, and a narrow window: between them these have all that the four above differ in.
    test(`${colorScheme}, several calls, transfers, a conference and messages`, async () => {
      const profiles = await Promise.all([
        newProfile(suite.browser, { colorScheme, viewport: { width: 360, height: 740 }, reducedMotion: 'reduce' }),
        newProfile(suite.browser), newProfile(suite.browser),
      ]);
      const [alice, bob, carol] = await Promise.all(['alice', 'bob', 'carol'].map(
        (account, index) => DemoPage.open(profiles[index], suite.url, { account }),
      ));
      const answer = async (page) => {
        await page.incoming.getByRole('button', { name: 'Answer' }).click();
        await page.inCall();
      };
      await bob.call('alice');
      await answer(alice);
      await alice.button('Hold').click();
      await alice.page.getByText('On hold', { exact: true }).waitFor();
      await inspect('on hold', alice);
      await bob.button('Hold').click();
      await alice.page.getByText('On hold by both sides').waitFor();
      await inspect('held by both sides', alice);
      await Promise.all([alice, bob].map((page) => page.button('Hold').click()));
      await alice.button('Transfer…').click();
      await inspect('transferring', alice);
      await bob.button('Transfer…').click();
      await bob.page.getByLabel('Transfer to').fill('604');
      await bob.button('Transfer').click();
      await alice.question.waitFor();
      await inspect('asked about a transfer', alice);
      await alice.page.keyboard.press('Escape');
      await bob.page.getByText('Not transferred; the call is on hold.').waitFor();
      await bob.button('Hold').click();
      await alice.button('Add call').click();
      await alice.call('carol');
      await answer(carol);
      await alice.inCall();
      await inspect('one call waits', alice);
      await alice.button('Merge: Bob').click();
      await alice.page.getByText('in the conference').waitFor();
      await inspect('conference', alice);
      await Promise.all([bob.hangUp(), carol.hangUp()]);
      await alice.idle();
      await alice.call('moved');
      await alice.question.waitFor();
      await inspect('asked where to call', alice);
      await alice.page.keyboard.press('Escape');
      await alice.idle();
      const write = async (from, to, text) => {
        await from.page.getByLabel('To', { exact: true }).fill(to);
        await from.page.getByLabel('Message', { exact: true }).fill(text);
        await from.button('Send').click();
      };
      await write(alice, 'bob', 'hello');
      await write(bob, 'alice', 'a'.repeat(120));
      await alice.page.locator('#message-list').getByText('aaa').waitFor();
      await inspect('messages', alice);
      for (const page of [alice, bob, carol]) page.unblemished();
      await Promise.all(profiles.map((profile) => profile.close()));
    });
  }
});
