/**
 * For `context.addInitScript`: counts what a page holds open after `resources.begin()`. Runs in the page.
 * Listeners count on what a telephone listens to: sockets, peer connections, tracks, players and the window.
 */
export function countResources() {
  const listeners = [];
  const timers = new Map();
  const sockets = [];
  const players = [];
  const tracks = [];
  let counting = false;

  const { addEventListener, removeEventListener } = EventTarget.prototype;
  const same = (target, type, listener, options) => (entry) => entry.target === target && entry.type === type
    && entry.listener === listener && entry.capture === Boolean(options?.capture ?? options);
  EventTarget.prototype.addEventListener = function (type, listener, options) {
    const target = this ?? globalThis;
    const capture = Boolean(options?.capture ?? options);
    if (counting && listener && !listeners.some(same(target, type, listener, options))) listeners.push({ target, type, listener, capture });
    return addEventListener.call(target, type, listener, options);
  };
  EventTarget.prototype.removeEventListener = function (type, listener, options) {
    const target = this ?? globalThis;
    const at = listeners.findIndex(same(target, type, listener, options));
    if (at >= 0) listeners.splice(at, 1);
    return removeEventListener.call(target, type, listener, options);
  };
  // Listeners in properties such as `onmessage`.
  const handlers = [];
  for (const type of [WebSocket, RTCPeerConnection, MediaStreamTrack, MediaStream, RTCDTMFSender, HTMLMediaElement, RTCDataChannel]) {
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(type.prototype))) {
      if (!name.startsWith('on') || !property.set) continue;
      Object.defineProperty(type.prototype, name, {
        ...property,
        set(value) {
          if (counting) handlers.push({ target: this, name });
          property.set.call(this, value);
        },
      });
    }
  }

  const { setTimeout, clearTimeout, setInterval, clearInterval } = globalThis;
  globalThis.setTimeout = (task, delay, ...args) => {
    const id = setTimeout(() => {
      timers.delete(id);
      task(...args);
    }, delay);
    if (counting) timers.set(id, `timeout ${delay} ms`);
    return id;
  };
  globalThis.clearTimeout = (id) => {
    timers.delete(id);
    clearTimeout(id);
  };
  globalThis.setInterval = (task, delay, ...args) => {
    const id = setInterval(task, delay, ...args);
    if (counting) timers.set(id, `interval ${delay} ms`);
    return id;
  };
  globalThis.clearInterval = (id) => {
    timers.delete(id);
    clearInterval(id);
  };

  globalThis.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  };
  const source = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'srcObject');
  Object.defineProperty(HTMLMediaElement.prototype, 'srcObject', {
    ...source,
    set(value) {
      if (value) players.push(this);
      source.set.call(this, value);
    },
  });
  // A copy of a stream has tracks of its own, and a microphone is on as long as one of them is.
  for (const type of [MediaStream, MediaStreamTrack]) {
    const { clone } = type.prototype;
    type.prototype.clone = function () {
      const copy = clone.call(this);
      tracks.push(...(copy.getTracks?.() ?? [copy]));
      return copy;
    };
  }
  const { getUserMedia } = navigator.mediaDevices;
  navigator.mediaDevices.getUserMedia = async (...args) => {
    const stream = await getUserMedia.apply(navigator.mediaDevices, args);
    tracks.push(...stream.getTracks());
    return stream;
  };

  const open = {
    listeners: () => [...listeners.map(({ target, type }) => `${target.constructor.name} ${type}`),
      ...handlers.filter(({ target, name }) => target[name]).map(({ target, name }) => `${target.constructor.name}.${name}`)],
    timers: () => [...timers.values()],
    tracks: () => tracks.filter(({ readyState }) => readyState !== 'ended').map(({ kind }) => kind),
    sockets: () => sockets.filter(({ readyState }) => readyState !== 3).map(({ url }) => url),
    peerConnections: () => globalThis.peerConnections.filter(({ signalingState }) => signalingState !== 'closed').map(({ connectionState }) => connectionState),
    players: () => players.filter(({ srcObject }) => srcObject !== null).map(({ tagName }) => tagName),
  };
  globalThis.resources = {
    begin() {
      counting = true;
    },
    /** How many of each are open. */
    count: () => Object.fromEntries(Object.entries(open).map(([kind, list]) => [kind, list().length])),
    /** What they are. */
    names: () => Object.fromEntries(Object.entries(open).map(([kind, list]) => [kind, list()])),
  };
}
