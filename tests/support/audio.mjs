/**
 * For `context.addInitScript`: the microphone is a sine tone, so that the far end can be asked which page it hears.
 * Runs in the page.
 * @param {number} frequency hertz
 */
export function toneMicrophone(frequency) {
  navigator.mediaDevices.getUserMedia = async () => {
    const context = new AudioContext();
    const oscillator = new OscillatorNode(context, { frequency });
    const gain = new GainNode(context, { gain: 0.5 });
    const destination = context.createMediaStreamDestination();
    oscillator.connect(gain).connect(destination);
    oscillator.start();
    const [track] = destination.stream.getAudioTracks();
    const stop = track.stop.bind(track);
    track.stop = () => {
      stop();
      if (context.state !== 'closed') context.close();
    };
    return destination.stream;
  };
}

/**
 * The strongest frequency of some samples, and how far it stands out.
 * @returns {{ frequency: number, level: number }} hertz; RMS of the samples, 0 to 1
 */
export function strongestTone(samples, sampleRate, { from = 200, to = 2000, step = 5 } = {}) {
  let best = { frequency: 0, power: -1 };
  for (let frequency = from; frequency <= to; frequency += step) {
    const power = goertzel(samples, sampleRate, frequency);
    if (power > best.power) best = { frequency, power };
  }
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return { frequency: best.frequency, level: Math.sqrt(sum / samples.length) };
}

function goertzel(samples, sampleRate, frequency) {
  const coefficient = 2 * Math.cos((2 * Math.PI * frequency) / sampleRate);
  let before = 0;
  let last = 0;
  for (const sample of samples) {
    const next = sample + coefficient * last - before;
    before = last;
    last = next;
  }
  return last * last + before * before - coefficient * last * before;
}

/** For `context.addInitScript`: remembers every peer connection, so that its statistics can be read. Runs in the page. */
export function keepPeerConnections() {
  globalThis.peerConnections = [];
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...args) {
      super(...args);
      globalThis.peerConnections.push(this);
    }
  };
}

/** Audio packets of the newest peer connection of a page, by its own statistics. */
export function packets(page) {
  return page.evaluate(async () => {
    const count = { sent: 0, received: 0 };
    for (const report of (await globalThis.peerConnections.at(-1).getStats()).values()) {
      if (report.type === 'outbound-rtp') count.sent += report.packetsSent;
      if (report.type === 'inbound-rtp') count.received += report.packetsReceived;
    }
    return count;
  });
}

/**
 * The strongest frequency that the newest call of a page receives, and its level.
 * @returns {Promise<{ frequency: number, level: number } | null>} hertz and dBFS
 */
export function received(page) {
  return page.evaluate(async () => {
    const track = globalThis.peerConnections.at(-1)?.getReceivers()[0]?.track;
    if (!track) return null;
    if (globalThis.ear?.track !== track) {
      const context = new AudioContext();
      const analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
      context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
      globalThis.ear = { track, context, analyser };
    }
    const { context, analyser } = globalThis.ear;
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    const peak = bins.reduce((best, level, bin) => (level > bins[best] ? bin : best), 0);
    return { frequency: (peak * context.sampleRate) / analyser.fftSize, level: bins[peak] };
  });
}
