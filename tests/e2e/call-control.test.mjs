/** Hold, several calls, transfer, conference, lamps and messages, on the demo page as a person would. */

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { launchBrowser } from '../support/browser.mjs';
import { useSandbox } from '../support/sandbox.mjs';
import { until } from '../support/until.mjs';
import { DemoPage, newProfile } from './demo-page.mjs';

const TONES = { alice: 1000, bob: 1500, carol: 700 };
const AUDIBLE_DBFS = -60;

/** The level that the newest call of a page receives near this frequency, dBFS. */
function levelAt(page, frequency) {
  return page.evaluate((frequency) => {
    const track = globalThis.peerConnections.findLast((one) => one.signalingState !== 'closed')?.getReceivers()[0]?.track;
    if (!track) return null;
    if (globalThis.ear?.track !== track) {
      const context = new AudioContext();
      const analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
      context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
      globalThis.ear = { track, context, analyser };
    }
    const { context, analyser } = globalThis.ear;
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    const bin = Math.round((frequency * analyser.fftSize) / context.sampleRate);
    return Math.max(...bins.slice(bin - 2, bin + 3));
  }, frequency);
}

describe('call control on the demo page', { timeout: 300_000 }, () => {
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

  async function open(account) {
    const profile = await newProfile(browser, { tone: TONES[account] });
    profiles.push(profile);
    const page = await DemoPage.open(profile, sandbox.url, { account });
    pages.push(page);
    return page;
  }

  async function answer(page) {
    await page.incoming.getByRole('button', { name: 'Answer' }).click();
    await page.inCall();
  }

  async function talking(caller = 'alice', callee = 'bob') {
    const both = await Promise.all([open(caller), open(callee)]);
    await both[0].call(callee);
    await answer(both[1]);
    await both[0].inCall();
    return both;
  }

  const hears = (page, account) => until(`${account} is heard`, async () => (await levelAt(page.page, TONES[account])) > AUDIBLE_DBFS);
  const hearsNot = (page, account) => until(`${account} is not heard`, async () => (await levelAt(page.page, TONES[account])) <= AUDIBLE_DBFS);

  test('held, nothing is heard on either side, and it is back afterwards', async () => {
    const [alice, bob] = await talking();
    await Promise.all([hears(alice, 'bob'), hears(bob, 'alice')]);
    await alice.button('Hold').click();
    await bob.page.getByText('The other side has put you on hold').waitFor();
    await alice.page.getByText('On hold', { exact: true }).waitFor();
    await Promise.all([hearsNot(alice, 'bob'), hearsNot(bob, 'alice')]);
    // What leaves is silence.
    assert.deepEqual(await alice.page.evaluate(() => globalThis.peerConnections.at(-1).getSenders().map(({ track }) => track.enabled)), [false]);
    // Both.
    await bob.button('Hold').click();
    await alice.page.getByText('On hold by both sides').waitFor();
    await alice.button('Hold').click();
    await alice.page.getByText('The other side has put you on hold').waitFor();
    await hearsNot(bob, 'alice');
    await bob.button('Hold').click();
    await Promise.all([hears(alice, 'bob'), hears(bob, 'alice')]);
    await alice.hangUp();
    await bob.idle();
  });

  test('a second caller is answered while the first waits; then the other way round', async () => {
    const [alice, bob] = await talking();
    const carol = await open('carol');
    await carol.call('bob');
    await bob.incoming.getByText('Answering puts the call that you are in on hold.').waitFor();
    await answer(bob);
    await alice.page.getByText('The other side has put you on hold').waitFor();
    await Promise.all([hears(carol, 'bob'), hearsNot(alice, 'bob')]);
    await bob.button('Switch: Alice').click();
    await carol.page.getByText('The other side has put you on hold').waitFor();
    await hears(alice, 'bob');
    await bob.button('End: Carol').click();
    await carol.idle();
    await bob.hangUp();
    await alice.idle();
  });

  test('blind transfer', async () => {
    const [alice, bob] = await talking();
    const carol = await open('carol');
    await alice.button('Transfer…').click();
    await alice.page.getByLabel('Transfer to').fill('carol');
    await alice.button('Transfer').click();
    await bob.question.getByRole('button', { name: 'Call carol' }).click();
    await answer(carol);
    await alice.idle();
    await Promise.all([hears(bob, 'carol'), hears(carol, 'bob')]);
    await carol.hangUp();
    await bob.idle();
  });

  test('a transfer to somebody who declines comes back', async () => {
    const [alice, bob] = await talking();
    await alice.button('Transfer…').click();
    await alice.page.getByLabel('Transfer to').fill('604');
    await alice.button('Transfer').click();
    await bob.agree();
    await alice.page.getByText('Not transferred; the call is on hold.').waitFor();
    assert.equal((await alice.error()).code, 'declined · SIP 603');
    await alice.button('Hold').click();
    await Promise.all([hears(bob, 'alice'), hears(alice, 'bob')]);
    await alice.hangUp();
  });

  test('a transfer is asked about in a dialog, and Escape refuses it', async () => {
    const [alice, bob] = await talking();
    const ask = async () => {
      await alice.page.getByLabel('Transfer to').fill('carol');
      await alice.button('Transfer').click();
      const dialog = bob.page.getByRole('dialog', { name: 'Call carol instead?' });
      await dialog.waitFor();
      return dialog;
    };
    await alice.button('Transfer…').click();
    const dialog = await ask();
    await dialog.getByText('Alice wants to hand you over.').waitFor();
    await dialog.getByText('sip:carol@sandbox.test', { exact: true }).waitFor();
    // What is harmless has the focus, which stays in the dialog; keys are no tones of the call behind it.
    const focused = () => bob.page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
    assert.equal(await focused(), 'question-refuse');
    await bob.page.keyboard.press('5');
    await bob.page.keyboard.press('Shift+Tab');
    assert.equal(await focused(), 'Call carol');
    assert.equal(await bob.page.locator('#call-tones').textContent(), '');
    await bob.page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    await alice.page.getByText('Not transferred; the call is on hold.').waitFor();
    assert.equal((await alice.error()).code, 'declined · SIP 603');
    assert.ok(await bob.page.locator('#call').evaluate((call) => call.contains(document.activeElement)), 'the focus is back');
    // Who hangs up takes the question back.
    const second = await ask();
    await alice.hangUp();
    await second.waitFor({ state: 'hidden' });
    await bob.idle();
  });

  test('where somebody has moved is asked, and shown', async () => {
    const alice = await open('alice');
    const dialog = alice.page.getByRole('dialog', { name: 'moved is to be reached elsewhere' });
    await alice.call('moved');
    await dialog.waitFor();
    assert.deepEqual(await dialog.getByRole('listitem').allTextContents(), ['Call 600sip:600@sandbox.test', 'Call 602sip:602@sandbox.test']);
    await alice.page.keyboard.press('Escape');
    await alice.idle();
    assert.ok(await alice.alert.isHidden(), 'it is no error that the user wants no call');
    await alice.call('moved');
    await dialog.getByRole('button', { name: 'Call 600' }).click();
    await alice.inCall();
    await alice.page.getByText('Sent on to sip:600@sandbox.test').waitFor();
    await alice.hears(TONES.alice);
    await alice.hangUp();
    await alice.idle();
    // The number of the second choice is busy.
    await alice.call('moved');
    await dialog.getByRole('button', { name: 'Call 602' }).click();
    assert.equal((await alice.error()).code, 'busy · SIP 486');
  });

  test('attended transfer', async () => {
    const [alice, bob] = await talking();
    const carol = await open('carol');
    await alice.button('Add call').click();
    await alice.call('carol');
    await answer(carol);
    await alice.inCall();
    await hears(carol, 'alice');
    await alice.button('Connect both: bob').click();
    await bob.agree();
    await alice.idle();
    await Promise.all([hears(bob, 'carol'), hears(carol, 'bob')]);
    await bob.hangUp();
    await carol.idle();
  });

  test('in a conference everybody hears everybody', async () => {
    const [alice, bob] = await talking();
    const carol = await open('carol');
    await alice.button('Add call').click();
    await alice.call('carol');
    await answer(carol);
    await alice.inCall();
    await alice.button('Merge: bob').click();
    await Promise.all([
      hears(bob, 'carol'), hears(bob, 'alice'), hears(carol, 'bob'), hears(carol, 'alice'),
    ]);
    // Nobody hears itself.
    assert.ok((await levelAt(bob.page, TONES.bob)) <= AUDIBLE_DBFS);
    await carol.hangUp();
    await Promise.all([hears(bob, 'alice'), hearsNot(bob, 'carol')]);
    await bob.hangUp();
  });

  test('lamps: who is on the phone, who is there, and what waits', async () => {
    const carol = await open('carol');
    const lamp = carol.page.locator('.lamp[data-user="bob"]');
    await lamp.getByText('free').waitFor();
    const [alice, bob] = await talking();
    await lamp.getByText('on the phone').waitFor();
    await alice.hangUp();
    await lamp.getByText('free').waitFor();
    await bob.idle();
    await bob.page.getByLabel('Tell others that I am here').check();
    await lamp.getByText('free, here').waitFor();
    await carol.page.getByText('No message waits.').waitFor();
    await alice.call('carol');
    await carol.incoming.getByRole('button', { name: 'Reject' }).click();
    await carol.page.getByText('Messages wait: 1').waitFor();
    await carol.button('All heard').click();
    await carol.page.getByText('No message waits.').waitFor();
  });

  test('text messages, and one to nobody', async () => {
    const [alice, bob] = await Promise.all([open('alice'), open('bob')]);
    await alice.page.getByLabel('To', { exact: true }).fill('bob');
    await alice.page.getByLabel('Message', { exact: true }).fill('<b>hello</b>');
    await alice.button('Send').click();
    await bob.page.locator('#message-list').getByText('<b>hello</b>').waitFor();
    await bob.page.getByLabel('To', { exact: true }).fill('nobody');
    await bob.page.getByLabel('Message', { exact: true }).fill('hello');
    await bob.button('Send').click();
    assert.equal((await bob.error()).code, 'not_found · SIP 404');
  });
});
