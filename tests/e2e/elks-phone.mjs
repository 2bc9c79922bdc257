import assert from 'node:assert/strict';

import { keepPeerConnections, packets, toneMicrophone } from '../support/audio.mjs';
import { watchPage } from '../support/browser.mjs';
import { until } from '../support/until.mjs';

const TOLERANCE_HZ = 12;
const AUDIBLE_DBFS = -60;

/**
 * For `context.addInitScript`: measures what the page plays, and what it sends, all the time. Runs in the page.
 * A gated call must leave no trace in either.
 */
function watchAudio() {
  const ears = [];
  const watch = { played: -Infinity, frequency: 0, sent: 0, received: 0 };
  globalThis.audioWatch = watch;
  const source = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'srcObject');
  Object.defineProperty(HTMLMediaElement.prototype, 'srcObject', {
    ...source,
    set(stream) {
      source.set.call(this, stream);
      if (!stream?.getAudioTracks().length) return;
      const context = new AudioContext();
      const analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
      context.createMediaStreamSource(stream).connect(analyser);
      ears.push({ player: this, context, analyser, bins: new Float32Array(analyser.frequencyBinCount) });
    },
  });
  // Shorter than what the analyser looks back on, so that no moment is missed.
  setInterval(async () => {
    for (const { player, context, analyser, bins } of ears) {
      if (player.muted || player.volume === 0) continue;
      analyser.getFloatFrequencyData(bins);
      const peak = bins.reduce((best, level, bin) => (level > bins[best] ? bin : best), 0);
      watch.played = Math.max(watch.played, bins[peak]);
      watch.frequency = (peak * context.sampleRate) / analyser.fftSize;
      watch.now = bins[peak];
    }
    for (const connection of globalThis.peerConnections) {
      if (connection.signalingState === 'closed') continue;
      for (const report of (await connection.getStats()).values()) {
        if (report.type === 'outbound-rtp') watch.sent = Math.max(watch.sent, report.packetsSent);
        if (report.type === 'inbound-rtp') watch.received = Math.max(watch.received, report.packetsReceived);
      }
    }
  }, 50);
}

/** Profiles whose microphone is a tone. */
export async function elksProfile(browser, { tone = 1000, ...options } = {}) {
  const context = await browser.newContext(options);
  await context.addInitScript(keepPeerConnections);
  await context.addInitScript(toneMicrophone, tone);
  await context.addInitScript(watchAudio);
  return context;
}

/** The package in a page without anything else, with an account of 46elks. */
export class ElksPhone {
  /**
   * Connects. `settings` go over those of the account; `prepare(page)` is asked before the page runs anything.
   * `config.proxyHeaders` stays as it is: an object.
   */
  static async open(profile, url, config, { expected = [], prepare = async () => {}, connect = true } = {}) {
    const phone = new ElksPhone();
    phone.page = await profile.newPage();
    phone.page.setDefaultTimeout(10_000);
    // What is asked of a proxy that refuses stands in the console, as an error of the browser's own.
    phone.problems = watchPage(phone.page, [/Failed to load resource/, ...expected]);
    await prepare(phone.page);
    // A document of the sandbox's origin in which nothing runs.
    await phone.page.goto(`${url}/demo.json`);
    await phone.page.evaluate(async ({ config, connect }) => {
      const { default: init, DialStrategy } = await import('/pkg/index.js');
      await init();
      const phone = new DialStrategy(config);
      Object.assign(globalThis, { phone, incoming: [], logs: [] });
      phone.on('log', ({ text }) => globalThis.logs.push(text));
      phone.on('incoming', ({ call }) => {
        const record = { from: call.remote.uri, call, ended: null };
        globalThis.incoming.push(record);
        call.on('ended', (reason) => { record.ended = reason; });
      });
      if (connect) await phone.connect();
    }, { config, connect });
    return phone;
  }

  /** Dials without waiting for anything. */
  async begin(to, options = {}) {
    await this.page.evaluate(({ to, options }) => {
      const abort = new AbortController();
      const dial = { stages: [], call: null, result: null, ended: null };
      Object.assign(globalThis, { dial, abort });
      const onProgress = (stage, call) => {
        dial.stages.push(stage);
        if (dial.call) return;
        dial.call = call;
        call.on('ended', (reason) => { dial.ended = reason; });
      };
      globalThis.phone.dial(to, { ...options, signal: abort.signal, onProgress }).then((result) => { dial.result = result; });
    }, { to, options });
  }

  /** Waits until the dial has come to this stage. */
  reaches(stage, { deadline = 15_000 } = {}) {
    return until(`stage ${stage}`, async () => {
      const { stages, code } = await this.dialled();
      if (!stages.includes(stage)) throw new Error(`stages ${stages}, result ${code}`);
      return true;
    }, { deadline });
  }

  /** How the dial stands. */
  dialled() {
    return this.page.evaluate(() => {
      const { stages, result, ended } = globalThis.dial;
      return {
        stages,
        over: result !== null,
        success: result?.success ?? null,
        strategy: result?.strategy ?? null,
        code: result?.error?.code ?? null,
        message: result?.error?.message ?? null,
        hint: result?.error?.hint ?? null,
        ended,
      };
    });
  }

  /** Waits for the result of the dial. */
  outcome({ deadline = 40_000 } = {}) {
    return until('the dial is over', async () => {
      const dialled = await this.dialled();
      return dialled.over && dialled;
    }, { deadline });
  }

  /** Dials and waits for the outcome. */
  async dial(to, options = {}) {
    await this.begin(to, options);
    return this.outcome();
  }

  /** Waits until the call is over; returns why. */
  ended({ deadline = 40_000 } = {}) {
    return until('the call is over', async () => (await this.dialled()).ended, { deadline });
  }

  hangup() {
    return this.page.evaluate(() => globalThis.dial.call.hangup());
  }

  abort() {
    return this.page.evaluate(() => globalThis.abort.abort());
  }

  /** Calls that have rung here, oldest first. */
  rung() {
    return this.page.evaluate(() => globalThis.incoming.map(({ from, call, ended }) => ({ from, state: call.state, ended })));
  }

  /** The loudest that was played so far (dBFS), and the most packets that any connection sent and received. */
  async audio() {
    // JSON knows no infinity.
    return this.page.evaluate(() => ({ ...globalThis.audioWatch, played: Math.max(globalThis.audioWatch.played, -999) }));
  }

  /** Waits until the page plays this tone. */
  plays(frequency) {
    return until(`${frequency} Hz is played`, async () => {
      const { now, frequency: heard } = await this.page.evaluate(() => globalThis.audioWatch);
      return now > AUDIBLE_DBFS && Math.abs(heard - frequency) < TOLERANCE_HZ;
    });
  }

  exchanges(atLeast) {
    return until(`${atLeast} packets each way`, async () => {
      const count = await packets(this.page);
      return count.sent >= atLeast && count.received >= atLeast && count;
    });
  }

  /** `call.stats()`. */
  stats() {
    return this.page.evaluate(() => globalThis.dial.call.stats());
  }

  /** Nothing was heard and nothing was sent in this page, ever. */
  async untouched() {
    const { played, sent } = await this.audio();
    assert.ok(played <= AUDIBLE_DBFS * 1.5, `the page has played ${played} dBFS`);
    assert.equal(sent, 0, 'the page has sent audio');
  }

  unblemished() {
    assert.deepEqual(this.problems, []);
  }
}
