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

/**
 * Loads the WebAssembly module. Calls made while it loads, and later ones, get the same promise; after a failure
 * the next call tries again.
 */
export default function init(source) {
  if (!loading) {
    const wrapped =
      source !== null && typeof source === 'object' && 'module_or_path' in source
        ? source
        : { module_or_path: source };
    loading = load(wrapped).then(
      () => {
        core.useTimerWorkers(makeTimer);
        loaded = true;
      },
      (error) => {
        loading = undefined;
        throw error;
      },
    );
  }
  return loading;
}

const failure = (code, message, more) =>
  Object.assign(new Error(message), { name: 'SoftphoneError', code, retryable: false }, more);

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
  // `connect()` may wait for that; what came meanwhile counts more.
  #farewells = 0;

  constructor(config) {
    requireLoaded('DialStrategy');
    super(config);
    const self = new WeakRef(this);
    this.on('connection', ({ state }) => {
      const phone = self.deref();
      if (!phone) return;
      if (state === 'disconnected') connected.delete(phone);
      else connected.add(phone);
    });
  }

  async connect() {
    if (this.resumeKey !== null) {
      const farewells = this.#farewells;
      this.#keeping ??= import('./resume.js').then(
        ({ keepCalls }) => keepCalls(this),
        (error) => this.warn(`resume: ${error.message}`),
      );
      await this.#keeping;
      if (farewells !== this.#farewells) throw failure('aborted', 'Disconnected');
    }
    return super.connect();
  }

  disconnect() {
    this.#farewells += 1;
    return super.disconnect();
  }

  abandon() {
    this.#end((store) => store.close());
    super.abandon();
  }

  free() {
    this.#end((store) => store.close());
    super.free();
  }

  #end(close) {
    connected.delete(this);
    this.#farewells += 1;
    this.#keeping?.then((store) => store && close(store));
  }
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
