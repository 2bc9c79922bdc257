/** The telephone of this page: one account, one call that is talked in, others on hold, and calls that ring. */

import { Conference } from '/pkg/conference.js';
import init, { DialStrategy } from '/pkg/index.js';

/** Loads the WebAssembly module. */
export function loadModule() {
  return init();
}

/**
 * Events: "change" (anything that is shown), "stage" `{ stage, call }` of a call going out, "ended"
 * `{ call, reason }`, "error" `{ error }`, "message" `{ from, body }`, "transfer" `{ call, state }`, "transferRequest"
 * and "redirect" `{ call, ... }` with what the package tells, and "log" with an entry of the trace.
 */
export class Phone extends EventTarget {
  /** The settings in use, or `null`. */
  config = null;
  #strategy = null;
  #current = null;
  #others = [];
  #conference = null;
  #ringing = [];
  // Calls that the user ended here: their failure is no news.
  #dismissed = new Set();
  // Where calls were sent on to (3xx).
  #sentOn = new WeakMap();

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

  /** The address that a call was sent on to, or `null`. */
  sentOn(call) {
    return this.#sentOn.get(call) ?? null;
  }

  /** The calls beside it, which are on hold or in the conference. */
  get others() {
    return this.#others;
  }

  /** Whether the calls are mixed. */
  get inConference() {
    return this.#conference !== null;
  }

  /** What subscriptions are made with. */
  get strategy() {
    return this.#strategy;
  }

  /** The incoming call that has rung longest, or `null`. */
  get ringing() {
    return this.#ringing[0] ?? null;
  }

  /** Changes to another account. Throws a SoftphoneError for settings that can't be used. */
  async use(config) {
    // The trace of this page is what debug adds. Where a call is sent on to is asked.
    const next = new DialStrategy({ redirects: 'ask', ...config, debug: true });
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
    next.on('message', (message) => this.#emit('message', message));
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
    this.#others = [];
    this.#conference = null;
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
    await this.#holdCurrent();
    const onProgress = (stage, call) => this.#emit('stage', { stage, call });
    const result = await this.#strategy.dial(address, { onProgress });
    if (!result.success && !this.#dismissed.delete(result.callId)) this.#emit('error', { error: result.error });
    this.#emit('change');
  }

  /** Answers the call that rings; a call in progress is put on hold. */
  async answer() {
    const call = this.ringing;
    if (!call) return;
    await this.#holdCurrent();
    await this.#report(() => call.answer());
  }

  /** Puts the call away, so that another one can be dialled. */
  async putAway() {
    await this.#holdCurrent();
    this.#emit('change');
  }

  async toggleHold() {
    const call = this.#current;
    if (call) await this.#report(() => (call.localHold ? call.unhold() : call.hold()));
  }

  /** Talks in this call; the one before is put on hold. */
  async switchTo(call) {
    await this.#holdCurrent();
    this.#others = this.#others.filter((other) => other !== call);
    this.#current = call;
    await this.#report(() => call.unhold());
  }

  /** Everybody with everybody, mixed in this page. */
  async mergeAll() {
    await this.#report(async () => {
      this.#conference ??= new Conference();
      for (const call of [this.#current, ...this.#others].filter(Boolean)) {
        if (call.localHold) await call.unhold();
        await this.#conference.add(call);
      }
      this.#current ??= this.#others.shift() ?? null;
    });
  }

  /** Blind: whoever is on the phone is handed over to an address. */
  async transfer(target) {
    const call = this.#current;
    if (call) await this.#report(() => call.transfer(target));
  }

  /** Attended: who waits is handed over to whom the user talks with. */
  async connectBoth(waiting) {
    const call = this.#current;
    if (call) await this.#report(() => waiting.transfer(call));
  }

  async sendMessage(to, text) {
    let sent = false;
    await this.#report(async () => {
      await this.#strategy.sendMessage(to, text);
      sent = true;
    });
    return sent;
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
      if (this.#current === call) this.#current = null;
      this.#others = this.#others.filter((other) => other !== call);
      // Alone with one: no conference any more.
      if (this.#conference && this.#conference.calls.length < 2) {
        this.#conference.end();
        this.#conference = null;
        this.#current ??= this.#others.shift() ?? null;
      }
      this.#emit('ended', { call, reason: call.endReason });
    } else if (call.direction === 'outgoing' || state !== 'ringing' && state !== 'new') {
      this.#adopt(call);
    }
    this.#emit('change');
  }

  /** A call that is new here becomes the one that is talked in. */
  #adopt(call) {
    if (call === this.#current || this.#others.includes(call)) return;
    if (this.#current) this.#others.push(this.#current);
    this.#current = call;
    for (const type of ['hold', 'remote']) call.on(type, () => this.#emit('change'));
    call.on('transfer', ({ state }) => this.#emit('transfer', { call, state }));
    call.on('transferRequest', ({ target, referredBy, accept, reject }) => this.#emit('transferRequest', {
      call, target, referredBy, accept: () => this.#report(accept), reject: () => this.#report(reject),
    }));
    call.on('redirect', ({ targets, follow, decline }) => this.#emit('redirect', {
      call,
      targets,
      follow: (index) => this.#report(async () => {
        this.#sentOn.set(call, targets[index]);
        await follow(index);
      }),
      decline: () => this.#report(async () => {
        this.#dismissed.add(call.id);
        await decline();
      }),
    }));
  }

  async #holdCurrent() {
    const call = this.#current;
    if (!call) return;
    this.#current = null;
    this.#others.push(call);
    if (call.state === 'active' && !call.localHold && !this.#conference) await this.#report(() => call.hold());
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
