import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { keepPeerConnections, packets, strongestTone, toneMicrophone } from '../support/audio.mjs';
import { watchPage } from '../support/browser.mjs';
import { serveStatic } from '../support/static-server.mjs';
import { until } from '../support/until.mjs';
import { DOMAIN, WEBSOCKET_URL } from './network.mjs';

const folder = (path) => fileURLToPath(new URL(path, import.meta.url));
const TOLERANCE_HZ = 12;
const AUDIBLE_DBFS = -60;

/** Serves the test page and the built package. */
export async function servePackage() {
  const pkg = process.env.PACKAGE_DIR ?? folder('../../pkg/');
  assert.ok(existsSync(pkg), 'the package is not built: cargo xtask build');
  return serveStatic({ '/': folder('page/'), '/pkg/': pkg });
}

export function settings(user, more = {}) {
  return {
    servers: WEBSOCKET_URL,
    uri: `sip:${user}@${DOMAIN}`,
    credentials: { username: user, password: `pw${user}` },
    iceServers: [],
    debug: true,
    ...more,
  };
}

/** A browser with the package in it, used as a telephone. Its microphone is a tone. */
export class BrowserPhone {
  /** @param tone what its microphone hears, hertz */
  static async open(browser, url, { tone = 1000 } = {}) {
    const phone = new BrowserPhone();
    phone.tone = tone;
    phone.context = await browser.newContext();
    await phone.context.addInitScript(keepPeerConnections);
    await phone.context.addInitScript(toneMicrophone, tone);
    phone.page = await phone.context.newPage();
    phone.problems = watchPage(phone.page, [/WebSocket connection to .* failed/]);
    await phone.page.goto(url);
    await until('the page has loaded the package', () => phone.page.evaluate(() => Boolean(globalThis.testPage))).catch((error) => {
      throw new Error(`${error.message}\n${phone.problems.join('\n')}`);
    });
    return phone;
  }

  connect(config) {
    return this.page.evaluate((settings) => globalThis.testPage.connect(settings), config);
  }

  /** Connects as `user` with the right password. */
  async register(user, more) {
    assert.deepEqual(await this.connect(settings(user, more)), { registration: 'registered' });
  }

  dial(destination, options) {
    return this.page.evaluate(([to, how]) => globalThis.testPage.dial(to, how), [destination, options]);
  }

  /** The outcome of `dial`. */
  dialed(deadline) {
    return until('the dial has an outcome', () => this.page.evaluate(() => globalThis.testPage.dialed), { deadline });
  }

  /** Calls a method of the newest call. */
  do(method, ...args) {
    return this.page.evaluate(async ([name, values]) => {
      await globalThis.testPage.call[name](...values);
    }, [method, args]);
  }

  /** A property of the newest call. */
  get(property) {
    return this.page.evaluate((name) => globalThis.testPage.call?.[name] ?? null, property);
  }

  state(state, deadline) {
    return until(`the call is ${state}`, async () => (await this.get('state')) === state, { deadline });
  }

  ended(deadline) {
    return until('the call has ended', () => this.page.evaluate(() => globalThis.testPage.ended), { deadline });
  }

  registration(state, deadline) {
    return until(`registration is ${state}`, async () => (await this.page.evaluate(() => globalThis.testPage.phone.registration)) === state, { deadline });
  }

  connection(state, deadline) {
    return until(`the connection is ${state}`, async () => (await this.page.evaluate(() => globalThis.testPage.phone.connection)) === state, { deadline });
  }

  async log() {
    return this.page.evaluate(() => globalThis.testPage.log);
  }

  /** Waits until the other side's tone is what this browser hears. */
  hears(frequency, deadline) {
    return until(`the browser hears ${frequency} Hz`, async () => {
      const heard = await this.page.evaluate(() => globalThis.testPage.heard());
      this.lastHeard = heard;
      return heard && heard.level > AUDIBLE_DBFS && Math.abs(heard.frequency - frequency) < TOLERANCE_HZ;
    }, { deadline });
  }

  /** Waits until packets have gone both ways; returns the counts. */
  exchanges(atLeast) {
    return until(`${atLeast} packets each way`, async () => {
      const count = await packets(this.page);
      return count.sent >= atLeast && count.received >= atLeast && count;
    });
  }

  /** Ends everything, and complains about what the page has complained about. */
  async close() {
    await this.page.evaluate(async () => {
      await globalThis.testPage.phone?.disconnect();
      globalThis.testPage.phone?.free();
    });
    await this.context.close();
    assert.deepEqual(this.problems, []);
  }
}

/** Waits until a telephone (baresip) has recorded a tone. */
export function telephoneHears(telephone, frequency) {
  return until(`the telephone ${telephone.user} hears ${frequency} Hz`, async () => {
    const recording = await telephone.heard();
    if (!recording) return false;
    const { samples, sampleRate } = recording;
    // The newest half second: the beginning is silence, and the tone fades in with the path.
    const recent = samples.subarray(-sampleRate / 2);
    if (recent.length < sampleRate / 2) return false;
    const heard = strongestTone(recent, sampleRate);
    return heard.level > 0.01 && Math.abs(heard.frequency - frequency) < TOLERANCE_HZ;
  });
}
