/**
 * Calls without end in one page: what is held between two of them must not grow. `SOAK_HOURS` says for how long; without it,
 * for some minute.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { launchBrowser } from '../support/browser.mjs';
import { freePort, Sandbox } from '../support/sandbox.mjs';
import { until } from '../support/until.mjs';
import { LoadPage } from './load-page.mjs';

const HOURS = Number(process.env.SOAK_HOURS ?? '0.02');
const SECONDS = HOURS * 3600;
const KIB = 1024;
/** Seconds that a call is remembered for after its end (64 × T1), and the most of the module that a round may take for so long. */
const REMEMBERED = 32;
const PER_ROUND = 64 * KIB;

describe(`${HOURS} hours of calls`, { timeout: SECONDS * 1000 + 180_000 }, () => {
  let sandbox;
  let browser;

  before(async () => {
    sandbox = new Sandbox(await freePort());
    [browser] = await Promise.all([launchBrowser(), sandbox.start()]);
  });
  after(async () => {
    await browser?.close();
    await sandbox?.kill();
  });

  test('heap, module, peer connections, listeners and timers are flat', async (t) => {
    // A long run says at once how it goes.
    const say = process.env.SOAK_HOURS ? console.log : (text) => t.diagnostic(text);
    const page = await LoadPage.open(browser, sandbox.url);
    const idle = await page.count();
    await page.page.evaluate(startPhones, new URL(sandbox.url).host);
    const quiet = await page.count();

    const began = performance.now();
    const elapsed = () => (performance.now() - began) / 1000;
    const samples = [];
    const every = Math.max(5, Math.min(60, SECONDS / 16));
    let cycles = 0;
    /** When each round was over; how many were remembered at once, at most, since the last sample. */
    const rounds = [];
    let remembered = 0;
    const outcomes = {};
    while (elapsed() < SECONDS) {
      const next = samples.length * every;
      do {
        for (const outcome of await page.page.evaluate(cycle, cycles)) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
        cycles += 1;
        rounds.push(elapsed());
        while (rounds[0] < elapsed() - REMEMBERED) rounds.shift();
        remembered = Math.max(remembered, rounds.length);
      } while (elapsed() < next);
      await until('nothing of the calls is held', async () => {
        assert.deepEqual(await page.count(), quiet);
        return true;
      }, { deadline: 40_000 });
      await page.page.evaluate(() => globalThis.load.messages());
      const { heap, wasm, references } = await page.memory();
      const { nodes, jsEventListeners } = await page.devtools.send('Memory.getDOMCounters');
      samples.push({ at: elapsed(), cycles, remembered, heap, wasm, references, nodes, jsEventListeners });
      remembered = 0;
      say(`${(elapsed() / 60).toFixed(1)} min: ${cycles} rounds, heap ${(heap / KIB).toFixed(0)} KiB, module ${(wasm / KIB).toFixed(0)} KiB with ${references} references, ${nodes} nodes, ${jsEventListeners} listeners in all`);
    }
    say(`outcomes: ${JSON.stringify(outcomes)}`);
    for (const [outcome, count] of Object.entries({ answered: cycles, taken: cycles, busy: cycles, given_up: cycles, reconnected: Math.floor((cycles + 4) / 5) })) {
      assert.equal(outcomes[outcome], count, `${outcome}: ${JSON.stringify(outcomes)}`);
    }
    // The first part is for what is made once, and for transactions that are remembered for half a minute.
    const settled = samples.filter(({ at }) => at > Math.max(40, SECONDS / 2));
    const [first, last] = [settled[0], settled.at(-1)];
    const per = (key) => (last[key] - first[key]) / (last.cycles - first.cycles);
    say(`in the second half, a round of calls: heap ${per('heap').toFixed(0)} bytes, module ${per('wasm').toFixed(0)} bytes`);
    const lowest = (key) => Math.min(...settled.slice(0, Math.ceil(settled.length / 2)).map((sample) => sample[key]));
    const growth = (key) => Math.min(...settled.slice(Math.floor(settled.length / 2)).map((sample) => sample[key])) - lowest(key);
    // Chromium keeps a peer connection for ever that is closed while a change of its state is on the way to the page
    // (`ChangePeerConnectionState` in the heap's roots): some one in 75, a hundred bytes of JavaScript a round. An object
    // that is kept for each of a round's ten ends of calls is far more.
    assert.ok(growth('heap') < Math.max(100 * KIB, 256 * (last.cycles - first.cycles)), `the heap has grown by ${growth('heap')} bytes`);
    // The module is as large as what was remembered at its worst: where the machine has become faster, that is more.
    const worst = (part) => Math.max(...part.map((sample) => sample.remembered));
    const later = settled.slice(1);
    const faster = Math.max(0, worst(later) - worst(samples.slice(0, samples.length - later.length)));
    assert.ok(growth('wasm') <= faster * PER_ROUND, `the module has grown by ${growth('wasm')} bytes, with at most ${faster} more rounds in ${REMEMBERED} s`);
    assert.ok(growth('references') <= 8, JSON.stringify(settled.map(({ references }) => references)));
    assert.ok(growth('nodes') <= 2 && growth('jsEventListeners') <= 2, JSON.stringify(settled.map(({ nodes, jsEventListeners }) => [nodes, jsEventListeners])));

    await page.page.evaluate(async () => {
      for (const phone of Object.values(globalThis.phones)) {
        await phone.disconnect();
        phone.free();
      }
      globalThis.phones = null;
    });
    await until('nothing is held', async () => {
      assert.deepEqual(await page.count(), idle);
      return true;
    });
    await until('the server holds nothing', async () => {
      assert.deepEqual(await (await fetch(`${sandbox.url}/load.json`)).json(), { connections: 0, bindings: 0, calls: 0, transactions: 0 });
      return true;
    }, { deadline: 60_000, every: 500 });
    await page.close();
  });
});

/** Two telephones. Runs in the page, as the next. */
async function startPhones(host) {
  globalThis.phones = {};
  for (const user of ['alice', 'bob']) {
    const phone = new DialStrategy({ servers: `ws://${host}/sip`, uri: `sip:${user}@sandbox.test`, credentials: { username: user, password: `${user}-secret` }, iceServers: [] });
    globalThis.phones[user] = phone;
    await phone.connect();
  }
}

/** A round of all that happens to a telephone; says how each went. */
async function cycle(number) {
  const { alice, bob } = globalThis.phones;
  const sandbox = (user) => `sip:${user}@sandbox.test`;
  const happens = (what) => new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`"${what.name}" did not happen in round ${number}`)), 20_000);
    const look = () => {
      if (!what()) return setTimeout(look, 10);
      clearTimeout(late);
      return resolve();
    };
    look();
  });
  const outcomes = [];

  // Between the two: answered, used, hung up by either.
  const stop = bob.on('incoming', ({ call }) => call.answer());
  const { call, error } = await alice.dial(sandbox('bob'));
  if (error) throw error;
  const [theirs] = bob.calls;
  await happens(function active() { return theirs.state === 'active'; });
  await call.hold();
  await call.unhold();
  await theirs.hold();
  await theirs.unhold();
  call.mute();
  call.unmute();
  await call.sendDtmf('1', { method: 'info' });
  await call.stats();
  if (number % 5 === 0) {
    globalThis.dropSockets();
    await happens(function lost() { return call.state === 'reconnecting'; });
    await happens(function back() { return call.state === 'active' && theirs.state === 'active'; });
    outcomes.push('reconnected');
  }
  await (number % 2 ? call : theirs).hangup();
  await happens(function ended() { return alice.calls.length === 0 && bob.calls.length === 0; });
  stop();
  outcomes.push('answered');

  // To a number with media of the server's.
  const echo = await alice.dial(sandbox('600'));
  if (echo.error) throw echo.error;
  await happens(function heard() { return echo.call.remoteStream; });
  await echo.call.hangup();
  outcomes.push('taken');

  outcomes.push((await alice.dial(sandbox('602'))).error?.code);

  // Given up while it rings.
  const abort = new AbortController();
  const ringing = alice.dial(sandbox('603'), { signal: abort.signal, onProgress: (stage) => stage === 'ringing' && abort.abort() });
  const given = (await ringing).error?.code;
  outcomes.push(given === 'aborted' ? 'given_up' : given);

  // Refused.
  const refuse = bob.on('incoming', ({ call }) => call.reject());
  outcomes.push(`refused ${(await alice.dial(sandbox('bob'))).error?.code}`);
  refuse();
  await happens(function idle() { return alice.calls.length === 0 && bob.calls.length === 0; });
  return outcomes;
}
