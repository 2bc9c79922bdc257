/** What a telephone sounds like: ringing, the ringback of a call going out, and the keys. */

const RINGS = {
  // Two short rings and a pause, and the long ring that a caller hears; cadences in seconds.
  incoming: { frequencies: [480, 620], on: [[0, 0.4], [0.6, 1]], period: 3, gain: 0.12 },
  ringback: { frequencies: [425], on: [[0, 1]], period: 5, gain: 0.05 },
};
// ITU-T Q.23
const ROWS = [697, 770, 852, 941];
const COLUMNS = [1209, 1336, 1477];
const PAD = ['123', '456', '789', '*0#'];

export class Tones {
  #context;
  #ring = null;
  #kind = null;

  constructor(context) {
    this.#context = context;
  }

  /** @param {'incoming' | 'ringback' | null} kind `null` is silence */
  ring(kind) {
    if (kind === this.#kind) return;
    this.#kind = kind;
    this.#ring?.stop();
    this.#ring = null;
    if (kind === null) return;
    const { frequencies, on, period, gain } = RINGS[kind];
    const rate = this.#context.sampleRate;
    const buffer = this.#context.createBuffer(1, Math.round(period * rate), rate);
    const samples = buffer.getChannelData(0);
    for (const [from, to] of on) {
      const end = Math.round(to * rate);
      for (let at = Math.round(from * rate); at < end; at += 1) {
        // 10 ms of fading at both ends, or every ring would click.
        const fade = Math.min(1, (at - from * rate) / (0.01 * rate), (end - at) / (0.01 * rate));
        for (const frequency of frequencies) {
          samples[at] += (gain * fade * Math.sin((2 * Math.PI * frequency * at) / rate)) / frequencies.length;
        }
      }
    }
    this.#ring = new AudioBufferSourceNode(this.#context, { buffer, loop: true });
    this.#ring.connect(this.#context.destination);
    this.#ring.start();
  }

  /** The two frequencies of a key, briefly. */
  key(key) {
    const row = PAD.findIndex((keys) => keys.includes(key));
    if (row < 0 || this.#context.state !== 'running') return;
    const gain = new GainNode(this.#context, { gain: 0.04 });
    gain.connect(this.#context.destination);
    const end = this.#context.currentTime + 0.12;
    for (const frequency of [ROWS[row], COLUMNS[PAD[row].indexOf(key)]]) {
      const oscillator = new OscillatorNode(this.#context, { frequency });
      oscillator.connect(gain);
      oscillator.start();
      oscillator.stop(end);
    }
  }
}
