/** Calls on the demo page, against the sandbox, with the release build of the package. */

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { launchBrowser } from '../support/browser.mjs';
import { useSandbox } from '../support/sandbox.mjs';
import { until } from '../support/until.mjs';
import { DemoPage, newProfile } from './demo-page.mjs';

describe('the demo page', { timeout: 300_000 }, () => {
  let sandbox;
  let browser;
  let profiles;
  let pages;

  before(async () => {
    [sandbox, browser] = await Promise.all([useSandbox(), launchBrowser()]);
  });
  after(async () => {
    await browser?.close();
    await sandbox?.stop();
  });
  beforeEach(() => {
    profiles = [];
    pages = [];
  });
  afterEach(async () => {
    await Promise.all(profiles.map((profile) => profile.close()));
    for (const page of pages) page.unblemished();
  });

  async function open(account, options = {}) {
    const profile = await newProfile(browser, options);
    profiles.push(profile);
    const page = await DemoPage.open(profile, sandbox.url, { account });
    pages.push(page);
    return page;
  }

  /** Alice and Bob in a call. */
  async function talking() {
    const [alice, bob] = await Promise.all([open('alice', { tone: 1000 }), open('bob', { tone: 1500 })]);
    await alice.call('bob');
    await bob.incoming.getByRole('button', { name: 'Answer' }).click();
    await Promise.all([alice.inCall(), bob.inCall()]);
    return [alice, bob];
  }

  test('two pages call each other, and each hears the other', async () => {
    const [alice, bob] = await Promise.all([open('alice', { tone: 1000 }), open('bob', { tone: 1500 })]);
    await alice.call('bob');
    await bob.incoming.waitFor();
    assert.equal(await bob.page.title(), 'Incoming call: Alice');
    await bob.incoming.getByRole('heading', { name: 'Alice' }).waitFor();
    await bob.incoming.getByRole('button', { name: 'Answer' }).click();
    await Promise.all([alice.inCall(), bob.inCall()]);
    await Promise.all([
      alice.hears(1500), bob.hears(1000),
      alice.speaking('You'), alice.speaking('Them'), bob.speaking('You'), bob.speaking('Them'),
      alice.exchanges(50), bob.exchanges(50),
    ]);
    await bob.hangUp();
    assert.match(await alice.idle(), /^Call with .* ended after \d+:\d\d\.$/);
    assert.match(await bob.idle(), /^Call with .* ended after \d+:\d\d\.$/);
    assert.equal(await bob.page.title(), 'wasm-softphone');
  });

  test('600 lets one hear oneself', async () => {
    const alice = await open('alice', { tone: 1200 });
    await alice.call('600');
    await alice.inCall();
    await Promise.all([alice.hears(1200), alice.speaking('Them'), alice.exchanges(50)]);
    await alice.hangUp();
    await alice.idle();
  });

  test('601 is a tone of 440 Hz', async () => {
    const alice = await open('alice');
    await alice.call('601');
    await alice.inCall();
    await alice.hears(440);
    await alice.hangUp();
    await alice.idle();
  });

  test('dialling, answering and hanging up with the keyboard alone', async () => {
    const [alice, bob] = await Promise.all([open('alice'), open('bob')]);
    await alice.page.keyboard.type('*123#');
    assert.equal(await alice.destination.inputValue(), '*123#');
    await alice.page.keyboard.press('ControlOrMeta+a');
    await alice.page.keyboard.type('bob');
    await alice.page.keyboard.press('Enter');
    await bob.incoming.waitFor();
    await bob.settled();
    await bob.page.keyboard.press('Enter');
    await Promise.all([alice.inCall(), bob.inCall()]);
    await bob.settled();
    await bob.button('Hang up').focus();
    await bob.page.keyboard.press('Space');
    await Promise.all([alice.idle(), bob.idle()]);
  });

  test('Escape rejects', async () => {
    const [alice, bob] = await Promise.all([open('alice'), open('bob')]);
    await alice.call('bob');
    await bob.incoming.waitFor();
    await bob.page.keyboard.press('Escape');
    await bob.incoming.waitFor({ state: 'hidden' });
    assert.match((await alice.error()).code, /^declined · SIP 603$/);
    assert.match(await bob.idle(), /^Call from Alice rejected\.$/);
  });

  test('an Enter that was meant for the number field does not answer', async () => {
    const [alice, bob] = await Promise.all([open('alice'), open('bob')]);
    await bob.destination.fill('60');
    await alice.call('bob');
    await bob.incoming.waitFor();
    await bob.page.keyboard.press('Enter');
    await bob.page.keyboard.press('Tab');
    await bob.page.keyboard.press('Tab');
    assert.equal(await bob.page.evaluate(() => document.activeElement.id), 'answer');
    await bob.settled();
    await bob.page.keyboard.press('Enter');
    await Promise.all([alice.inCall(), bob.inCall()]);
    await alice.hangUp();
    await bob.idle();
  });

  /** As soon as `shown` is there, clicks where `under` was, and on every button of `shown`; resolves with their ids. */
  const clickAtOnce = (demo, under, shown) =>
    demo.page.evaluate(([under, shown]) => {
      const { x, y, width, height } = document.querySelector(under).getBoundingClientRect();
      const box = document.querySelector(shown);
      globalThis.clicked = new Promise((resolve) => {
        const observer = new MutationObserver(() => {
          if (box.hidden || box.open === false) return;
          observer.disconnect();
          const buttons = [document.elementFromPoint(x + width / 2, y + height / 2)?.closest('button'), ...box.querySelectorAll('button')];
          for (const button of buttons) button?.click();
          resolve(buttons.map((button) => button?.id));
        });
        observer.observe(box, { attributes: true });
      });
    }, [under, shown]);
  const clicked = (demo) => demo.page.evaluate(() => globalThis.clicked);

  test('a second click where "Hang up" was calls nobody, nor does any other click that comes too soon', async () => {
    const [alice, bob] = await talking();
    await clickAtOnce(alice, '#hangup', '#dialer');
    await bob.hangUp();
    assert.ok((await clicked(alice)).includes('call-button'));
    await alice.idle();
    assert.equal(await bob.incoming.isVisible(), false);
    assert.equal(await alice.page.locator('#call').isVisible(), false);
    assert.equal(await alice.destination.inputValue(), 'bob', 'no key was pressed');
    // A double click on "Call" is no hang-up, and what was meant for another button neither answers nor rejects.
    await clickAtOnce(alice, '#call-button', '#call');
    await clickAtOnce(bob, '#call-button', '#incoming');
    await alice.callButton.click();
    assert.ok((await clicked(alice)).includes('hangup'));
    assert.ok((await clicked(bob)).includes('answer'));
    await bob.settled();
    assert.equal(await bob.incoming.isVisible(), true);
    await bob.incoming.getByRole('button', { name: 'Answer' }).click();
    await Promise.all([alice.inCall(), bob.inCall()]);
    await alice.hangUp();
    await bob.idle();
  });

  test('a caller who gives up leaves a missed call, not an error', async () => {
    const [alice, bob] = await Promise.all([open('alice'), open('bob')]);
    await alice.call('bob');
    await bob.incoming.waitFor();
    await alice.hangUp();
    await bob.incoming.waitFor({ state: 'hidden' });
    assert.equal(await bob.idle(), 'Missed call from Alice.');
    assert.match(await alice.idle(), /^Call to .* cancelled\.$/);
    assert.equal(await alice.alert.isVisible(), false);
  });

  test('602 is busy, and the page says so', async () => {
    const alice = await open('alice');
    await alice.call('602');
    assert.deepEqual(await alice.error(), {
      message: 'The other side is busy (486 Busy Here)',
      hint: 'Try again later.',
      code: 'busy · SIP 486',
    });
    await alice.button('Dismiss the error').click();
    await alice.alert.waitFor({ state: 'hidden' });
  });

  test('603 rings until one gives up', async () => {
    const alice = await open('alice');
    await alice.call('603');
    await alice.page.getByText('Ringing…').waitFor();
    await alice.hangUp();
    assert.match(await alice.idle(), /^Call to 603 cancelled\.$/);
    assert.equal(await alice.alert.isVisible(), false);
  });

  test('604 declines', async () => {
    const alice = await open('alice');
    await alice.call('604');
    assert.match((await alice.error()).code, /^declined · SIP 603$/);
  });

  test('605 is heard before it answers', async () => {
    const alice = await open('alice');
    await alice.call('605');
    await alice.speaking('Them');
    assert.equal(await alice.timer.isVisible(), false, 'heard while it had not answered');
    await alice.inCall();
    await alice.hangUp();
    await alice.idle();
  });

  test('606 hangs up; the timer has counted', async () => {
    const alice = await open('alice');
    await alice.call('606');
    await alice.inCall();
    await alice.timer.getByText('0:02').waitFor();
    assert.match(await alice.idle(), /^Call with 606 ended after 0:0[234]\.$/);
  });

  test('607 calls back', async () => {
    const alice = await open('alice');
    await alice.call('607');
    await alice.inCall();
    await alice.hangUp();
    await alice.incoming.getByRole('button', { name: 'Answer' }).click();
    await alice.inCall();
    await alice.hangUp();
    await alice.idle();
  });

  test('muted, the other side hears silence', async () => {
    const [alice, bob] = await talking();
    await bob.speaking('Them');
    await alice.button('Mute').click();
    assert.equal(await alice.button('Mute').getAttribute('aria-pressed'), 'true');
    await Promise.all([alice.silent('You'), bob.silent('Them')]);
    await alice.button('Mute').click();
    await Promise.all([alice.speaking('You'), bob.speaking('Them')]);
    await alice.hangUp();
    await bob.idle();
  });

  test('keys during a call are tones', async () => {
    const alice = await open('alice');
    await alice.call('600');
    await alice.inCall();
    await alice.page.evaluate(() => {
      globalThis.tones = '';
      globalThis.peerConnections.at(-1).getSenders()[0].dtmf
        .addEventListener('tonechange', ({ tone }) => { globalThis.tones += tone; });
    });
    await alice.button('Keypad').click();
    await alice.page.getByRole('group', { name: 'Tone keypad' }).getByRole('button', { name: '5' }).click();
    await alice.page.keyboard.press('#');
    await until('5 and # have been sent', async () => (await alice.page.evaluate(() => globalThis.tones)) === '5#');
    assert.equal(await alice.page.locator('#call-tones').textContent(), '5#');
    await alice.hangUp();
    await alice.idle();
  });

  test('the next tab takes the next account', async () => {
    const profile = await newProfile(browser);
    profiles.push(profile);
    for (const name of ['alice', 'bob', 'carol']) {
      const page = await DemoPage.open(profile, sandbox.url);
      pages.push(page);
      await page.page.getByText(`Registered · ${name}`).waitFor();
      assert.equal(await page.page.getByRole('radio', { name }).isChecked(), true);
    }
  });

  test('changing the account registers as the other', async () => {
    const alice = await open('alice');
    await alice.page.getByRole('radio', { name: 'Carol' }).check();
    await alice.page.getByText('Registered · carol').waitFor();
    const bob = await open('bob');
    await bob.call('carol');
    await alice.incoming.waitFor();
    await bob.hangUp();
    await alice.incoming.waitFor({ state: 'hidden' });
    await bob.call('alice');
    assert.match((await bob.error()).code, /^no_answer · SIP 480$/);
  });

  test('disconnecting ends the call and turns the microphone off; connecting again works', async () => {
    const alice = await open('alice');
    await alice.call('600');
    await alice.inCall();
    await alice.page.evaluate(() => { globalThis.microphone = globalThis.peerConnections.at(-1).getSenders()[0].track; });
    await alice.button('Disconnect').click();
    await alice.page.getByText('Disconnected · alice').waitFor();
    await alice.idle();
    assert.deepEqual(await alice.page.evaluate(() => [globalThis.microphone.readyState, globalThis.peerConnections.at(-1).signalingState]), ['ended', 'closed']);
    assert.equal(await alice.callButton.isDisabled(), true);
    await alice.button('Connect').click();
    await alice.page.getByText('Registered · alice').waitFor();
    await alice.call('600');
    await alice.inCall();
    await alice.hangUp();
    await alice.idle();
  });

  test('the page says which way a call would go, and why', async () => {
    const alice = await open('alice');
    const route = alice.page.locator('#route');
    await alice.destination.fill('600');
    assert.match(await route.textContent(), /^Calls sip:600@sandbox\.test by SIP INVITE: SIP addresses are called by INVITE\.$/);
    await alice.destination.fill('+46 70 123 45 67');
    assert.match(await route.textContent(), /by SIP INVITE: the provider takes numbers by INVITE\.$/);
    await alice.destination.fill('mailto:bob');
    assert.match(await route.textContent(), /sip:/);
    await alice.callButton.click();
    assert.equal((await alice.error()).code, 'invalid_destination');
  });

  test('the trace shows the conversation, and no secret', async () => {
    const alice = await open('alice');
    await alice.call('600');
    await alice.inCall();
    await alice.hangUp();
    await alice.idle();
    const trace = alice.page.getByRole('log', { name: 'SIP trace' });
    for (const line of [/REGISTER sip:sandbox\.test SIP\/2\.0/, /SIP\/2\.0 401/, /INVITE sip:600@sandbox\.test/, /BYE /]) {
      await trace.getByText(line).first().waitFor();
    }
    await trace.locator('summary', { hasText: 'INVITE sip:600' }).last().click();
    await trace.locator('details[open] pre').waitFor();
    const text = await trace.textContent();
    assert.ok(!text.includes('alice-secret'));
    assert.ok(!/response="[0-9a-f]{16,}/.test(text), 'a digest response is in the trace');
  });
});
