/** Hold, a track of the application's and a conference, by the package's API and with the release build: what is heard, and what leaves. */

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { keepPeerConnections, received, toneMicrophone } from '../support/audio.mjs';
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
  async function person(name, config = {}) {
    const context = await browser.newContext();
    await context.addInitScript(keepPeerConnections);
    await context.addInitScript(toneMicrophone, TONES[name]);
    const page = await context.newPage();
    const problems = watchPage(page, [/404/]);
    await page.goto(`${sandbox.url}/demo.json`);
    const account = accounts.find(({ uri }) => uri.startsWith(`sip:${name}@`));
    const one = { name, page, problems, uri: account.uri, config: { ...account, iceServers: [], ...config } };
    await start(one);
    people.push(one);
    return one;
  }

  const start = ({ page, config }) =>
    page.evaluate(async (config) => {
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
    }, config);

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

  /** What goes out, if anything does, is silence. */
  async function sendsNothing(one) {
    const silent = await one.page.evaluate(() => globalThis.peerConnections.at(-1).getSenders().map(({ track }) => track.enabled));
    assert.deepEqual(silent, [false]);
  }

  /** For `seconds`, between which something is done in the page: how much further the clock of the stream that `one` receives is, in
   *  seconds, than time is. */
  async function clockOffset(one, during) {
    const source = () =>
      one.page.evaluate(() => {
        const receiver = globalThis.peerConnections.at(-1).getReceivers()[0];
        const [newest] = receiver.getSynchronizationSources();
        const { codecs } = receiver.getParameters();
        return { at: newest.timestamp, rtp: newest.rtpTimestamp, rate: codecs[0].clockRate, level: newest.audioLevel };
      });
    const fresh = (after) => until(`${one.name} receives packets`, async () => {
      const now = await source();
      return now.at > after ? now : undefined;
    });
    const before = await fresh(0);
    await during(before);
    const after = await fresh(before.at + 1000);
    const ticks = (after.rtp - before.rtp) >>> 0;
    return ticks / after.rate - (after.at - before.at) / 1000;
  }

  const seconds = async (count) => {
    const end = performance.now() + count * 1000;
    await until(`${count} s have passed`, () => performance.now() >= end);
  };

  /** All calls of this person in one conference. */
  const confer = (one) =>
    one.page.evaluate(async () => {
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
  const mix = (one, present, absent, limits) =>
    until(`${one.name} hears ${present.join(' and ')} Hz, and not ${absent.join(' or ')} Hz`, async () => {
      await received(one.page);
      const [is, isNot] = [await levels(one, present), await levels(one, absent)];
      return is.every((level) => level > AUDIBLE_DBFS) && isNot.every((level) => level < AUDIBLE_DBFS);
    }, limits);

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
      const quiet = !sender.track.enabled;
      const first = await Promise.race([done, Promise.resolve('not yet')]);
      const heard = globalThis.calls[0].remoteStream.getAudioTracks()[0].enabled;
      return [quiet, first, heard, await done, sender.track.enabled];
    });
    assert.deepEqual(tracks, [true, 'not yet', false, 'agreed', false]);
  });

  // What lies in the past of its stream a receiver throws away: silent for as long as the hold lasted (RFC 3550, section 5.1).
  test('the clock of the stream goes on while the call is held, by whichever side', async () => {
    const [alice, bob] = await talking();
    for (const holder of [alice, bob]) {
      const other = holder === alice ? bob : alice;
      const begin = performance.now();
      const offset = await clockOffset(other, async () => {
        await call(holder, 'hold');
        await seconds(2);
        await hearsNothing(other);
        await call(holder, 'unhold');
        await hears(other, TONES[holder.name]);
      });
      assert.ok(Math.abs(offset) < 0.2, `${holder.name} held, ${other.name} receives: ${offset} s off after ${performance.now() - begin} ms`);
      const back = await clockOffset(holder, async () => {
        await call(holder, 'hold');
        await seconds(2);
        await call(holder, 'unhold');
        await hears(holder, TONES[other.name]);
      });
      assert.ok(Math.abs(back) < 0.2, `${holder.name} held and receives: ${back} s off`);
    }
  });

  test('the clock of the stream goes on while a track of the application’s is muted or taken back', async () => {
    const [alice, bob] = await talking();
    const offset = await clockOffset(bob, async () => {
      await alice.page.evaluate(async () => {
        globalThis.context = new AudioContext();
        const tone = new OscillatorNode(globalThis.context, { frequency: 1800 });
        const destination = globalThis.context.createMediaStreamDestination();
        tone.connect(destination);
        tone.start();
        await globalThis.calls[0].replaceAudioTrack(destination.stream.getAudioTracks()[0]);
      });
      await hears(bob, 1800);
      await call(alice, 'mute');
      await hearsNothing(bob);
      await seconds(2);
      await call(alice, 'unmute');
      await hears(bob, 1800);
      await call(alice, 'replaceAudioTrack', null);
      await hears(bob, TONES.alice);
    });
    assert.ok(Math.abs(offset) < 0.2, `${offset} s off`);
    await alice.page.evaluate(() => globalThis.context.close());
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

  test('tones that a hold cuts go on after it, each of them once', async () => {
    const [alice, bob] = await talking();
    await alice.page.evaluate(() => {
      globalThis.peerConnections.at(-1).getSenders()[0].dtmf.addEventListener('tonechange', ({ tone }) => { globalThis.tones += tone; });
    });
    const tones = () => alice.page.evaluate(() => globalThis.tones);
    for (const holder of [bob, alice]) {
      await alice.page.evaluate(() => {
        globalThis.tones = '';
        globalThis.sent = globalThis.calls[0].sendDtmf('123456789').then(() => 'sent', ({ code }) => code);
      });
      await until('some tones', async () => (await tones()).length >= 3);
      await call(holder, 'hold');
      const before = await tones();
      assert.ok(before.length < 9, before);
      // One that is asked for meanwhile waits in line.
      await alice.page.evaluate(() => { globalThis.next = globalThis.calls[0].sendDtmf('0'); });
      await seconds(2);
      assert.equal(await tones(), before, `${holder.name} holds`);
      await call(holder, 'unhold');
      assert.equal(await alice.page.evaluate(() => globalThis.sent), 'sent');
      await alice.page.evaluate(() => globalThis.next);
      assert.equal(await tones(), '1234567890', `${holder.name} held`);
    }
    // A call that ends on hold settles what waits.
    const left = await alice.page.evaluate(async () => {
      const held = globalThis.calls[0].hold();
      const sent = globalThis.calls[0].sendDtmf('1').catch(({ code }) => code);
      await held;
      await globalThis.calls[0].hangup();
      return sent;
    });
    assert.equal(left, 'ended');
  });

  test('of two calls with one element the one that may be heard is heard', async () => {
    const [alice, bob, carol] = await Promise.all([person('alice'), person('bob'), person('carol')]);
    await alice.page.evaluate(() => {
      globalThis.element = new Audio();
      globalThis.phone.configure({ audioElement: globalThis.element });
    });
    const plays = () => alice.page.evaluate(() => globalThis.calls.findIndex((call) => call.remoteStream === globalThis.element.srcObject));
    await dial(alice, bob);
    assert.equal(await plays(), 0);
    await call(alice, 'hold');
    await dial(alice, carol);
    assert.equal(await plays(), 1);
    await alice.page.evaluate(() => globalThis.calls[1].hangup());
    await call(alice, 'unhold');
    assert.equal(await plays(), 0);
    assert.ok(await alice.page.evaluate(() => !globalThis.element.paused));
    await hears(bob, TONES.alice);
  });

  test('who is muted stays muted in the call that a transfer makes', async () => {
    const [alice, bob] = await talking();
    const carol = await person('carol');
    await call(bob, 'mute');
    await bob.page.evaluate(() => globalThis.calls[0].on('transferRequest', ({ accept }) => accept()));
    await call(alice, 'transfer', carol.uri);
    await until('carol is in the call', () => carol.page.evaluate(() => globalThis.calls.length > 0));
    await hears(bob, TONES.carol);
    assert.deepEqual(await bob.page.evaluate(() => globalThis.calls.map(({ muted }) => muted)), [true, true]);
    await hearsNothing(carol);
    await bob.page.evaluate(() => globalThis.calls[1].unmute());
    await hears(carol, TONES.bob);
  });

  test('a conference hears a member again whose page was reloaded', async () => {
    const [alice, bob, carol] = await Promise.all([person('alice'), person('bob', { resume: true }), person('carol')]);
    await dial(alice, bob);
    await dial(alice, carol);
    await confer(alice);
    await Promise.all([mix(carol, [TONES.alice, TONES.bob], []), mix(bob, [TONES.alice, TONES.carol], [])]);
    await alice.page.evaluate(() => {
      globalThis.calls[0].on('remoteTrack', ({ track }) => { globalThis.track = track; });
    });
    await bob.page.reload();
    await start(bob);
    await mix(bob, [TONES.alice, TONES.carol], []);
    await mix(carol, [TONES.alice, TONES.bob], [], { deadline: 2000 });
    assert.ok(await alice.page.evaluate(() => globalThis.calls[0].remoteStream.getAudioTracks()[0] === globalThis.track));
    await alice.page.evaluate(() => globalThis.conference.end());
  });

  test('three in a conference hear each other, and one on hold nobody', async () => {
    const [alice, bob] = await talking();
    const carol = await person('carol');
    await dial(alice, carol);
    await confer(alice);
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
