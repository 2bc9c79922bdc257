import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { DOMAIN, WEBSOCKET_URL } from '../stack/network.mjs';
import { keepPeerConnections, toneMicrophone } from '../support/audio.mjs';
import { tapWebSockets } from '../support/wire.mjs';
import { watchPage } from '../support/browser.mjs';
import { serveStatic } from '../support/static-server.mjs';
import { until } from '../support/until.mjs';

const folder = (path) => fileURLToPath(new URL(path, import.meta.url));
const TOLERANCE_HZ = 12;
const AUDIBLE_DBFS = -60;
/** This long in a row nothing may be heard: longer than what a jitter buffer holds, and than its way of hiding loss. */
export const SILENCE_MS = 300;
/** The two frequencies of each DTMF tone used (ITU-T Q.23), hertz. */
const DTMF = { 1: [697, 1209], 5: [770, 1336], 9: [852, 1477] };

/** Serves the pages, with the other libraries bundled, and our package. */
export async function servePages() {
  const pkg = process.env.PACKAGE_DIR ?? folder('../../pkg/');
  assert.ok(existsSync(pkg), 'the package is not built: cargo xtask build');
  const bundled = await mkdtemp(join(tmpdir(), 'wasm-softphone-interop-'));
  process.once('exit', () => rmSync(bundled, { recursive: true, force: true }));
  await build({
    entryPoints: ['jssip', 'sipjs'].map((name) => folder(`page/${name}.js`)),
    outdir: bundled,
    bundle: true,
    format: 'esm',
    target: 'es2022',
    define: { global: 'globalThis' },
    logLevel: 'warning',
  });
  return serveStatic({ '/': folder('page/'), '/bundled/': bundled, '/pkg/': pkg });
}

/** A browser page with one of the libraries in it, used as a telephone. Its microphone is a tone. */
export class Party {
  /**
   * @param library "ours", "jssip" or "sipjs"
   * @param options `server` and `expected`: where it registers, and what its console may say; the rest is told to its page
   */
  static async open(browser, url, library, { user, tone, expected = [], ...more }) {
    const party = new this();
    const settings = { server: WEBSOCKET_URL, domain: DOMAIN, user, password: `pw${user}`, ...more };
    Object.assign(party, { library, user, tone, settings, uri: `sip:${user}@${DOMAIN}` });
    party.context = await browser.newContext();
    await party.context.addInitScript(keepPeerConnections);
    await party.context.addInitScript(toneMicrophone, tone);
    await party.context.addInitScript(tapWebSockets);
    party.page = await party.context.newPage();
    // What the other libraries print is their own affair.
    party.problems = watchPage(party.page, library === 'ours' ? expected : [/^console: /]);
    await party.page.goto(`${url}/${library}.html`);
    await party.begin();
    return party;
  }

  /** Registers, once its page is loaded. */
  async begin() {
    await until(`the page of ${this.library} is ready`, () => this.page.evaluate(() => Boolean(globalThis.party))).catch((error) => {
      throw new Error(`${error.message}\n${this.problems.join('\n')}`);
    });
    await this.page.evaluate((settings) => globalThis.party.register(settings), this.settings);
  }

  get name() {
    return `${this.library} ${this.user}`;
  }

  dial(target) {
    return this.page.evaluate((to) => globalThis.party.dial(to), target);
  }

  report() {
    return this.page.evaluate(() => globalThis.party.report());
  }

  /** Waits for the call that comes after the first `count`, and returns it. */
  async call(count, state, deadline) {
    await until(`${this.name} has a call ${count} that is ${state}`, async () => (await this.report())[count]?.state === state, { deadline });
    return new PageCall(this, count);
  }

  /**
   * The SIP messages since a moment (`Date.now()`), oldest first, whichever library is behind it:
   * `{ at, sent, first, method }` with the first line, and the method of the transaction.
   */
  wire(since = 0) {
    return this.page.evaluate((from) => globalThis.wire.filter(({ at }) => at >= from), since);
  }

  /** Ends every call, so that the next test begins with none. */
  async clear() {
    await this.page.evaluate(async () => {
      for (const [index, { state }] of globalThis.party.calls.entries()) {
        if (state !== 'ended') await globalThis.party.run('hangup', index);
      }
    });
    await until(`${this.name} has no call`, async () => (await this.report()).every(({ state }) => state === 'ended'));
    this.before = (await this.report()).length;
  }

  /** How many calls it had before this test. */
  before = 0;

  /** What has been sent and received, ours only. */
  log() {
    return this.page.evaluate(() => globalThis.log ?? []);
  }

  async close() {
    await this.page.evaluate(() => globalThis.party.unregister());
    await this.context.close();
    assert.deepEqual(this.problems, []);
  }
}

/** One call of a party, whatever that is. A subclass has `report()`, `heard()`, `do()` and `hearsDtmf()`. */
export class Call {
  constructor(party, index) {
    Object.assign(this, { party, index });
  }

  get name() {
    return this.party.name;
  }

  get tone() {
    return this.party.tone;
  }

  async report() {
    return (await this.party.report())[this.index];
  }

  state(state, deadline) {
    return until(`the call of ${this.name} is ${state}`, async () => (await this.report()).state === state, { deadline });
  }

  /** Waits until what is known of it is this. */
  is(wanted, deadline) {
    return until(`${this.name} says ${JSON.stringify(wanted)}`, async () => {
      const report = await this.report();
      return Object.entries(wanted).every(([name, value]) => report[name] === value);
    }, { deadline });
  }

  hears(frequency, deadline) {
    let heard;
    return until(`${this.name} hears ${frequency} Hz`, async () => {
      heard = await this.heard();
      return heard && heard.level > AUDIBLE_DBFS && Math.abs(heard.frequency - frequency) < TOLERANCE_HZ;
    }, { deadline }).catch((error) => {
      throw new Error(`${error.message}; it hears ${JSON.stringify(heard)}`);
    });
  }

  async hearsNothing(deadline = 5000) {
    let since = null;
    let heard;
    await until(`${this.name} hears nothing`, async () => {
      heard = await this.heard();
      if (heard && heard.level > AUDIBLE_DBFS) since = null;
      else since ??= performance.now();
      return since !== null && performance.now() - since >= SILENCE_MS;
    }, { deadline }).catch((error) => {
      throw new Error(`${error.message}; it hears ${JSON.stringify(heard)}`);
    });
  }
}

/** One call of a page. */
export class PageCall extends Call {
  /** Does something to it; another call among the arguments may only be of the same party. */
  do(method, ...args) {
    const plain = args.map((arg) => (arg instanceof Call ? { call: arg.index } : arg));
    return this.party.page.evaluate(([name, ...values]) => globalThis.party.run(name, ...values), [method, this.index, ...plain]);
  }

  /** A property, as its library has it. */
  get(name) {
    return this.party.page.evaluate(([index, name]) => globalThis.party.property(index, name), [this.index, name]);
  }

  /** What is heard, and how strong (dBFS) each of these is. */
  heard(frequencies = []) {
    return this.party.page.evaluate(([index, levels]) => globalThis.party.heard(index, levels), [this.index, frequencies]);
  }

  /** Begins to listen for a DTMF tone; the promise says whether it was heard. */
  async hearsDtmf(tone, deadline = 4000) {
    const heard = await this.party.page.evaluate(
      ([index, frequencies, level, time]) => globalThis.party.hearsTogether(index, frequencies, level, time),
      [this.index, DTMF[tone], AUDIBLE_DBFS + 20, deadline],
    );
    assert.ok(heard, `${this.name} has not heard the tone ${tone}`);
  }

  /** When this tone is next heard in it (`Date.now()`), to some milliseconds. */
  async whenHeard(frequency, deadline = 10_000) {
    const at = await this.party.page.evaluate(
      ([index, hertz, time]) => globalThis.party.whenHeard(index, hertz, time),
      [this.index, frequency, deadline],
    );
    assert.ok(at, `${this.name} has not heard ${frequency} Hz within ${deadline} ms`);
    return at;
  }

  packets() {
    return this.party.page.evaluate((index) => globalThis.party.packets(index), this.index);
  }

  sendsSilence() {
    return this.party.page.evaluate((index) => globalThis.party.sendsSilence(index), this.index);
  }

  /** So many more packets leave and arrive. */
  async exchanges(more) {
    const before = await this.packets();
    await until(`${this.name}: ${more} packets each way`, async () => {
      const { sent, received } = await this.packets();
      return sent - before.sent >= more && received - before.received >= more;
    });
  }

  /** No packet leaves and none arrives (or as named), for long enough: a second of audio is 50. */
  async noPackets(...directions) {
    const named = directions.length > 0 ? directions : ['sent', 'received'];
    let last = null;
    let since;
    await until(`${this.name} has no packet ${named.join(' and ')}`, async () => {
      const packets = await this.packets();
      const count = named.reduce((sum, direction) => sum + packets[direction], 0);
      if (count !== last) [last, since] = [count, performance.now()];
      return performance.now() - since >= SILENCE_MS;
    });
  }

  /** Begins to count the time in which nothing is heard. */
  meter() {
    return this.party.page.evaluate((index) => globalThis.party.meter(index), this.index);
  }

  /** Seconds since `meter` in which nothing was heard. */
  lost() {
    return this.party.page.evaluate((index) => globalThis.party.calls[index].meter.lost / 1000, this.index);
  }
}

/** `caller` calls `callee`, who answers; both calls, once they are up. */
export async function connect(caller, callee) {
  const [out, inn] = [(await caller.report()).length, (await callee.report()).length];
  await caller.dial(callee.uri);
  const incoming = await callee.call(inn, 'ringing');
  await incoming.do('answer');
  const [outgoing] = await Promise.all([caller.call(out, 'active'), incoming.state('active')]);
  return [outgoing, incoming];
}

/** Both hear each other; one after the other, since a telephone may have to stop its tone to be asked. */
export async function talk(one, other) {
  await one.hears(other.tone);
  await other.hears(one.tone);
}

/** `transferor` talks with both and asks `transferee` to take its place with `target`: the calls, and what becomes of it. */
export async function attended(transferor, transferee, target) {
  const [kept, moved] = await connect(transferor, transferee);
  await talk(kept, moved);
  await kept.do('hold');
  const [consulting, consulted] = await connect(transferor, target);
  await talk(consulting, consulted);
  return { done: kept.do('transfer', consulting), calls: [kept, moved, consulting, consulted] };
}
