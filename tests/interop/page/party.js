/**
 * What every page of these tests offers, whichever library is behind it: `globalThis.party`. An adapter has
 * `register(settings)`, `dial(target)` and what can be done to a call, each with the call's record as its first
 * argument; it tells about calls by `party.add` and by changing their records.
 */

const audio = new AudioContext();
const FFT_SIZE = 8192;
/** -60 dBFS */
const AUDIBLE = 0.001;

class Party {
  calls = [];
  #adapter;

  constructor(adapter) {
    this.#adapter = adapter;
  }

  /** A call that has come up; the adapter keeps its record up to date. */
  add(handle, direction) {
    const call = { handle, direction, state: 'new', localHold: false, remoteHold: false, dtmf: '', ended: null };
    this.calls.push(call);
    return call;
  }

  register(settings) {
    return this.#adapter.register(settings);
  }

  dial(target) {
    return this.#adapter.dial(target);
  }

  unregister() {
    return this.#adapter.unregister();
  }

  /** Does something to the call with this index; indices among the arguments are written as `{ call: index }`. */
  run(method, index, ...args) {
    const values = args.map((arg) => (Number.isInteger(arg?.call) ? this.calls[arg.call] : arg));
    return this.#adapter[method](this.calls[index], ...values);
  }

  /** What is known of every call, oldest first. */
  report() {
    return this.calls.map(({ handle, ear, meter, ...plain }) => plain);
  }

  /** A property of a call, as its library has it. */
  property(index, name) {
    return this.calls[index].handle[name];
  }

  #connection(call) {
    return this.#adapter.connection(call) ?? null;
  }

  #track(call) {
    return this.#connection(call)?.getReceivers().find(({ track }) => track.kind === 'audio')?.track ?? null;
  }

  /** Waits until a tone stands out in what is heard in a call, by windows of 20 ms; returns when that was (`Date.now()`). */
  async whenHeard(index, frequency, deadline) {
    const end = performance.now() + deadline;
    let ear = null;
    while (performance.now() < end) {
      const track = this.#track(this.calls[index]);
      if (track && ear?.track !== track) {
        const analyser = new AnalyserNode(audio, { fftSize: 1024, smoothingTimeConstant: 0 });
        audio.createMediaStreamSource(new MediaStream([track])).connect(analyser);
        ear = { track, analyser, bins: new Float32Array(analyser.frequencyBinCount) };
      }
      if (ear) {
        const { analyser, bins } = ear;
        analyser.getFloatFrequencyData(bins);
        const peak = bins.reduce((best, level, bin) => (level > bins[best] ? bin : best), 0);
        if (bins[peak] > -40 && Math.abs(peak - (frequency * analyser.fftSize) / audio.sampleRate) < 1) return Date.now();
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return null;
  }

  /** The spectrum of what is heard in a call: level (dBFS) of the strongest frequency (Hz), and of those asked for. */
  heard(index, frequencies = []) {
    const call = this.calls[index];
    const track = this.#track(call);
    if (!track) return null;
    if (call.ear?.track !== track) {
      const stream = new MediaStream([track]);
      const source = audio.createMediaStreamSource(stream);
      const analyser = new AnalyserNode(audio, { fftSize: FFT_SIZE, smoothingTimeConstant: 0 });
      source.connect(analyser);
      // Chromium decodes a remote track only while an element plays it.
      const element = Object.assign(new Audio(), { srcObject: stream, muted: true });
      element.play().catch(() => undefined);
      call.ear = { track, element, source, analyser };
    }
    const { analyser } = call.ear;
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    const hertz = audio.sampleRate / FFT_SIZE;
    const peak = bins.reduce((best, level, bin) => (level > bins[best] ? bin : best), 0);
    return { frequency: peak * hertz, level: bins[peak], levels: frequencies.map((frequency) => bins[Math.round(frequency / hertz)]) };
  }

  /** Begins to add up the milliseconds in which nothing is heard in a call, in `call.meter.lost`. */
  meter(index) {
    const call = this.calls[index];
    const samples = new Float32Array(1024);
    call.meter = { lost: 0 };
    let before = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      const track = call.state === 'ended' ? null : this.#track(call);
      if (!track) {
        clearInterval(timer);
        return;
      }
      if (call.meter.track !== track) {
        const analyser = new AnalyserNode(audio, { fftSize: samples.length });
        audio.createMediaStreamSource(new MediaStream([track])).connect(analyser);
        Object.assign(call.meter, { track, analyser });
      }
      call.meter.analyser.getFloatTimeDomainData(samples);
      if (samples.every((sample) => Math.abs(sample) < AUDIBLE)) call.meter.lost += now - before;
      before = now;
    }, 20);
  }

  /** Waits until every one of these frequencies stands out at the same moment: a DTMF tone as it is played. */
  async hearsTogether(index, frequencies, level, deadline) {
    const end = performance.now() + deadline;
    while (performance.now() < end) {
      const heard = this.heard(index, frequencies);
      if (heard?.levels.every((one) => one > level)) return true;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return false;
  }

  /** Whether all that a call sends is silence: a track that is off has no other samples. */
  sendsSilence(index) {
    const tracks = this.#connection(this.calls[index])?.getSenders().map(({ track }) => track) ?? [];
    return tracks.every((track) => !track?.enabled);
  }

  /** Audio packets of a call. */
  async packets(index) {
    const count = { sent: 0, received: 0 };
    const connection = this.#connection(this.calls[index]);
    if (!connection) return count;
    for (const report of (await connection.getStats()).values()) {
      if (report.type === 'outbound-rtp') count.sent += report.packetsSent;
      if (report.type === 'inbound-rtp') count.received += report.packetsReceived;
    }
    return count;
  }
}

export function offer(adapter) {
  globalThis.party = new Party(adapter);
  return globalThis.party;
}
