import { keepPeerConnections, packets, toneMicrophone } from '../support/audio.mjs';
import { watchPage } from '../support/browser.mjs';

/**
 * For `context.addInitScript`: a page that is nothing but a phone, and begins again at each load. Runs in the page.
 * What it does is in `globalThis.run`, so that a test can read it.
 */
function phonePage({ user, tabs, config }) {
  // The script is in every document of the profile: this one is a site that has no phone.
  if (location.hash === '#elsewhere') return;
  const run = { log: [], states: [], incoming: 0, began: Date.now() };
  globalThis.run = run;
  const events = (target) => {
    target.on('log', ({ text }) => run.log.push(text));
    target.on('call', ({ call, state }) => run.states.push([Math.round(performance.now()), call.id, state]));
    target.on('incoming', () => (run.incoming += 1));
  };
  const start = async () => {
    const { default: init, DialStrategy } = await import('/pkg/index.js');
    await init();
    const settings = {
      servers: `ws://${location.host}/sip`,
      uri: `sip:${user}@sandbox.test`,
      credentials: { username: user, password: `${user}-secret` },
      iceServers: [],
      debug: true,
      ...config,
    };
    if (tabs) {
      const { PhoneTabs } = await import('/pkg/tabs.js');
      globalThis.tabs = new PhoneTabs(settings);
      events(globalThis.tabs);
      await globalThis.tabs.join();
    } else {
      globalThis.phone = new DialStrategy(settings);
      events(globalThis.phone);
      await globalThis.phone.connect();
    }
    run.ready = Math.round(performance.now());
  };
  // An init script runs before there is a document.
  addEventListener('DOMContentLoaded', () => {
    start().catch((error) => (run.failed = `${error.code ?? error.name}: ${error.message}`));
  });
}

/**
 * For `context.addInitScript`: from the first remote track on, notes every 10 ms whether a tone stands out in what the
 * newest peer connection receives, in `globalThis.hearing`: when it was last heard, and the longest time it was not.
 * Times are those of the machine, so that pages can be compared. Runs in the page.
 */
function hearTone(hertz) {
  const hearing = { first: 0, last: 0, gap: 0 };
  globalThis.hearing = hearing;
  let context;
  let ear;
  setInterval(() => {
    const connection = globalThis.peerConnections?.findLast(({ signalingState }) => signalingState !== 'closed');
    const track = connection?.getReceivers()[0]?.track;
    if (!track) return;
    if (ear?.track !== track) {
      context ??= new AudioContext();
      const analyser = new AnalyserNode(context, { fftSize: 2048, smoothingTimeConstant: 0 });
      const source = context.createMediaStreamSource(new MediaStream([track]));
      source.connect(analyser);
      ear = { track, source, analyser };
    }
    const bins = new Float32Array(ear.analyser.frequencyBinCount);
    ear.analyser.getFloatFrequencyData(bins);
    const bin = Math.round((hertz * ear.analyser.fftSize) / context.sampleRate);
    const level = Math.max(...bins.subarray(bin - 1, bin + 2));
    if (level < -35) return;
    const now = Date.now();
    hearing.first ||= now;
    if (hearing.last) hearing.gap = Math.max(hearing.gap, now - hearing.last);
    hearing.last = now;
  }, 10);
}

/** A profile in which each page is a phone of this user. */
export async function phoneProfile(browser, { user, tone, hears, tabs = false, config = {} }) {
  const context = await browser.newContext();
  await context.addInitScript(keepPeerConnections);
  await context.addInitScript(toneMicrophone, tone);
  await context.addInitScript(hearTone, hears);
  await context.addInitScript(phonePage, { user, tabs, config });
  return context;
}

/** A page of it. */
export class PhonePage {
  static async open(profile, url, expected = []) {
    const phone = new PhonePage();
    phone.page = await profile.newPage();
    phone.page.setDefaultTimeout(15_000);
    phone.problems = watchPage(phone.page, expected);
    // A document of the sandbox's own, in which nothing else runs.
    await phone.page.goto(`${url}/demo.json`);
    await phone.ready();
    return phone;
  }

  /** Waits until it is connected; returns how long that took from the load of the page, milliseconds. */
  async ready() {
    const failed = await this.page.waitForFunction(() => globalThis.run?.failed ?? (globalThis.run?.ready && 'ready'));
    const outcome = await failed.jsonValue();
    if (outcome !== 'ready') throw new Error(outcome);
    return this.page.evaluate(() => globalThis.run.ready);
  }

  /** Runs in the page; `phone` and `call`, the first one, are there. */
  run(task, argument) {
    return this.page.evaluate(
      ([task, argument]) => {
        const phone = globalThis.tabs ?? globalThis.phone;
        // eslint-disable-next-line no-new-func
        return new Function('phone', 'call', 'argument', `return (${task})(phone, call, argument);`)(phone, phone.calls[0], argument);
      },
      [task.toString(), argument],
    );
  }

  /** What is known of its calls. */
  calls() {
    return this.run((phone) =>
      phone.calls.map(({ id, state, direction, strategy, remote, localHold, remoteHold, muted, startedAt }) => ({
        id, state, direction, strategy, remote, localHold, remoteHold, muted, startedAt,
      })),
    );
  }

  hearing() {
    return this.page.evaluate(() => globalThis.hearing);
  }

  packets() {
    return packets(this.page);
  }
}
