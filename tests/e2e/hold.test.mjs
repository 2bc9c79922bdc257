/** Hold, a track of the application's and a conference, by the package's API and with the release build: what is heard, and what leaves. */

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { keepPeerConnections, packets, received, toneMicrophone } from '../support/audio.mjs';
import { launchBrowser, watchPage } from '../support/browser.mjs';
import { useSandbox } from '../support/sandbox.mjs';
import { until } from '../support/until.mjs';

const TOLERANCE_HZ = 12;
const AUDIBLE_DBFS = -60;
const TONES = { alice: 600, bob: 1000, carol: 1500 };

describe('hold', { timeout: 180_000 }, () => {
  let sandbox;
  let browser;
  let accounts;
  let people = [];

  before(async () => {
    [sandbox, browser] = await Promise.all([useSandbox(), launchBrowser()]);
    accounts = (await (await fetch(`${sandbox.url}/demo.json`)).json()).sip;
  });
  after(async () => {
    await browser?.close();
    await sandbox?.stop();
  });
  afterEach(async () => {
    const left = people;
    people = [];
    await Promise.all(left.map((person) => person.page.evaluate(() => globalThis.phone?.disconnect())));
    await Promise.all(left.map((person) => person.page.context().close()));
    assert.deepEqual(left.flatMap((person) => person.problems), []);
  });

  /** A page with a connected phone that answers every call. `calls[n]` in the page are its calls. */
  async function person(name) {
    const context = await browser.newContext();
    await context.addInitScript(keepPeerConnections);
    await context.addInitScript(toneMicrophone, TONES[name]);
    const page = await context.newPage();
    const problems = watchPage(page, [/404/]);
    await page.goto(`${sandbox.url}/demo.json`);
    const account = accounts.find(({ uri }) => uri.startsWith(`sip:${name}@`));
    await page.evaluate(async (config) => {
      const { default: init, DialStrategy } = await import('/pkg/index.js');
      await init();
      globalThis.phone = new DialStrategy(config);
      globalThis.calls = [];
      globalThis.holds = [];
      globalThis.phone.on('call', ({ call, state }) => {
        if (state !== 'active' || globalThis.calls.includes(call)) return;
        globalThis.calls.push(call);
        call.on('hold', ({ local, remote }) => globalThis.holds.push([local, remote]));
      });
      globalThis.phone.on('incoming', ({ call }) => call.answer());
      await globalThis.phone.connect();
    }, { ...account, iceServers: [] });
    const one = { name, page, problems, uri: account.uri };
    people.push(one);
    return one;
  }

  async function dial(from, to) {
    const outcome = await from.page.evaluate((uri) => globalThis.phone.dial(uri).then(({ success, error }) => [success, error?.code]), to.uri);
    assert.deepEqual(outcome, [true, undefined]);
    await until(`${to.name} is in the call`, () => to.page.evaluate(() => globalThis.calls.length > 0));
  }

  async function talking() {
    const [alice, bob] = await Promise.all([person('alice'), person('bob')]);
    await dial(alice, bob);
    await Promise.all([hears(alice, TONES.bob), hears(bob, TONES.alice)]);
    return [alice, bob];
  }

  const call = (one, method, ...args) => one.page.evaluate(([method, args]) => globalThis.calls[0][method](...args), [method, args]);
  const holds = (one) => one.page.evaluate(() => [globalThis.calls[0].localHold, globalThis.calls[0].remoteHold]);

  const hears = (one, frequency) =>
    until(`${one.name} hears ${frequency} Hz`, async () => {
      const heard = await received(one.page);
      return heard && heard.level > AUDIBLE_DBFS && Math.abs(heard.frequency - frequency) < TOLERANCE_HZ;
    });
  const hearsNothing = (one) =>
    until(`${one.name} hears nothing`, async () => {
      const heard = await received(one.page);
      return heard && heard.level <= AUDIBLE_DBFS;
    });

  /** Half a second would be 25 packets. */
  async function sendsNothing(one) {
    await until(`nothing leaves ${one.name}`, async () => {
      const { sent } = await packets(one.page);
      const end = performance.now() + 500;
      await until('half a second has passed', () => performance.now() >= end);
      return (await packets(one.page)).sent === sent;
    });
  }

  test('whoever is held hears nothing and is not heard, until it is taken back', async () => {
    const [alice, bob] = await talking();
    await call(alice, 'hold');
    assert.deepEqual([await holds(alice), await holds(bob)], [[true, false], [false, true]]);
    await Promise.all([hearsNothing(alice), hearsNothing(bob), sendsNothing(alice), sendsNothing(bob)]);
    await call(alice, 'unhold');
    assert.deepEqual([await holds(alice), await holds(bob)], [[false, false], [false, false]]);
    await Promise.all([hears(alice, TONES.bob), hears(bob, TONES.alice)]);
    assert.deepEqual(await alice.page.evaluate(() => globalThis.holds), [[true, false], [false, false]]);
    assert.deepEqual(await bob.page.evaluate(() => globalThis.holds), [[false, true], [false, false]]);
  });

  test('nothing leaves from the moment of hold() on, whenever the other side agrees', async () => {
    const [alice] = await talking();
    const tracks = await alice.page.evaluate(async () => {
      const sender = globalThis.peerConnections.at(-1).getSenders()[0];
      const done = globalThis.calls[0].hold().then(() => 'agreed');
      // replaceTrack() takes a few turns of the event loop, a round trip and a renegotiation many more.
      while (sender.track) await new Promise((resolve) => setTimeout(resolve));
      const first = await Promise.race([done, Promise.resolve('not yet')]);
      const heard = globalThis.calls[0].remoteStream.getAudioTracks()[0].enabled;
      return [first, heard, await done, sender.track];
    });
    assert.deepEqual(tracks, ['not yet', false, 'agreed', null]);
  });

  test('both hold, and each takes back its own', async () => {
    const [alice, bob] = await talking();
    await call(alice, 'hold');
    await call(bob, 'hold');
    assert.deepEqual([await holds(alice), await holds(bob)], [[true, true], [true, true]]);
    await Promise.all([sendsNothing(alice), sendsNothing(bob)]);
    await call(alice, 'unhold');
    assert.deepEqual([await holds(alice), await holds(bob)], [[false, true], [true, false]]);
    await Promise.all([hearsNothing(alice), hearsNothing(bob), sendsNothing(alice)]);
    await call(bob, 'unhold');
    await Promise.all([hears(alice, TONES.bob), hears(bob, TONES.alice)]);
  });

  test('both hold at the same time', async () => {
    const [alice, bob] = await talking();
    await Promise.all([call(alice, 'hold'), call(bob, 'hold')]);
    await until('both know', async () => [...(await holds(alice)), ...(await holds(bob))].every(Boolean));
    await Promise.all([call(alice, 'unhold'), call(bob, 'unhold')]);
    await Promise.all([hears(alice, TONES.bob), hears(bob, TONES.alice)]);
  });

  test('muted before or during hold, it is muted after it', async () => {
    const [alice, bob] = await talking();
    await call(alice, 'mute');
    await hearsNothing(bob);
    await call(alice, 'hold');
    await call(alice, 'unhold');
    await hears(alice, TONES.bob);
    await hearsNothing(bob);
    await call(alice, 'hold');
    await call(alice, 'unmute');
    await sendsNothing(alice);
    await call(alice, 'unhold');
    await hears(bob, TONES.alice);
  });

  test('a track of the application’s instead of the microphone, over hold', async () => {
    const [alice, bob] = await talking();
    await alice.page.evaluate(async () => {
      globalThis.context = new AudioContext();
      const tone = new OscillatorNode(globalThis.context, { frequency: 1800 });
      const destination = globalThis.context.createMediaStreamDestination();
      tone.connect(destination);
      tone.start();
      [globalThis.track] = destination.stream.getAudioTracks();
      await globalThis.calls[0].replaceAudioTrack(globalThis.track);
    });
    await hears(bob, 1800);
    await call(alice, 'hold');
    await hearsNothing(bob);
    await call(alice, 'unhold');
    await hears(bob, 1800);
    await call(alice, 'replaceAudioTrack', null);
    await hears(bob, TONES.alice);
    const refused = await alice.page.evaluate(() =>
      Promise.all([1, {}, 'x', globalThis.calls[0].localStream].map((track) => globalThis.calls[0].replaceAudioTrack(track).catch((error) => error.code))));
    assert.deepEqual(refused, Array(4).fill('invalid_config'));
    await call(alice, 'hangup');
    assert.equal(await alice.page.evaluate(() => globalThis.track.readyState), 'live');
    await alice.page.evaluate(() => globalThis.context.close());
  });

  test('a promise of hold() is settled when the call ends', async () => {
    const [alice, bob] = await talking();
    const codes = await alice.page.evaluate(async () => {
      const held = globalThis.calls[0].hold().catch((error) => error.code);
      globalThis.calls[0].hangup();
      return [await held, await globalThis.calls[0].hold().catch((error) => error.code)];
    });
    assert.deepEqual(codes, ['ended', 'ended']);
    await until('it is over for bob', () => bob.page.evaluate(() => globalThis.calls[0].state === 'ended'));
  });

  test('a promise of hold() is settled when the phone is freed', async () => {
    const [alice, bob] = await talking();
    const code = await alice.page.evaluate(async () => {
      const held = globalThis.calls[0].hold().catch((error) => error.code);
      globalThis.phone.free();
      globalThis.phone = null;
      return held;
    });
    assert.equal(code, 'ended');
    await until('it is over for bob', () => bob.page.evaluate(() => globalThis.calls[0].state === 'ended'));
  });

  test('three in a conference hear each other, and one on hold nobody', async () => {
    const [alice, bob] = await talking();
    const carol = await person('carol');
    await dial(alice, carol);
    await alice.page.evaluate(async () => {
      const { Conference } = await import('/pkg/conference.js');
      globalThis.conference = new Conference();
      for (const call of globalThis.calls) await globalThis.conference.add(call);
    });
    /** The levels of some tones, of what a page receives. */
    const levels = (one, frequencies) =>
      one.page.evaluate(async (frequencies) => {
        const { context, analyser } = globalThis.ear;
        const bins = new Float32Array(analyser.frequencyBinCount);
        analyser.getFloatFrequencyData(bins);
        return frequencies.map((frequency) => {
          const bin = Math.round((frequency * analyser.fftSize) / context.sampleRate);
          return Math.max(...bins.slice(bin - 2, bin + 3));
        });
      }, frequencies);
    const mix = (one, present, absent) =>
      until(`${one.name} hears ${present.join(' and ')} Hz, and not ${absent.join(' or ')} Hz`, async () => {
        await received(one.page);
        const [is, isNot] = [await levels(one, present), await levels(one, absent)];
        return is.every((level) => level > AUDIBLE_DBFS) && isNot.every((level) => level < AUDIBLE_DBFS);
      });
    await Promise.all([mix(bob, [TONES.alice, TONES.carol], [TONES.bob]), mix(carol, [TONES.alice, TONES.bob], [TONES.carol])]);
    // Muted for the one, heard by the other.
    await call(alice, 'mute');
    await Promise.all([mix(bob, [TONES.carol], [TONES.alice]), mix(carol, [TONES.alice, TONES.bob], [])]);
    await call(alice, 'unmute');
    await call(alice, 'hold');
    await Promise.all([hearsNothing(bob), mix(carol, [TONES.alice], [TONES.bob])]);
    await call(alice, 'unhold');
    await mix(carol, [TONES.alice, TONES.bob], []);
    await alice.page.evaluate(() => globalThis.conference.remove(globalThis.calls[0]));
    await Promise.all([mix(bob, [TONES.alice], [TONES.carol]), mix(carol, [TONES.alice], [TONES.bob])]);
    await alice.page.evaluate(() => globalThis.calls[1].hangup());
    assert.equal(await alice.page.evaluate(() => globalThis.conference.calls.length), 0);
    await hears(bob, TONES.alice);
  });
});
