/**
 * For `context.addInitScript`: counts what telephones hold, without holding any of it itself, and measures what a message
 * costs. The microphone is one silent track for all, of which each call gets a copy. Runs in the page.
 */
export function watchLoad() {
  const count = { sockets: 0, peerConnections: 0, tracks: 0, listeners: 0, timers: 0, players: 0 };
  const messages = [];
  let memory;
  let tables;

  const { setTimeout, clearTimeout } = globalThis;
  const pending = new Set();
  globalThis.setTimeout = (task, delay, ...args) => {
    const id = setTimeout(() => {
      pending.delete(id);
      task(...args);
    }, delay);
    pending.add(id);
    return id;
  };
  globalThis.clearTimeout = (id) => {
    pending.delete(id);
    clearTimeout(id);
  };

  // Of what has such a type: target → type → the listeners, and what was added for it.
  const telephony = () => [WebSocket, RTCPeerConnection, MediaStreamTrack, HTMLMediaElement, Window, Document];
  const known = new WeakMap();
  const { addEventListener, removeEventListener } = EventTarget.prototype;
  const of = (target, type) => {
    if (!telephony().some((kind) => target instanceof kind)) return null;
    if (!known.has(target)) known.set(target, new Map());
    const types = known.get(target);
    if (!types.has(type)) types.set(type, new Map());
    return types.get(type);
  };
  EventTarget.prototype.addEventListener = function (type, listener, options) {
    const listeners = listener && of(this ?? globalThis, type);
    if (!listeners || listeners.has(listener)) return addEventListener.call(this, type, listener, options);
    count.listeners += 1;
    const timed = this instanceof WebSocket && type === 'message'
      ? (event) => {
          const began = performance.now();
          listener.call(this, event);
          if (messages.length < 100_000) messages.push(performance.now() - began);
        }
      : listener;
    listeners.set(listener, timed);
    return addEventListener.call(this, type, timed, options);
  };
  EventTarget.prototype.removeEventListener = function (type, listener, options) {
    const listeners = of(this ?? globalThis, type);
    const timed = listeners?.get(listener);
    if (timed) {
      listeners.delete(listener);
      count.listeners -= 1;
    }
    return removeEventListener.call(this, type, timed ?? listener, options);
  };

  const open = new Set();
  globalThis.dropSockets = () => {
    for (const socket of open) socket.close();
  };
  globalThis.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      open.add(this);
      count.sockets += 1;
      addEventListener.call(this, 'close', () => {
        open.delete(this);
        count.sockets -= 1;
      });
    }
  };
  const counted = (Connection) => class extends Connection {
    constructor(...args) {
      super(...args);
      count.peerConnections += 1;
    }
    close() {
      if (this.signalingState !== 'closed') count.peerConnections -= 1;
      super.close();
    }
  };

  // In place of a peer connection, where only the signalling counts: it agrees at once, and nothing flows.
  let nowhere;
  const opposite = { sendrecv: 'sendrecv', sendonly: 'recvonly', recvonly: 'sendonly', inactive: 'inactive' };
  const secret = (length) => crypto.randomUUID().replaceAll('-', '').slice(0, length);
  class Unconnected extends EventTarget {
    #lines = [];
    #version = 0;
    #ice = `a=ice-ufrag:${secret(4)}\r\na=ice-pwd:${secret(24)}\r\na=fingerprint:sha-256 ${Array(32).fill('AB').join(':')}\r\n`;
    signalingState = 'stable';
    connectionState = 'new';
    iceConnectionState = 'new';
    iceGatheringState = 'new';
    localDescription = null;
    remoteDescription = null;
    currentRemoteDescription = null;

    addTransceiver(kind, { direction = 'sendrecv' } = {}) {
      nowhere ??= new AudioContext().createMediaStreamDestination();
      const sender = { track: null, dtmf: null, setStreams() {}, replaceTrack: async (track) => { sender.track = track; } };
      const line = { mid: '0', sender, receiver: { track: nowhere.stream.getAudioTracks()[0] }, direction, currentDirection: null, setCodecPreferences() {} };
      this.#lines.push(line);
      return line;
    }
    getTransceivers() {
      return [...this.#lines];
    }
    getSenders() {
      return this.#lines.map(({ sender }) => sender);
    }
    getReceivers() {
      return this.#lines.map(({ receiver }) => receiver);
    }
    async getStats() {
      return new Map();
    }
    #describe(type, direction) {
      const sdp = `v=0\r\no=- 1 ${(this.#version += 1)} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 110\r\nc=IN IP4 127.0.0.1\r\na=rtcp:9 IN IP4 127.0.0.1\r\na=candidate:1 1 udp 2122260223 127.0.0.1 9 typ host generation 0\r\n${this.#ice}a=setup:${type === 'offer' ? 'actpass' : 'active'}\r\na=mid:0\r\na=${direction}\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:110 telephone-event/48000\r\n`;
      return { type, sdp };
    }
    async createOffer() {
      return this.#describe('offer', this.#lines[0].direction);
    }
    async createAnswer() {
      const theirs = opposite[this.#theirs()];
      const parts = (direction) => [/^send/.test(direction), /recv/.test(direction)];
      const [[mayS, mayR], [wantS, wantR]] = [parts(theirs), parts(this.#lines[0].direction)];
      const direction = `${mayS && wantS ? 'send' : ''}${mayR && wantR ? 'recv' : ''}`;
      return this.#describe('answer', { send: 'sendonly', recv: 'recvonly', '': 'inactive' }[direction] ?? direction);
    }
    #theirs() {
      return /a=(sendrecv|sendonly|recvonly|inactive)/.exec(this.remoteDescription.sdp)?.[1] ?? 'sendrecv';
    }
    #tell(name, more) {
      this.dispatchEvent(Object.assign(new Event(name), more));
    }
    async setLocalDescription(description) {
      if (description.type === 'rollback') {
        this.signalingState = 'stable';
        return;
      }
      this.localDescription = description;
      this.signalingState = description.type === 'offer' ? 'have-local-offer' : 'stable';
      await null;
      this.iceGatheringState = 'complete';
      this.#tell('icegatheringstatechange');
      if (description.type === 'answer') this.#agreed();
    }
    async setRemoteDescription(description) {
      if (description.type === 'rollback') {
        this.signalingState = 'stable';
        return;
      }
      this.remoteDescription = { type: description.type, sdp: description.sdp };
      const known = this.#lines.length > 0 && this.currentRemoteDescription !== null;
      const [line] = this.#lines.length > 0 ? this.#lines : [this.addTransceiver('audio', { direction: 'recvonly' })];
      this.signalingState = description.type === 'offer' ? 'have-remote-offer' : 'stable';
      if (!known) this.#tell('track', { track: line.receiver.track, receiver: line.receiver, transceiver: line, streams: [new MediaStream([line.receiver.track])] });
      if (description.type === 'answer') this.#agreed();
    }
    #agreed() {
      this.currentRemoteDescription = this.remoteDescription;
      this.#lines[0].currentDirection = this.#lines[0].direction;
      if (this.connectionState === 'connected') return;
      setTimeout(() => {
        if (this.signalingState === 'closed') return;
        this.connectionState = 'connected';
        this.iceConnectionState = 'connected';
        this.#tell('connectionstatechange');
      });
    }
    restartIce() {}
    close() {
      this.signalingState = 'closed';
      this.connectionState = 'closed';
    }
  }
  const Without = counted(Unconnected);
  globalThis.RTCPeerConnection = new Proxy(counted(RTCPeerConnection), {
    construct: (Real, args) => (globalThis.load.signallingOnly ? new Without() : new Real(...args)),
  });
  const source = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'srcObject');
  Object.defineProperty(HTMLMediaElement.prototype, 'srcObject', {
    ...source,
    set(value) {
      count.players += Number(Boolean(value)) - Number(Boolean(this.srcObject));
      source.set.call(this, value);
    },
  });

  let microphone;
  let room;
  const copied = (track) => {
    const stop = track.stop.bind(track);
    count.tracks += 1;
    let live = true;
    track.stop = () => {
      if (live) count.tracks -= 1;
      live = false;
      stop();
    };
    const clone = track.clone.bind(track);
    track.clone = () => copied(clone());
    return track;
  };
  navigator.mediaDevices.getUserMedia = async () => {
    if (!microphone) {
      room = new AudioContext();
      const source = new ConstantSourceNode(room, { offset: 0 });
      const destination = room.createMediaStreamDestination();
      source.connect(destination);
      source.start();
      microphone = destination.stream.getAudioTracks()[0];
    }
    return new MediaStream([copied(microphone.clone())]);
  };

  const keep = ({ instance }) => {
    tables = Object.values(instance.exports).filter((value) => value instanceof WebAssembly.Table);
    memory = Object.values(instance.exports).find((value) => value instanceof WebAssembly.Memory);
  };
  for (const name of ['instantiate', 'instantiateStreaming']) {
    const load = WebAssembly[name];
    WebAssembly[name] = async (...args) => {
      const loaded = await load.apply(WebAssembly, args);
      if (loaded.instance) keep(loaded);
      return loaded;
    };
  }

  globalThis.load = {
    /** What is made from now on has no media. */
    signallingOnly: false,
    count: () => ({ ...count, timers: pending.size }),
    wasm: () => memory.buffer.byteLength,
    /** Values of JavaScript that the module holds; slots that are free are null. */
    // Of the module's tables the one of references holds values too: wasm-bindgen keeps `true` there.
    references: () => {
      const contents = tables.map((table) => Array.from({ length: table.length }, (_, at) => table.get(at)));
      return contents.find((values) => values.includes(true)).filter((value) => value !== null).length;
    },
    /** Milliseconds that the handling of each message took since this was last asked. */
    messages: () => messages.splice(0),
  };
}

/** A page with it, and what DevTools know of it. */
export class LoadPage {
  static async open(browser, url) {
    const load = new LoadPage();
    load.context = await browser.newContext();
    await load.context.addInitScript(watchLoad);
    load.page = await load.context.newPage();
    load.page.setDefaultTimeout(0);
    load.devtools = await load.context.newCDPSession(load.page);
    await load.page.goto(`${url}/demo.json`);
    await load.page.evaluate(async () => {
      const { default: init, DialStrategy } = await import('/pkg/index.js');
      await init();
      globalThis.DialStrategy = DialStrategy;
    });
    return load;
  }

  count() {
    return this.page.evaluate(() => globalThis.load.count());
  }

  /** Bytes of JavaScript that are left when everything is collected that can be, and of the module. */
  async memory() {
    // What a finaliser lets go of is collected by the next.
    for (let round = 0; round < 3; round += 1) await this.devtools.send('HeapProfiler.collectGarbage');
    const { usedSize } = await this.devtools.send('Runtime.getHeapUsage');
    return { heap: usedSize, ...(await this.page.evaluate(() => ({ wasm: globalThis.load.wasm(), references: globalThis.load.references() }))) };
  }

  close() {
    return this.context.close();
  }
}
