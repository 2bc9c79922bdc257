/** The telephone of this page: one account, at most one call in progress, and calls that ring. */

import init, { DialStrategy } from '/pkg/index.js';

/** Loads the WebAssembly module. */
export function loadModule() {
  return init();
}

/**
 * Events: "change" (anything that is shown), "stage" `{ stage, call }` of a call going out, "ended"
 * `{ call, reason }`, "error" `{ error }`, and "log" with an entry of the trace.
 */
export class Phone extends EventTarget {
  /** The settings in use, or `null`. */
  config = null;
  #strategy = null;
  #current = null;
  #ringing = [];
  // Calls that the user ended here: their failure is no news.
  #dismissed = new Set();

  get connection() {
    return this.#strategy?.connection ?? 'disconnected';
  }

  get registration() {
    return this.#strategy?.registration ?? 'unregistered';
  }

  get server() {
    const servers = this.config?.servers;
    return (Array.isArray(servers) ? servers.join(', ') : servers) || null;
  }

  /** The call in progress, or `null`. */
  get current() {
    return this.#current;
  }

  /** The incoming call that has rung longest, or `null`. */
  get ringing() {
    return this.#ringing[0] ?? null;
  }

  /** Changes to another account. Throws a SoftphoneError for settings that can't be used. */
  async use(config) {
    // The trace of this page is what debug adds.
    const next = new DialStrategy({ ...config, debug: true });
    await this.close();
    this.config = config;
    this.#strategy = next;
    next.on('connection', ({ error }) => this.#changed(error));
    next.on('registration', ({ error }) => this.#changed(error));
    next.on('incoming', ({ call }) => {
      this.#ringing.push(call);
      this.#emit('change');
    });
    next.on('call', (event) => this.#callChanged(event));
    next.on('log', (entry) => this.#emit('log', entry));
    next.on('fatal', ({ error }) => this.#changed(error));
    this.#emit('change');
    await this.connect();
  }

  async connect() {
    await this.#report(() => this.#strategy.connect());
  }

  async disconnect() {
    await this.#report(() => this.#strategy.disconnect());
  }

  /** Leaves the account: ends calls, un-registers, gives everything back. */
  async close() {
    const old = this.#strategy;
    if (!old) return;
    await this.disconnect();
    old.free();
    this.#strategy = null;
    this.#current = null;
    this.#ringing = [];
  }

  /** Throws a SoftphoneError when `address` can't be called. */
  strategyFor(address) {
    return this.#strategy.strategyFor(address);
  }

  /** Why strategyFor() says what it says. */
  strategyReason(address) {
    return this.#strategy.strategyReason(address);
  }

  async dial(address) {
    const onProgress = (stage, call) => this.#emit('stage', { stage, call });
    const result = await this.#strategy.dial(address, { onProgress });
    if (!result.success && !this.#dismissed.delete(result.callId)) this.#emit('error', { error: result.error });
    this.#emit('change');
  }

  /** Answers the call that rings; a call in progress ends. */
  async answer() {
    const call = this.ringing;
    if (!call) return;
    await this.#report(async () => {
      await this.hangup();
      await call.answer();
    });
  }

  async reject() {
    const call = this.ringing;
    if (call) await this.#report(() => call.reject());
  }

  async hangup() {
    const call = this.#current;
    if (!call) return;
    if (call.direction === 'outgoing' && call.state !== 'active') this.#dismissed.add(call.id);
    await this.#report(() => call.hangup());
  }

  toggleMute() {
    const call = this.#current;
    if (!call) return;
    if (call.muted) call.unmute();
    else call.mute();
    this.#emit('change');
  }

  async sendTone(tone) {
    const call = this.#current;
    if (call) await this.#report(() => call.sendDtmf(tone));
  }

  #callChanged({ call, state }) {
    if (call.direction === 'incoming' && state !== 'ringing') {
      this.#ringing = this.#ringing.filter(({ id }) => id !== call.id);
    }
    if (state === 'ended') {
      if (this.#current?.id === call.id) this.#current = null;
      this.#emit('ended', { call, reason: call.endReason });
    } else if (call.direction === 'outgoing' || state !== 'ringing' && state !== 'new') {
      this.#current = call;
    }
    this.#emit('change');
  }

  #changed(error) {
    if (error) this.#emit('error', { error });
    this.#emit('change');
  }

  async #report(action) {
    try {
      await action();
    } catch (error) {
      this.#emit('error', { error });
    }
    this.#emit('change');
  }

  #emit(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
