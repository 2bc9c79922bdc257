/** A page with nothing but the package: the tests drive it, and it keeps what they want to ask. */

import init, { DialStrategy } from '/pkg/index.js';

const audio = new AudioContext();

globalThis.testPage = {
  phone: null,
  calls: [],
  dialed: null,
  states: [],
  log: [],

  async connect(config) {
    await init();
    const phone = new DialStrategy(config);
    this.phone = phone;
    phone.on('call', ({ call, state }) => {
      if (!this.calls.includes(call)) this.calls.push(call);
      this.states.push(`${call.direction} ${state}`);
    });
    phone.on('registration', ({ state }) => this.states.push(`registration ${state}`));
    phone.on('log', ({ text }) => this.log.push(text));
    try {
      await phone.connect();
      return { registration: phone.registration };
    } catch (error) {
      return { error: plain(error), registration: phone.registration };
    }
  },

  /** Starts a dial; `outcome` has the result when there is one. */
  dial(destination, options) {
    this.dialed = null;
    this.phone.dial(destination, options).then((result) => {
      this.dialed = result.success
        ? { success: true, strategy: result.strategy }
        : { success: false, error: plain(result.error) };
    });
  },

  get call() {
    return this.calls.at(-1);
  },

  get ended() {
    return this.call?.state === 'ended' ? this.call.endReason : null;
  },

  /** The strongest frequency that is heard from the other side, hertz, with its level in dBFS. */
  async heard() {
    const stream = this.call?.remoteStream;
    if (!stream) return null;
    if (this.listening?.stream !== stream) {
      const source = audio.createMediaStreamSource(stream);
      const analyser = new AnalyserNode(audio, { fftSize: 8192, smoothingTimeConstant: 0 });
      source.connect(analyser);
      this.listening = { stream, source, analyser };
    }
    const { analyser } = this.listening;
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    const peak = bins.reduce((best, level, bin) => (level > bins[best] ? bin : best), 0);
    return { frequency: (peak * audio.sampleRate) / analyser.fftSize, level: bins[peak] };
  },
};

function plain(error) {
  const { code, message, sipStatus, retryable, hint } = error;
  return { code, message, sipStatus, retryable, hint };
}
