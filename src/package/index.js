// The entry of the package. Importing it does nothing but define names: safe in Node, in server-side rendering
// and in workers. The generated glue beside it is not an entry of its own.
import load, * as core from './wasm_softphone.js';

let loading;
let loaded = false;

// What keeps the time while the page is hidden: a wait that ends by its timeout, which browsers throttle as little as the
// timers of a worker, and which no policy of a page has to let in: a worker's address is a sink of Trusted Types.
// The end of a wait is told as a message, so that it comes when the page may run: not while it is frozen.
let cells;
let cell = 0;
class Waiter {
  #channel = new MessageChannel();
  #cell;
  #round = 0;

  constructor() {
    // A cell each, so that who moves its timer wakes nobody else. Where one is shared all the same, it waits once more.
    cells ??= new Int32Array(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer);
    this.#cell = cell++ % cells.length;
  }

  set onmessage(listener) {
    this.#channel.port1.onmessage = listener;
  }

  /** As with the worker of timer.js. */
  async postMessage(delay) {
    const round = (this.#round += 1);
    Atomics.notify(cells, this.#cell);
    if (delay < 0) return;
    const due = performance.now() + delay;
    for (let left = delay; left > 0; left = due - performance.now()) {
      await Atomics.waitAsync(cells, this.#cell, 0, left).value;
      if (round !== this.#round) return;
    }
    this.#channel.port2.postMessage(null);
  }

  terminate() {
    this.postMessage(-1);
    this.#channel.port1.close();
  }
}

function makeTimer() {
  try {
    if (Atomics.waitAsync) return new Waiter();
  } catch {
    // No shared memory here.
  }
  return new Worker(new URL('./timer.js', import.meta.url));
}

/** The class of all errors of this package, also of those that the module makes. */
class SoftphoneError extends Error {
  /** `JSON.stringify` finds neither the name nor the message of an error. */
  toJSON() {
    return { name: this.name, message: this.message, ...this, cause: undefined };
  }
}
Object.defineProperty(SoftphoneError.prototype, 'name', { value: 'SoftphoneError', configurable: true, writable: true });

const failure = (code, message, more) => Object.assign(new SoftphoneError(message), { code, retryable: false }, more);

// Whether a phone has a server that is not this machine: without a network that one answers all the same.
let reachesOut = false;

/** What the page knows of the cause, and the module does not. */
function hintOfPage(code) {
  if (code === 'media_unavailable' && !navigator.mediaDevices) {
    return 'Browsers give the microphone to https: pages and to http://localhost only: serve this page over HTTPS.';
  }
  if (code === 'transport' && reachesOut && navigator.onLine === false) return 'The network is off: check the connection of this device.';
}

/** Whether this is an error of the package. Not by `instanceof`: it may be of another frame, or of another copy. */
export const isSoftphoneError = (value) => value?.name === 'SoftphoneError' && typeof value.code === 'string';

/** What a server has answered, where that can be the module. */
function checked(response) {
  if (!response.ok) throw new Error(`the server answers ${response.status} to ${response.url}`);
  if (/\bhtml\b/.test(response.headers.get('Content-Type'))) throw new Error(`${response.url} is an HTML page`);
  return response;
}

/** The file beside this one. Bundlers follow this form of address. */
async function fromFile() {
  const url = new URL('wasm_softphone_bg.wasm', import.meta.url);
  if (url.protocol !== 'file:') return checked(await fetch(url));
  // By this way in, no bundler takes Node's modules for a browser's.
  return globalThis.process.getBuiltinModule('node:fs').readFileSync(url);
}

/** What was given to `init()`, looked at before it is compiled: an address may lead to a page. */
async function fromSource(given) {
  const source = await (typeof given === 'function' ? given() : given);
  const isAddress = typeof source === 'string' || source instanceof URL || (globalThis.Request && source instanceof Request);
  const found = isAddress ? await fetch(source) : source;
  return globalThis.Response && found instanceof globalThis.Response ? checked(found) : found;
}

/** The module as a text, for hosts that do not take the file along, or do not let it be fetched. */
const fromText = async () => (await import('./embedded.js')).embedded();

async function loadModule(given) {
  try {
    if (given !== undefined) {
      const isWrapped = given !== null && typeof given === 'object' && 'module_or_path' in given;
      await load(await fromSource(isWrapped ? given.module_or_path : given));
    } else {
      // Which of the two there is depends on the bundler.
      await fromFile().then(load).catch(async () => load(await fromText()));
    }
  } catch (cause) {
    const { hintFor } = await import('./unavailable.js').catch(() => ({}));
    const message = `The WebAssembly module could not be loaded: ${cause?.message ?? cause}`;
    throw failure('module_unavailable', message, { retryable: true, hint: hintFor?.(cause), cause });
  }
  core.useTimerWorkers(makeTimer);
  core.useErrors((message, code) => {
    const error = new SoftphoneError(message);
    const hint = hintOfPage(code);
    return hint ? Object.assign(error, { hint }) : error;
  });
  loaded = true;
}

/**
 * Loads the WebAssembly module. Calls made while it loads, and later ones, get the same promise; after a failure
 * the next call tries again.
 */
export default function init(source) {
  loading ??= loadModule(source).catch((error) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

// The instance of a phone (RFC 5626, section 4.1) is kept for the installation, so that a registrar puts the phone of the
// next page in the place of this one. Each phone that is connected needs an id of its own, and has it for as long as it
// holds the lock of that name: the first one free, counted from 0.
const INSTANCE = 'wasm-softphone:instance:';
const MAX_INSTANCES = 16;
// A page that was reloaded still holds its lock for a moment.
const RELOAD_MS = 500;
const claimed = new Set();

/** Resolves with the function that releases the lock; `undefined`: it cannot be had. */
const hold = (name, options) =>
  new Promise((resolve) => {
    const held = (lock) => lock && new Promise((release) => resolve(release));
    navigator.locks.request(name, options, held).then(() => resolve(), () => resolve());
  });

/** An id that no other phone of this account has now; `null`: there is nothing to keep it in, or to tell by. */
async function claimInstance(account) {
  try {
    // The name of the account is nobody else's business.
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(account)));
    const slot = INSTANCE + Array.from(digest.subarray(0, 8), (byte) => byte.toString(16).padStart(2, '0')).join('');
    const own = sessionStorage.getItem(slot);
    const names = Array.from({ length: MAX_INSTANCES }, (_, number) => `${slot}:${number}`);
    for (const name of own === null ? names : [own, ...names]) {
      if (claimed.has(name)) continue;
      claimed.add(name);
      const release = await hold(name, name === own ? { signal: AbortSignal.timeout(RELOAD_MS) } : { ifAvailable: true });
      if (!release) {
        claimed.delete(name);
        continue;
      }
      sessionStorage.setItem(slot, name);
      const known = localStorage.getItem(name);
      const id = /^urn:uuid:[0-9a-f-]{36}$/.test(known) ? known : `urn:uuid:${crypto.randomUUID()}`;
      localStorage.setItem(name, id);
      return {
        id,
        release() {
          claimed.delete(name);
          release();
        },
      };
    }
  } catch {
    // No storage, or no locks: each phone is an instance of its own.
  }
  return null;
}

function requireLoaded(what) {
  if (loaded) return;
  throw failure('not_initialized', `${what} was used before the WebAssembly module was loaded`, {
    retryable: true,
    hint: "First: await phone.connect(); or import init from 'wasm-softphone'; await init();",
  });
}

// ---- objects that stay the same until they change, as React and its like compare them

/** What was given last, where nothing in it is different now. */
function kept(last, now) {
  const keys = Object.keys(now);
  const same = last && keys.length === Object.keys(last).length && keys.every((key) => Object.is(last[key], now[key]));
  return same ? last : Object.freeze(now);
}

/** What this file knows of a call beside the module. */
const notes = new WeakMap();
function noteOf(call) {
  if (!notes.has(call)) notes.set(call, { endedAt: null });
  return notes.get(call);
}

const access = (prototype, name, get) => Object.defineProperty(prototype, name, { configurable: true, get });
const members = Object.getOwnPropertyDescriptors;

/** An accessor whose objects stay the same until they change. */
function keep(prototype, name) {
  const { get } = Object.getOwnPropertyDescriptor(prototype, name);
  access(prototype, name, function () {
    const now = get.call(this);
    const note = noteOf(this);
    return now && (note[name] = kept(note[name], now));
  });
}

// ---- listeners

// Of each object that has some.
const listening = new WeakMap();

/** `add(type, handler)` adds a listener and gives what removes it. */
function listen(target, add, type, listener, options) {
  const { once, signal } = options ?? {};
  const bad = (what) => failure('invalid_config', what);
  if (typeof listener !== 'function') throw bad('listener: expected a function');
  if (signal && !signal.addEventListener) throw bad('signal: expected an AbortSignal');
  const all = listening.get(target) ?? new Set();
  listening.set(target, all);
  const entry = { type, listener, remove };
  entry.undo = add(type, once ? (event) => (remove(), listener(event)) : listener, entry);
  all.add(entry);
  function remove() {
    all.delete(entry);
    signal?.removeEventListener('abort', remove);
    entry.undo();
  }
  if (signal?.aborted) remove();
  else signal?.addEventListener('abort', remove);
  return remove;
}

/** Takes all of this listener's for the event. */
function unlisten(target, type, listener) {
  for (const entry of [...(listening.get(target) ?? [])]) {
    if (entry.type === type && entry.listener === listener) entry.remove();
  }
}

/** Removes all listeners, so that no `signal` keeps the object alive. */
function silence(target) {
  for (const { remove } of [...(listening.get(target) ?? [])]) remove();
}

const ON_AND_OFF = {
  once(type, listener, options) {
    return this.on(type, listener, { ...options, once: true });
  },
  off(type, listener) {
    unlisten(this, type, listener);
  },
};

/** Gives a class `on` with options, `once` and `off`. */
function listens({ prototype }) {
  const { on } = prototype;
  Object.assign(prototype, ON_AND_OFF, {
    on(type, listener, options) {
      return listen(this, (kind, handler) => on.call(this, kind, handler), type, listener, options);
    },
  });
}

// ---- after free()

/** How a method answers that cannot be called: it throws, or its promise rejects. What ends something has been done. */
function refused(name, error) {
  if (/^(on$|(un)?mute|update|configure|resume|subscribe|publish|strategy|useI)/.test(name)) throw error;
  return /^(hangup|cancel|unsubscribe)/.test(name) ? Promise.resolve() : Promise.reject(error);
}

/** After `free()` the properties are what they were last, and calls fail with `ended`. */
function outlivesFree(Class, what) {
  const { prototype } = Class;
  const last = new WeakMap();
  const all = Object.entries(members(prototype));
  for (const [name, { get, value }] of all) {
    if (name.startsWith('__')) continue;
    if (get) {
      access(prototype, name, function () {
        return last.has(this) ? last.get(this)[name] : get.call(this);
      });
    } else if (name !== 'constructor' && name !== 'free') {
      prototype[name] = function (...given) {
        return last.has(this) ? refused(name, failure('ended', `${what} was freed`)) : value.apply(this, given);
      };
    }
  }
  const { free } = prototype;
  prototype.free = function () {
    if (last.has(this)) return;
    // Its listeners hear of the end while it is still there, and may free it themselves.
    if (this instanceof core.Call) this.hangup().catch(() => {});
    if (last.has(this)) return;
    const values = {};
    for (const [name, { get }] of all) if (get) values[name] = name.endsWith('Stream') ? null : this[name];
    if ('state' in values) values.state = this instanceof core.Subscription ? 'terminated' : 'ended';
    if (this instanceof core.Call) noteOf(this).endedAt ??= Date.now();
    silence(this);
    last.set(this, values);
    free.call(this);
  };
  // The generated glue defines Symbol.dispose only where the browser has it.
  if (Symbol.dispose) prototype[Symbol.dispose] = prototype.free;
}

for (const [Class, name, what] of [
  [core.Call, 'Call', 'The call'],
  [core.OriginatedCall, 'OriginatedCall', 'The call'],
  // A publication is of the same class.
  [core.Subscription, 'Subscription', 'The subscription'],
]) {
  // The glue is minified; consoles and error trackers show these names.
  Object.defineProperty(Class, 'name', { value: name });
  outlivesFree(Class, what);
  // Vue makes a proxy of what is put into its state, unless told otherwise by this name, and a proxy has no private fields.
  Object.defineProperty(Class.prototype, '__v_skip', { value: true });
}
listens(core.Call);
listens(core.Subscription);
core.Subscription.prototype.unpublish = core.Subscription.prototype.unsubscribe;

for (const name of ['remote', 'headers', 'endReason']) keep(core.Call.prototype, name);

const PICTURE = 'id direction strategy state remote localHold remoteHold muted microphone audioBlocked startedAt endedAt endReason metadata'.split(' ');
const pictureOf = (call) => Object.fromEntries(PICTURE.map((name) => [name, call[name]]));

const more = {
  get endedAt() {
    return noteOf(this).endedAt;
  },
  get duration() {
    return this.startedAt && (this.endedAt ?? Date.now()) - this.startedAt;
  },
  get metadata() {
    return noteOf(this).metadata;
  },
  set metadata(value) {
    const note = noteOf(this);
    note.metadata = value;
    note.changed?.();
  },
  toJSON() {
    return { ...pictureOf(this), duration: this.duration };
  },
};
Object.defineProperties(core.Call.prototype, members(more));
export const Call = core.Call;

// ---- the phone

// A phone that is connected lives on though the application may have kept no reference to it but its listeners,
// as a WebSocket does: without this the garbage collector could end a call.
const connected = new Set();

// What a phone says before the module is there, and after `free()`.
const IDLE = { connection: 'disconnected', registration: 'unregistered', isDialing: false, error: null, lastResult: null };
const EVENTS = new Set('connection registration incoming call message messageSummary audioBlocked record log fatal change'.split(' '));
const NO_CALLS = Object.freeze([]);
const EXPLAIN_MS = 1_000;

export class DialStrategy {
  // The module's, once that is loaded; until then what it is to be configured with, in order.
  #core;
  #configs;
  // For the explanation of a failure.
  #servers;
  // Those of `on()`: they are added to the module's phone when there is one.
  #entries = new Set();
  // Those of `change`.
  #watchers = new Set();
  #calls = NO_CALLS;
  #snapshot;
  // The snapshot that `change` listeners got last.
  #shown;
  #telling = false;
  #idle = IDLE;
  // With `resume`: a promise of where the calls are kept.
  #keeping;
  // A promise of the id that is this phone's while it is connected.
  #instance;
  #connects = 0;
  #ended = false;
  #freed = false;
  // `connect()` may wait for that; what came meanwhile counts more.
  #farewells = 0;

  constructor(config) {
    if (config !== undefined && config !== null && typeof config !== 'object') {
      throw failure('invalid_config', 'config: expected an object');
    }
    this.#configs = [config];
    if (loaded) this.#begin();
  }

  /** The module is there. Throws for what is wrong in the configuration; what was asked for stays. */
  #begin() {
    let at = 0;
    let phone;
    try {
      for (; at < this.#configs.length; at += 1) {
        if (phone) phone.configure(this.#configs[at]);
        else phone = new core.DialStrategy(this.#configs[at]);
      }
    } catch (error) {
      phone?.free();
      // What is wrong is forgotten, so that another `configure()` can mend it.
      this.#configs.splice(at, 1);
      throw error;
    }
    phone ??= new core.DialStrategy();
    this.#core = phone;
    for (const given of this.#configs.splice(0)) this.#note(given);
    this.#idle = IDLE;
    // The module's phone must not keep this one alive.
    const self = new WeakRef(this);
    const changed = () => self.deref()?.#changed();
    phone.on('connection', ({ state }) => {
      const phone = self.deref();
      if (!phone) return;
      phone.#changed();
      if (state !== 'disconnected') {
        connected.add(phone);
        return;
      }
      connected.delete(phone);
      phone.#letGo();
    });
    for (const type of ['registration', 'audioBlocked', 'fatal']) phone.on(type, changed);
    phone.on('call', ({ call }) => {
      changed();
      const note = noteOf(call);
      if (note.changed) return;
      note.changed = changed;
      for (const type of ['hold', 'remote', 'microphone', 'mute']) call.on(type, changed);
      call.on('state', ({ state }) => {
        if (state !== 'ended') return;
        note.endedAt ??= Date.now();
        // After those who hear of it.
        queueMicrotask(() => silence(call));
      });
    });
    for (const entry of this.#entries) this.#attach(entry);
  }

  /** The module's phone. Throws where there is none. */
  #need() {
    if (this.#freed) throw failure('ended', 'The phone was freed', { hint: 'Make a new DialStrategy.' });
    if (!this.#core && loaded) this.#begin();
    return this.#core ?? requireLoaded('The phone');
  }

  #note(config) {
    this.#servers = config?.servers ?? this.#servers;
    reachesOut ||= /wss?:\/\/(?!localhost|127\.|\[::1)/i.test(JSON.stringify(this.#servers));
  }

  configure(config) {
    if (loaded || this.#freed) {
      this.#need().configure(config);
      this.#note(config);
    } else {
      this.#configs.push(config);
    }
    this.#changed();
  }

  async connect() {
    const farewells = this.#farewells;
    const goOn = () => {
      if (farewells !== this.#farewells) throw failure('aborted', 'Disconnected');
    };
    this.#connects += 1;
    this.#changed();
    const violations = [];
    const violated = (event) => violations.push(event);
    globalThis.addEventListener?.('securitypolicyviolation', violated);
    try {
      if (!loaded && !this.#freed) await init();
      goOn();
      const phone = this.#need();
      if (phone.resumeKey !== null) {
        this.#keeping ??= import('./resume.js').then(
          ({ keepCalls }) => keepCalls(this),
          (error) => this.warn(`resume: ${error.message}`),
        );
        await this.#keeping;
      }
      if (farewells === this.#farewells && phone.instanceKey !== null) {
        this.#instance ??= claimInstance(phone.instanceKey);
        const instance = await this.#instance;
        if (farewells === this.#farewells && instance) phone.useInstance(instance.id);
      }
      goOn();
      return await phone.connect();
    } catch (error) {
      if (error.code === 'transport') {
        // Where the network is dead, what explains it can't be loaded either.
        const late = new Promise((resolve) => setTimeout(resolve, EXPLAIN_MS, {}));
        const { explain } = await Promise.race([import('./unavailable.js').catch(() => ({})), late]);
        await explain?.(error, violations, this.#servers).catch(() => {});
      }
      throw error;
    } finally {
      globalThis.removeEventListener?.('securitypolicyviolation', violated);
      this.#connects -= 1;
      this.#letGo();
      this.#changed();
    }
  }

  async disconnect() {
    this.#farewells += 1;
    if (!this.#freed) await this.#core?.disconnect();
  }

  /** The promise has the call at once, as `call`. */
  dial(destination, options) {
    let promise;
    let call = null;
    try {
      const phone = this.#need();
      const before = phone.calls;
      promise = phone.dial(destination, options);
      call = phone.calls.find((one) => one.direction === 'outgoing' && !before.includes(one)) ?? null;
      if (call) call.metadata = options?.metadata;
      promise.then(() => this.#changed());
    } catch (error) {
      const lastResult = { success: false, error };
      if (!this.#freed) this.#idle = { ...IDLE, error, lastResult };
      promise = Promise.resolve(lastResult);
    }
    this.#changed();
    return Object.assign(promise, { call });
  }

  /** For resume.js and tabs.js, which may be late. */
  warn(text) {
    this.#core?.warn(text);
  }

  reset() {
    if (this.#core) this.#need().reset();
    this.#idle = IDLE;
    this.#changed();
  }

  get connection() {
    return this.#core?.connection ?? (this.#connects > 0 && !this.#freed ? 'connecting' : 'disconnected');
  }

  get strategy() {
    if (this.#core) return this.#core.strategy;
    const { strategy, autoDetect, providerId } = Object.assign({}, ...this.#configs);
    if (strategy && strategy !== 'auto' && !autoDetect) return strategy;
    return providerId === '46elks' ? 'rest-originate' : 'sip-invite';
  }

  get calls() {
    return (this.#calls = kept(this.#calls, this.#core?.calls ?? []));
  }

  /** A proxy of frameworks has no private fields. */
  get __v_skip() {
    return true;
  }

  getSnapshot() {
    const pictures = this.calls.map((call) => {
      const note = noteOf(call);
      return (note.picture = kept(note.picture, { call, ...pictureOf(call) }));
    });
    const { connection, registration, strategy, isDialing, error, lastResult } = this;
    const calls = kept(this.#snapshot?.calls, pictures);
    const now = { connection, registration, strategy, isDialing, error, lastResult, calls };
    return (this.#snapshot = kept(this.#snapshot, now));
  }

  toJSON() {
    // Not the last result, which has a call that may be long over.
    return { ...this.getSnapshot(), lastResult: undefined, calls: this.calls };
  }

  /** One event for all that a turn of the event loop has changed. */
  #changed() {
    if (this.#telling || this.#watchers.size === 0) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      const now = this.getSnapshot();
      if (now === this.#shown || this.#freed) return;
      this.#shown = now;
      for (const entry of [...this.#watchers]) {
        try {
          if (this.#watchers.has(entry)) entry.handler(now);
        } catch (error) {
          // Like any uncaught error of the page; the others hear of the change all the same.
          (globalThis.reportError ?? console.error)(error);
        }
      }
    });
  }

  on(type, listener, options) {
    if (this.#freed) this.#need();
    const add = (kind, handler, entry) => {
      if (!EVENTS.has(kind)) throw failure('invalid_config', 'type: no such event');
      entry.handler = handler;
      const entries = kind === 'change' ? this.#watchers : this.#entries;
      if (kind !== 'change') this.#attach(entry);
      else if (entries.size === 0) this.#shown = this.getSnapshot();
      entries.add(entry);
      return () => {
        entries.delete(entry);
        entry.detach?.();
      };
    };
    return listen(this, add, type, listener, options);
  }

  #attach(entry) {
    entry.detach = this.#core?.on(entry.type, entry.handler);
  }

  abandon() {
    this.#end();
    for (const call of this.calls) noteOf(call).endedAt ??= Date.now();
    if (this.#core) this.#core.abandon();
    else this.#freed = true;
    this.#changed();
  }

  /** Once is enough, and twice does no harm. */
  free() {
    if (this.#freed) return;
    this.#freed = true;
    this.#end();
    const phone = this.#core;
    this.#core = undefined;
    silence(this);
    if (!phone) return;
    const { calls } = phone;
    phone.free();
    for (const call of calls) noteOf(call).endedAt ??= Date.now();
  }

  /** Of the id, unless it is in use or about to be. */
  #letGo() {
    if (!this.#ended && this.#connects === 0 && this.connection === 'disconnected') this.#release();
  }

  #release() {
    this.#instance?.then((instance) => instance?.release());
    this.#instance = undefined;
  }

  #end() {
    connected.delete(this);
    this.#farewells += 1;
    this.#ended = true;
    this.#release();
    this.#keeping?.then((store) => store?.close());
  }

  static {
    // What the module's phone has and is not here is passed on as it is.
    const { prototype } = this;
    // Minified classes have no names of their own, and consoles and error trackers show them.
    Object.defineProperty(this, 'name', { value: 'DialStrategy' });
    Object.assign(prototype, ON_AND_OFF);
    for (const [name, { get }] of Object.entries(members(core.DialStrategy.prototype))) {
      if (name in prototype || name.startsWith('__')) continue;
      if (get) {
        access(prototype, name, function () {
          return (this.#core ?? this.#idle)[name] ?? null;
        });
        continue;
      }
      prototype[name] = function (...given) {
        let phone;
        try {
          phone = this.#need();
        } catch (error) {
          return refused(name, error);
        }
        return phone[name](...given);
      };
    }
    if (Symbol.dispose) prototype[Symbol.dispose] = prototype.free;
  }
}
export { DialStrategy as Phone };

export function registerProvider(provider) {
  requireLoaded('registerProvider()');
  core.registerProvider(provider);
}

export async function originateCall(options) {
  requireLoaded('originateCall()');
  return core.originateCall(options);
}
