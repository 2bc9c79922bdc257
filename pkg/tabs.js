// Several tabs, one registration: Web Locks elect the tab that has the phone, a BroadcastChannel lets the others see and
// control its calls, and when it goes another takes over. Over the public API of the package; nothing of it is in the
// module. What goes over the channel is in the functions `readState` and `readCommand`, and nothing else does.

import init, { DialStrategy } from './index.js';

const VERSION = 1;
const PREFIX = 'wasm-softphone:tabs:';
// A command that nobody answers: its tab is gone, and another takes over.
const ANSWER_MS = 10_000;
// A tab that has the phone but is just being loaded.
const HELLO_MS = 5_000;
const RETRY_MS = [1_000, 2_000, 4_000, 8_000];
const MAX_CALLS = 64;
const MAX_TEXT = 512;
const MAX_RECORD = 16_384;

const METHODS = ['answer', 'reject', 'hangup', 'hold', 'unhold', 'mute', 'unmute', 'sendDtmf'];
const STATES = ['new', 'connecting', 'ringing', 'early-media', 'active', 'reconnecting', 'ended'];
const CONNECTIONS = ['disconnected', 'connecting', 'connected', 'reconnecting'];
const REGISTRATIONS = ['unregistered', 'registering', 'registered', 'failed'];
const DIAL_OPTIONS = ['timeout', 'strategy', 'callerId', 'extraHeaders', 'audio'];

function failure(code, message, more) {
  return Object.assign(new Error(message), { name: 'SoftphoneError', code, retryable: false }, more);
}

const lost = () => failure('not_connected', 'No tab has the phone at the moment', { retryable: true, hint: 'Try again.' });

class Emitter {
  #listeners = new Map();

  on(type, listener) {
    if (typeof listener !== 'function') throw failure('invalid_config', 'listener: expected a function');
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners);
    const entry = { listener };
    listeners.add(entry);
    return () => listeners.delete(entry);
  }

  emit(type, event) {
    for (const entry of [...(this.#listeners.get(type) ?? [])]) {
      try {
        entry.listener(event);
      } catch (error) {
        reportError(error);
      }
    }
  }
}

// ---- what goes over the channel: read field by field; what is missing, of another type or too large is not taken

const text = (value, most = MAX_TEXT) => (typeof value === 'string' && value.length <= most ? value : undefined);
const one = (value, of) => (of.includes(value) ? value : undefined);
const finite = (value) => (Number.isFinite(value) ? value : null);

/** An object with these properties, without those that are undefined. */
const plain = (properties) => Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));

function readRemote(remote) {
  const { uri, displayName, assertedIdentity, assertedDisplayName, diversion } = remote ?? {};
  return plain({
    uri: text(uri) ?? '',
    displayName: text(displayName),
    assertedIdentity: text(assertedIdentity),
    assertedDisplayName: text(assertedDisplayName),
    private: remote?.private === true,
    diversion: text(diversion),
  });
}

function readEnd(reason) {
  if (typeof reason !== 'object' || reason === null) return null;
  const by = one(reason.by, ['local', 'remote', 'network']);
  const code = text(reason.code);
  return code && by ? plain({ code, by, sipStatus: finite(reason.sipStatus) ?? undefined }) : null;
}

/** What is known of a call: of a `Call` of the package, or of what a message says of one. */
function readCall(call) {
  if (typeof call !== 'object' || call === null) return null;
  const read = {
    id: text(call.id),
    direction: one(call.direction, ['outgoing', 'incoming']),
    strategy: one(call.strategy, ['sip-invite', 'rest-originate']) ?? null,
    state: one(call.state, STATES),
    remote: readRemote(call.remote),
    localHold: call.localHold === true,
    remoteHold: call.remoteHold === true,
    muted: call.muted === true,
    startedAt: finite(call.startedAt),
    endReason: readEnd(call.endReason),
  };
  return read.id && read.direction && read.state ? read : null;
}

function readState(data) {
  const calls = Array.isArray(data.calls) ? data.calls.slice(0, MAX_CALLS).map(readCall) : [null];
  const connection = one(data.connection, CONNECTIONS);
  const registration = one(data.registration, REGISTRATIONS);
  if (calls.includes(null) || !connection || !registration) return null;
  return { calls, connection, registration, record: text(data.record, MAX_RECORD) ?? null };
}

function readCommand(data) {
  const method = one(data.method, [...METHODS, 'dial']);
  const args = Array.isArray(data.args) ? data.args.slice(0, 2) : null;
  const number = finite(data.number);
  if (!method || !args || number === null) return null;
  return { method, args, number, call: text(data.call) ?? null };
}

function readError(error) {
  if (typeof error !== 'object' || error === null) return undefined;
  const { code, message, sipStatus, retryable, hint } = error;
  return failure(text(code) ?? 'server_error', text(message) ?? 'The other tab failed', plain({
    sipStatus: finite(sipStatus) ?? undefined,
    retryable: retryable === true,
    hint: text(hint),
  }));
}

const writeError = ({ code, message, sipStatus, retryable, hint }) => plain({ code, message, sipStatus, retryable, hint });

// ---- calls

/** A call of the phone, whichever tab has it. The object stays the same when another tab takes over. */
export class TabCall {
  /** A proxy of frameworks has no private fields. */
  get __v_skip() {
    return true;
  }

  #tabs;
  #known;
  #emitter = new Emitter();
  /** The call itself, where this tab has it. */
  #call = null;

  constructor(tabs, known) {
    this.#tabs = tabs;
    this.#known = known;
  }

  get id() {
    return this.#known.id;
  }
  get direction() {
    return this.#known.direction;
  }
  get strategy() {
    return this.#known.strategy;
  }
  get state() {
    return this.#known.state;
  }
  get remote() {
    return this.#known.remote;
  }
  get localHold() {
    return this.#known.localHold;
  }
  get remoteHold() {
    return this.#known.remoteHold;
  }
  get muted() {
    return this.#known.muted;
  }
  get startedAt() {
    return this.#known.startedAt;
  }
  get endReason() {
    return this.#known.endReason;
  }
  get call() {
    return this.#call;
  }

  answer(options) {
    return this.#command('answer', options);
  }
  reject(options) {
    return this.#command('reject', options);
  }
  hangup() {
    return this.#command('hangup');
  }
  hold() {
    return this.#command('hold');
  }
  unhold() {
    return this.#command('unhold');
  }
  mute() {
    return this.#command('mute');
  }
  unmute() {
    return this.#command('unmute');
  }
  sendDtmf(tones, options) {
    return this.#command('sendDtmf', tones, options);
  }

  on(type, listener) {
    return this.#emitter.on(type, listener);
  }

  #command(method, ...args) {
    return this.#tabs(method, this, args);
  }

  /** For `PhoneTabs`: this tab has the call itself, or not any more. */
  static bind(self, call) {
    self.#call = call;
  }

  /** For `PhoneTabs`: what is known now. `true`: the state has changed. */
  static update(self, known) {
    const before = self.#known;
    self.#known = known;
    const changed = (...names) => names.some((name) => before[name] !== known[name]);
    if (changed('state')) self.#emitter.emit('state', { state: known.state });
    if (changed('localHold', 'remoteHold')) self.#emitter.emit('hold', { local: known.localHold, remote: known.remoteHold });
    if (JSON.stringify(before.remote) !== JSON.stringify(known.remote)) self.#emitter.emit('remote', known.remote);
    if (changed('muted')) self.#emitter.emit('mute', { muted: known.muted });
    if (changed('state') && known.state === 'ended') self.#emitter.emit('ended', known.endReason);
    return changed('state');
  }
}

// ---- tabs

export class PhoneTabs {
  /** A proxy of frameworks has no private fields. */
  get __v_skip() {
    return true;
  }

  #config;
  #name;
  #phone;
  #channel = null;
  #emitter = new Emitter();
  #id = crypto.randomUUID();
  #role = 'none';
  #connection = 'disconnected';
  #registration = 'unregistered';
  #calls = new Map();
  #record = null;
  /** The tab that has the phone, where that is another one. */
  #owner = null;
  #joined = null;
  #release = null;
  #left = false;
  #pending = new Map();
  #number = 0;
  #told = true;
  #decided = () => {};

  constructor(config, { name } = {}) {
    this.#config = config;
    this.#phone = new DialStrategy(config);
    this.#name = PREFIX + (name ?? config.uri);
  }

  get role() {
    return this.#role;
  }
  get phone() {
    return this.#role === 'owner' ? this.#phone : null;
  }
  get connection() {
    return this.#connection;
  }
  get registration() {
    return this.#registration;
  }
  get calls() {
    return [...this.#calls.values()];
  }

  on(type, listener) {
    return this.#emitter.on(type, listener);
  }

  join() {
    if (this.#left) return Promise.reject(failure('invalid_state', 'This tab has left: make a new PhoneTabs'));
    this.#joined ??= this.#join();
    return this.#joined;
  }

  async leave() {
    if (this.#left) return;
    this.#left = true;
    if (this.#role === 'owner') {
      // With another tab in line the calls go on there; without, they end.
      const { pending } = await navigator.locks.query();
      if (this.#phone.resumeKey !== null && pending.some(({ name }) => name === this.#name)) {
        this.#tellAll();
        this.#phone.abandon();
      } else {
        await this.#phone.disconnect();
      }
    }
    this.#phone.free();
    this.#release?.();
    this.#channel?.close();
    this.#abandonPending();
    for (const call of this.calls) this.#end(call, { code: 'aborted', by: 'local' });
    this.#become('none');
    this.#line('disconnected', 'unregistered');
  }

  async dial(destination, options = {}) {
    if (this.#role === 'owner') return this.#dialHere(destination, options);
    const given = plain(Object.fromEntries(DIAL_OPTIONS.map((name) => [name, options[name]])));
    try {
      const result = await this.#ask('dial', null, [destination, given]);
      const error = readError(result?.error);
      return result?.success === true ? { success: true, callId: text(result.callId) } : { success: false, error: error ?? lost() };
    } catch (error) {
      return { success: false, error };
    }
  }

  // ---- the election

  async #join() {
    // A tab that is second takes over what it can only read with the module.
    await init();
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.addEventListener('message', ({ data }) => this.#received(data));
    const decided = new Promise((resolve, reject) => {
      this.#decided = (error) => (error ? reject(error) : resolve());
    });
    const leaving = new Promise((resolve) => {
      this.#release = resolve;
    });
    const abort = new AbortController();
    leaving.then(() => abort.abort());
    navigator.locks
      .request(this.#name, { signal: abort.signal }, () => {
        if (this.#left) return undefined;
        this.#takeOver();
        // Held until this tab leaves or is gone.
        return leaving;
      })
      .catch(() => {});
    this.#post({ kind: 'hello' });
    // A tab that has the phone and does not answer: it is there all the same.
    const timer = setTimeout(() => this.#follow(null), HELLO_MS);
    try {
      await decided;
    } finally {
      clearTimeout(timer);
    }
  }

  #become(role) {
    if (this.#role === role) return;
    this.#role = role;
    this.#emitter.emit('role', { role });
  }

  #follow(owner) {
    if (this.#role === 'owner' || this.#left) return;
    if (owner !== null && owner !== this.#owner) {
      this.#owner = owner;
      this.#abandonPending();
      // What this tab has kept of calls is not its own any more.
      this.#forget();
    }
    this.#become('follower');
    this.#decided();
  }

  async #forget() {
    const key = this.#phone.resumeKey;
    if (key === null) return;
    const { forgetCalls } = await import('./resume.js');
    await forgetCalls(key);
  }

  async #takeOver() {
    const inherited = this.#owner === null ? null : this.#record;
    const followed = this.#owner !== null;
    this.#owner = null;
    this.#abandonPending();
    const phone = this.#phone;
    // That was another tab's.
    this.#line('disconnected', 'unregistered');
    phone.on('connection', ({ state }) => this.#changed(() => (this.#connection = state), 'connection', { state }));
    phone.on('registration', ({ state, error }) =>
      this.#changed(() => (this.#registration = state), 'registration', plain({ state, error })),
    );
    phone.on('call', ({ call }) => this.#own(call));
    phone.on('incoming', ({ call }) => this.#emitter.emit('incoming', { call: this.#own(call) }));
    phone.on('record', ({ record }) => this.#changed(() => (this.#record = record)));
    phone.on('message', (event) => this.#emitter.emit('message', event));
    phone.on('audioBlocked', (event) => this.#emitter.emit('audioBlocked', event));
    phone.on('log', (event) => this.#emitter.emit('log', event));
    phone.on('fatal', (event) => this.#emitter.emit('fatal', event));
    try {
      // The registrar puts this tab in the place of the one before (RFC 5626, section 4.2).
      phone.configure({ instanceId: this.#config.instanceId ?? this.#instance() });
      this.#become('owner');
      if (followed) {
        await this.#forget();
        if (inherited !== null && phone.resumeKey !== null) phone.resumeCalls(inherited, 0);
      }
    } catch (error) {
      phone.warn(`tabs: ${error.code ?? error.name}: ${error.message}`);
    }
    for (const call of this.calls) {
      if (call.call === null) this.#end(call, { code: 'transport', by: 'network' });
    }
    this.#tell();
    await this.#connect();
  }

  async #connect() {
    for (let attempt = 0; !this.#left; attempt += 1) {
      try {
        await this.#phone.connect();
        this.#decided();
        return;
      } catch (error) {
        this.#decided(error);
        this.#emitter.emit('error', { error });
        if (!error.retryable) return;
        const wait = RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)];
        await new Promise((resolve) => setTimeout(resolve, wait * (0.5 + Math.random() / 2)));
      }
    }
  }

  /** `+sip.instance`: the same for all tabs, and for good (RFC 5626, section 4.1). */
  #instance() {
    const key = `${this.#name}:instance`;
    const known = localStorage.getItem(key);
    if (/^urn:uuid:[0-9a-f-]{36}$/.test(known ?? '')) return known;
    const fresh = `urn:uuid:${crypto.randomUUID()}`;
    localStorage.setItem(key, fresh);
    return fresh;
  }

  // ---- the tab that has the phone

  /** A call of our own: known to all from now on. */
  #own(call) {
    const known = readCall(call);
    const entry = this.#calls.get(known.id) ?? this.#enter(known);
    const isNew = entry.call !== call;
    if (isNew) {
      TabCall.bind(entry, call);
      for (const type of ['hold', 'remote']) call.on(type, () => this.#own(call));
    }
    const changed = TabCall.update(entry, known) || isNew;
    if (changed) this.#emitter.emit('call', { call: entry, state: known.state });
    this.#tell();
    if (known.state === 'ended') {
      // Told once more with its end, then forgotten.
      this.#tellAll();
      this.#calls.delete(known.id);
      TabCall.bind(entry, null);
    }
    return entry;
  }

  #changed(change, type, event) {
    change();
    this.#tell();
    if (type) this.#emitter.emit(type, event);
  }

  /** All that happens in one go is told at once. */
  #tell() {
    if (!this.#told || this.#role !== 'owner') return;
    this.#told = false;
    queueMicrotask(() => {
      if (!this.#told) this.#tellAll();
    });
  }

  #tellAll() {
    this.#told = true;
    if (this.#role !== 'owner') return;
    const calls = this.calls.slice(0, MAX_CALLS).map(readCall);
    this.#post({ kind: 'state', connection: this.#connection, registration: this.#registration, calls, record: this.#record });
  }

  async #dialHere(destination, options) {
    const { success, callId, error } = await this.#phone.dial(destination, options);
    return plain({ success, callId, error });
  }

  async #obey(from, { method, args, number, call: id }) {
    const answer = (more) => this.#post({ kind: 'result', to: from, number, ...more });
    try {
      if (method === 'dial') {
        const [destination, options] = args;
        const given = plain(Object.fromEntries(DIAL_OPTIONS.map((name) => [name, options?.[name]])));
        const result = await this.#dialHere(destination, given);
        answer({ value: plain({ ...result, error: result.error && writeError(result.error) }) });
        return;
      }
      const call = this.#calls.get(id);
      if (!call) throw failure('ended', 'The call has ended');
      await this.#doHere(method, call, args);
      answer({});
    } catch (error) {
      answer({ error: writeError(error) });
    }
  }

  async #doHere(method, { call }, args) {
    if (!call) throw failure('ended', 'The call has ended');
    await call[method](...args.filter((arg) => arg !== undefined && arg !== null));
    // Nothing else says so.
    if (method === 'mute' || method === 'unmute') this.#own(call);
  }

  // ---- the others

  #post(message) {
    this.#channel?.postMessage({ version: VERSION, from: this.#id, ...message });
  }

  #received(data) {
    if (this.#left || typeof data !== 'object' || data === null || data.version !== VERSION) return;
    const from = text(data.from);
    if (!from || from === this.#id || (data.to !== undefined && data.to !== this.#id)) return;
    if (data.kind === 'hello') {
      this.#tell();
    } else if (data.kind === 'state') {
      const state = readState(data);
      // Who has the lock knows better.
      if (state && this.#role !== 'owner') this.#learn(from, state);
    } else if (data.kind === 'command') {
      const command = readCommand(data);
      if (command && this.#role === 'owner') this.#obey(from, command);
    } else if (data.kind === 'result' && from === this.#owner) {
      const pending = this.#pending.get(data.number);
      if (!pending) return;
      this.#pending.delete(data.number);
      const error = readError(data.error);
      if (error) pending.reject(error);
      else pending.resolve(data.value);
    }
  }

  #learn(from, { calls, connection, registration, record }) {
    this.#follow(from);
    this.#record = record;
    this.#line(connection, registration);
    for (const known of calls) {
      let call = this.#calls.get(known.id);
      const isNew = !call;
      if (isNew && known.state === 'ended') continue;
      call ??= this.#enter(known);
      if (TabCall.update(call, known) || isNew) this.#emitter.emit('call', { call, state: known.state });
      if (isNew && known.direction === 'incoming' && known.state === 'ringing') this.#emitter.emit('incoming', { call });
      if (known.state === 'ended') this.#calls.delete(known.id);
    }
    for (const call of this.calls) {
      if (!calls.some(({ id }) => id === call.id)) this.#end(call, { code: 'ended', by: 'network' });
    }
  }

  /** How the line stands now. */
  #line(connection, registration) {
    const moved = this.#connection !== connection;
    const registered = this.#registration !== registration;
    this.#connection = connection;
    this.#registration = registration;
    if (moved) this.#emitter.emit('connection', { state: connection });
    if (registered) this.#emitter.emit('registration', { state: registration });
  }

  #enter(known) {
    const run = (method, call, args) =>
      this.#role === 'owner' ? this.#doHere(method, call, args) : this.#ask(method, call.id, args);
    const call = new TabCall(run, known);
    this.#calls.set(known.id, call);
    return call;
  }

  #end(call, endReason) {
    this.#calls.delete(call.id);
    TabCall.bind(call, null);
    const known = { ...readCall(call), state: 'ended', endReason };
    if (TabCall.update(call, known)) this.#emitter.emit('call', { call, state: 'ended' });
  }

  #ask(method, call, args) {
    if (this.#owner === null || this.#left) return Promise.reject(lost());
    const number = (this.#number += 1);
    return new Promise((resolve, reject) => {
      // A dial lasts as long as it rings; its tab says when it is over.
      const timer = method === 'dial' ? undefined : setTimeout(() => settle(reject)(lost()), ANSWER_MS);
      const settle = (how) => (value) => {
        clearTimeout(timer);
        this.#pending.delete(number);
        how(value);
      };
      this.#pending.set(number, { resolve: settle(resolve), reject: settle(reject) });
      try {
        this.#post({ kind: 'command', to: this.#owner, number, method, call, args });
      } catch (error) {
        // What cannot be cloned.
        settle(reject)(failure('invalid_config', `options: ${error.message}`));
      }
    });
  }

  #abandonPending() {
    for (const { reject } of [...this.#pending.values()]) reject(lost());
  }
}
