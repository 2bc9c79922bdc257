// What the tests do outside of the module: wait, measure audio, and watch or replace what the browser gives.

// Taken before anything is replaced, so that waiting does not count as a leak.
const later = globalThis.setTimeout.bind(globalThis);
const native = {
  WebSocket: globalThis.WebSocket,
  RTCPeerConnection: globalThis.RTCPeerConnection,
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  addEventListener: EventTarget.prototype.addEventListener,
  removeEventListener: EventTarget.prototype.removeEventListener,
  getUserMedia: navigator.mediaDevices.getUserMedia,
  cloneStream: MediaStream.prototype.clone,
  cloneTrack: MediaStreamTrack.prototype.clone,
};

export function pause(ms) {
  return new Promise((resolve) => later(resolve, ms));
}

/** The promise, or a rejection when it has not settled in time. */
export function within(promise, ms) {
  const late = new Error(`a promise did not settle in ${ms} ms`);
  return Promise.race([promise, pause(ms).then(() => Promise.reject(late))]);
}

// ---- audio

let context;

/** Level (RMS, 0 to 1) and loudest frequency (Hz) of a stream, now and from then on. */
export class Meter {
  constructor(stream) {
    context ??= new AudioContext();
    this.source = context.createMediaStreamSource(stream);
    this.analyser = context.createAnalyser();
    this.analyser.fftSize = 4096;
    this.analyser.smoothingTimeConstant = 0;
    this.source.connect(this.analyser);
    this.samples = new Float32Array(this.analyser.fftSize);
    this.bins = new Float32Array(this.analyser.frequencyBinCount);
  }

  level() {
    this.analyser.getFloatTimeDomainData(this.samples);
    return Math.sqrt(this.samples.reduce((sum, sample) => sum + sample * sample, 0) / this.samples.length);
  }

  peak() {
    this.analyser.getFloatFrequencyData(this.bins);
    const bin = this.bins.reduce((best, value, at) => (value > this.bins[best] ? at : best), 0);
    return (bin * context.sampleRate) / this.analyser.fftSize;
  }
}

// ---- a microphone in the tests' hands

/** Replaces getUserMedia by one that waits until it is told what to answer. */
export class Prompt {
  constructor() {
    this.open = 0;
    this.tracks = [];
    this.waiting = [];
    navigator.mediaDevices.getUserMedia = (constraints) => {
      this.open += 1;
      this.constraints = constraints;
      return new Promise((resolve, reject) => this.waiting.push({ constraints, resolve, reject }));
    };
  }

  async allow() {
    for (const { constraints, resolve } of this.waiting.splice(0)) {
      const stream = await native.getUserMedia.call(navigator.mediaDevices, constraints);
      this.tracks.push(...stream.getTracks());
      resolve(stream);
    }
  }

  refuse(name) {
    for (const { reject } of this.waiting.splice(0)) reject(new DOMException('refused', name));
  }

  live() {
    return this.tracks.filter((track) => track.readyState === 'live').length;
  }

  restore() {
    delete navigator.mediaDevices.getUserMedia;
  }
}

// ---- what is left behind

/** Counts what the module opens from now on and has not closed. */
export class Watch {
  constructor() {
    const watch = this;
    this.sockets = [];
    this.connections = [];
    this.tracks = [];
    this.timers = new Set();
    this.mostTimers = 0;
    this.listeners = new Map();
    this.opened = { sockets: 0, connections: 0, tracks: 0, timers: 0, listeners: 0 };

    globalThis.WebSocket = class extends native.WebSocket {
      constructor(...args) {
        super(...args);
        watch.opened.sockets += 1;
        watch.sockets.push(this);
      }
    };
    globalThis.RTCPeerConnection = class extends native.RTCPeerConnection {
      constructor(...args) {
        super(...args);
        watch.opened.connections += 1;
        watch.connections.push(this);
      }
    };
    globalThis.setTimeout = (callback, ...rest) => {
      const id = native.setTimeout.call(globalThis, (...args) => {
        watch.timers.delete(id);
        callback(...args);
      }, ...rest);
      watch.opened.timers += 1;
      watch.timers.add(id);
      watch.mostTimers = Math.max(watch.mostTimers, watch.timers.size);
      return id;
    };
    globalThis.clearTimeout = (id) => {
      watch.timers.delete(id);
      native.clearTimeout.call(globalThis, id);
    };
    const key = (target, type, listener) => {
      const ofTarget = watch.listeners.get(target) ?? new Map();
      watch.listeners.set(target, ofTarget);
      const ofType = ofTarget.get(type) ?? new Set();
      ofTarget.set(type, ofType);
      return { ofType, listener };
    };
    EventTarget.prototype.addEventListener = function (type, listener, options) {
      watch.opened.listeners += 1;
      key(this, type, listener).ofType.add(listener);
      return native.addEventListener.call(this, type, listener, options);
    };
    EventTarget.prototype.removeEventListener = function (type, listener, options) {
      key(this, type, listener).ofType.delete(listener);
      return native.removeEventListener.call(this, type, listener, options);
    };
    navigator.mediaDevices.getUserMedia = async (constraints) => {
      const stream = await native.getUserMedia.call(navigator.mediaDevices, constraints);
      watch.opened.tracks += stream.getTracks().length;
      watch.tracks.push(...stream.getTracks());
      return stream;
    };
    // A copy of a track keeps the microphone on as well.
    MediaStream.prototype.clone = function () {
      const stream = native.cloneStream.call(this);
      watch.tracks.push(...stream.getTracks());
      return stream;
    };
    MediaStreamTrack.prototype.clone = function () {
      const track = native.cloneTrack.call(this);
      watch.tracks.push(track);
      return track;
    };
  }

  /** What has been opened in all, as JSON. */
  total() {
    return JSON.stringify(this.opened);
  }

  /** What is still there, as JSON; "{}" is clean. */
  left() {
    const left = {
      sockets: this.sockets.filter((socket) => socket.readyState !== native.WebSocket.CLOSED).length,
      connections: this.connections.filter((pc) => pc.signalingState !== 'closed').length,
      tracks: this.tracks.filter((track) => track.readyState === 'live').length,
      timers: this.timers.size,
      listeners: [...this.listeners.values()].flatMap((ofTarget) => [...ofTarget.values()])
        .reduce((sum, ofType) => sum + ofType.size, 0),
    };
    return JSON.stringify(Object.fromEntries(Object.entries(left).filter(([, count]) => count > 0)));
  }

  /** Cuts the connections to the server, as a network does. */
  cut() {
    for (const socket of this.sockets) socket.close();
  }

  restore() {
    globalThis.WebSocket = native.WebSocket;
    globalThis.RTCPeerConnection = native.RTCPeerConnection;
    globalThis.setTimeout = native.setTimeout;
    globalThis.clearTimeout = native.clearTimeout;
    EventTarget.prototype.addEventListener = native.addEventListener;
    EventTarget.prototype.removeEventListener = native.removeEventListener;
    MediaStream.prototype.clone = native.cloneStream;
    MediaStreamTrack.prototype.clone = native.cloneTrack;
    delete navigator.mediaDevices.getUserMedia;
  }
}

/** Keeps what goes out over WebSockets. */
export class Wire {
  constructor() {
    this.sent = [];
    const { sent } = this;
    const keep = this;
    const decoder = new TextDecoder();
    this.send = WebSocket.prototype.send;
    const { send } = this;
    WebSocket.prototype.send = function (data) {
      keep.socket = this;
      sent.push(typeof data === 'string' ? data : decoder.decode(data));
      return send.call(this, data);
    };
  }

  /** As if the server had sent it over the connection that was used last. */
  receive(text) {
    this.socket.dispatchEvent(new MessageEvent('message', { data: text }));
  }

  holds(text) {
    return this.sent.some((message) => message.includes(text));
  }

  restore() {
    WebSocket.prototype.send = this.send;
  }
}

/** Catches what reaches the page as an uncaught error. */
export class Uncaught {
  constructor() {
    this.messages = [];
    this.handler = (event) => {
      event.preventDefault();
      event.stopImmediatePropagation();
      this.messages.push(String(event.error?.message ?? event.message));
    };
    native.addEventListener.call(globalThis, 'error', this.handler, true);
  }

  count() {
    return this.messages.length;
  }

  restore() {
    native.removeEventListener.call(globalThis, 'error', this.handler, true);
  }
}
