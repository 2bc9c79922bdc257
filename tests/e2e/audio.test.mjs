/** Microphone and loudspeaker that the browser, the system or the user takes away. */

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { launchBrowser } from '../support/browser.mjs';
import { useSandbox } from '../support/sandbox.mjs';
import { Suite } from '../support/suite.mjs';
import { until } from '../support/until.mjs';
import { PhonePage, phoneProfile } from './phone-page.mjs';

const EXPECTED = [/404/];

describe('audio before the user has done anything', { timeout: 120_000 }, () => {
  let sandbox;
  let browser;
  let context;

  before(async () => {
    const args = ['--autoplay-policy=document-user-activation-required'];
    [sandbox, browser] = await Promise.all([useSandbox(), launchBrowser({ args })]);
  });
  after(async () => {
    await browser?.close();
    await sandbox?.stop();
  });
  afterEach(() => context?.close());

  /** In a call with a number that plays a tone, in a page that nobody has touched: what playwright evaluates counts as a touch. */
  async function listening() {
    context = await browser.newContext({ hasTouch: true });
    const page = await context.newPage();
    const heard = [];
    page.on('console', (message) => message.text().startsWith('said ') && heard.push(JSON.parse(message.text().slice(5))));
    await page.addInitScript(() => addEventListener('DOMContentLoaded', async () => {
      const { default: init, DialStrategy } = await import('/pkg/index.js');
      await init();
      const phone = new DialStrategy({
        servers: `ws://${location.host}/sip`, uri: 'sip:alice@sandbox.test', credentials: { username: 'alice', password: 'alice-secret' },
        iceServers: [], audio: false, audioElement: document.createElement('audio'),
      });
      globalThis.phone = phone;
      phone.on('audioBlocked', ({ call, blocked }) => console.log(`said ${JSON.stringify([call === phone.calls[0], blocked, call.audioBlocked])}`));
      await phone.connect();
      await phone.dial('sip:601@sandbox.test');
    }));
    await page.goto(`${sandbox.url}/demo.json`);
    const said = (count) => until(`audioBlocked comes ${count} times`, () => heard.length >= count && heard);
    assert.deepEqual(await said(1), [[true, true, true]]);
    return { page, said };
  }

  const gestures = {
    'a click': (page) => page.mouse.click(50, 50),
    'a key': (page) => page.keyboard.press('a'),
    'the first tap on a touch screen': (page) => page.touchscreen.tap(50, 50),
  };
  for (const [name, make] of Object.entries(gestures)) {
    test(`${name} starts it, and both are told`, async () => {
      const { page, said } = await listening();
      await make(page);
      assert.deepEqual(await said(2), [[true, true, true], [true, false, false]]);
    });
  }

  test('so does resumeAudio(), where the page leads the user to it', async () => {
    const { page, said } = await listening();
    await page.evaluate(() => globalThis.phone.resumeAudio());
    assert.deepEqual((await said(2)).at(-1), [true, false, false]);
  });
});

describe('a microphone that goes away', { timeout: 120_000 }, () => {
  const suite = new Suite();

  /** Not what was still under way. */
  const hears = (phone) => {
    const from = Date.now() + 300;
    return until('the other side is heard', async () => ((await phone.hearing())?.last ?? 0) > from);
  };
  const silent = (phone) => until('it is silent', async () => Date.now() - (await phone.hearing()).last > 400);

  async function talking() {
    const open = async (user, tone, hears) =>
      PhonePage.open(suite.keep(await phoneProfile(suite.browser, { user, tone, hears })), suite.url, EXPECTED);
    const [alice, bob] = await Promise.all([open('alice', 1000, 440), open('bob', 440, 1000)]);
    await bob.run((phone) => {
      phone.on('incoming', ({ call }) => call.answer());
    });
    await alice.run(async (phone) => {
      await phone.dial('sip:bob@sandbox.test');
      const [call] = phone.calls;
      globalThis.said = [];
      call.on('microphone', ({ state }) => globalThis.said.push([state, call.microphone]));
      // What the browser does where a device is pulled or a permission taken back; `devices`: whether there is one.
      const { getUserMedia } = navigator.mediaDevices;
      globalThis.devices = true;
      navigator.mediaDevices.getUserMedia = async function (constraints) {
        if (globalThis.devices !== true) throw new DOMException('', globalThis.devices);
        return getUserMedia.call(this, constraints);
      };
      globalThis.pull = () => {
        const [track] = call.localStream.getAudioTracks();
        track.stop();
        track.dispatchEvent(new Event('ended'));
      };
    });
    await hears(bob);
    return [alice, bob];
  }
  const said = (alice, count) => until(`${count} events`, () => alice.run((phone, call, count) => globalThis.said.length >= count && globalThis.said, count));

  test('is told, and another one is opened', async () => {
    const [alice, bob] = await talking();
    await alice.run(() => globalThis.pull());
    assert.deepEqual(await said(alice, 2), [['ended', 'ended'], ['live', 'live']]);
    await hears(bob);
    // Muted, it stays so.
    await alice.run((phone, call) => call.mute());
    await silent(bob);
    await alice.run(() => globalThis.pull());
    await said(alice, 4);
    await silent(bob);
    await alice.run((phone, call) => call.unmute());
    await hears(bob);
  });

  test('without another one, one that comes is taken', async () => {
    const [alice, bob] = await talking();
    await alice.run(() => {
      globalThis.devices = 'NotFoundError';
      globalThis.pull();
    });
    await said(alice, 1);
    await silent(bob);
    // Another loudspeaker, for instance.
    await alice.run(() => navigator.mediaDevices.dispatchEvent(new Event('devicechange')));
    await alice.run(() => {
      globalThis.devices = true;
      navigator.mediaDevices.dispatchEvent(new Event('devicechange'));
    });
    assert.deepEqual(await said(alice, 2), [['ended', 'ended'], ['live', 'live']]);
    await hears(bob);
  });

  test('a permission that was taken back is not asked for again and again', async () => {
    const [alice, bob] = await talking();
    await alice.run(() => {
      globalThis.devices = 'NotAllowedError';
      globalThis.pull();
    });
    await said(alice, 1);
    await silent(bob);
    await alice.run(async () => {
      globalThis.devices = true;
      navigator.mediaDevices.dispatchEvent(new Event('devicechange'));
    });
    assert.equal(await alice.run((phone, call) => call.microphone), 'ended');
    // The user decides for it.
    await alice.run(async (phone, call) => {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      await call.replaceAudioTrack(stream.getAudioTracks()[0]);
    });
    await hears(bob);
  });
});
