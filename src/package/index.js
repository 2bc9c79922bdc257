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

const failure = (code, message, more) =>
  Object.assign(new Error(message), { name: 'SoftphoneError', code, retryable: false }, more);

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
  const source = await given;
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
    hint: "First: import init from 'wasm-softphone'; await init();",
  });
}

// A phone that is connected lives on though the application may have kept no reference to it but its listeners,
// as a WebSocket does: without this the garbage collector could end a call.
const connected = new Set();

export class DialStrategy extends core.DialStrategy {
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
    requireLoaded('DialStrategy');
    super(config);
    const self = new WeakRef(this);
    this.on('connection', ({ state }) => {
      const phone = self.deref();
      if (!phone) return;
      if (state !== 'disconnected') {
        connected.add(phone);
        return;
      }
      connected.delete(phone);
      phone.#letGo();
    });
  }

  async connect() {
    const farewells = this.#farewells;
    this.#connects += 1;
    try {
      if (this.resumeKey !== null) {
        this.#keeping ??= import('./resume.js').then(
          ({ keepCalls }) => keepCalls(this),
          (error) => this.warn(`resume: ${error.message}`),
        );
        await this.#keeping;
      }
      if (farewells === this.#farewells && this.instanceKey !== null) {
        this.#instance ??= claimInstance(this.instanceKey);
        const instance = await this.#instance;
        if (farewells === this.#farewells && instance) this.useInstance(instance.id);
      }
      if (farewells !== this.#farewells) throw failure('aborted', 'Disconnected');
      return await super.connect();
    } finally {
      this.#connects -= 1;
      this.#letGo();
    }
  }

  disconnect() {
    this.#farewells += 1;
    return super.disconnect();
  }

  abandon() {
    this.#end((store) => store.close());
    super.abandon();
  }

  /** Once is enough, and twice does no harm. */
  free() {
    if (this.#freed) return;
    this.#freed = true;
    this.#end((store) => store.close());
    super.free();
  }

  /** Of the id, unless it is in use or about to be. */
  #letGo() {
    if (!this.#ended && this.#connects === 0 && this.connection === 'disconnected') this.#release();
  }

  #release() {
    this.#instance?.then((instance) => instance?.release());
    this.#instance = undefined;
  }

  #end(close) {
    connected.delete(this);
    this.#farewells += 1;
    this.#ended = true;
    this.#release();
    this.#keeping?.then((store) => store && close(store));
  }
}
// Vue makes a proxy of what is put into its state, unless told otherwise by this name, and a proxy has no private fields.
for (const { prototype } of [core.DialStrategy, core.Call, core.OriginatedCall, core.Subscription]) {
  Object.defineProperty(prototype, '__v_skip', { value: true });
}
// The generated glue defines Symbol.dispose only where the browser has it.
if (Symbol.dispose) DialStrategy.prototype[Symbol.dispose] = DialStrategy.prototype.free;

// The glue is minified; consoles and error trackers show these names.
export const Call = Object.defineProperty(core.Call, 'name', { value: 'Call' });
Object.defineProperty(core.OriginatedCall, 'name', { value: 'OriginatedCall' });
// A publication is of the same class.
Object.defineProperty(core.Subscription, 'name', { value: 'Subscription' });
core.Subscription.prototype.unpublish = core.Subscription.prototype.unsubscribe;

export function registerProvider(provider) {
  requireLoaded('registerProvider()');
  core.registerProvider(provider);
}

export async function originateCall(options) {
  requireLoaded('originateCall()');
  return core.originateCall(options);
}
