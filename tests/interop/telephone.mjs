/** baresip with what the pages of these tests offer, so that the same tests can be run with it. */

import { DOMAIN } from '../stack/network.mjs';
import { strongestTone } from '../support/audio.mjs';
import { until } from '../support/until.mjs';
import { Call } from './party.mjs';

/** What is listened to, at least and at most, in seconds. */
const SHORTEST = 0.12;
const LONGEST = 0.25;
/** So long without a packet, and what was heard before is of the past. */
const GAP_MS = 200;

/** A telephone, used as the pages are. It knows its calls by the events that name them. */
export class TelephoneParty {
  library = 'baresip';
  /** How many calls it had before this test. */
  before = 0;
  #telephone;
  #held = new Set();
  #last = { recording: null, length: 0, from: 0, at: 0 };

  constructor(telephone, tone) {
    this.#telephone = telephone;
    Object.assign(this, { user: telephone.user, tone, uri: `sip:${telephone.user}@${DOMAIN}` });
  }

  get name() {
    return `${this.library} ${this.user}`;
  }

  command(...args) {
    return this.#telephone.command(...args);
  }

  dial(target) {
    return this.command('dial', target);
  }

  /** What is known of every call, oldest first. */
  async report() {
    const calls = new Map();
    for (const { type, id, direction, param } of this.#telephone.events) {
      if (!id) continue;
      if (!calls.has(id)) calls.set(id, { id, direction, state: 'ringing', localHold: this.#held.has(id), dtmf: '', ended: null });
      const call = calls.get(id);
      if (type === 'CALL_ESTABLISHED') call.state = 'active';
      if (type === 'CALL_DTMF_START') call.dtmf += param;
      // It ends the call with who did not get through to the new one, and doesn't say so.
      if (type === 'CALL_CLOSED' || type === 'TRANSFER_FAILED') Object.assign(call, { state: 'ended', ended: { code: param } });
      if (type === 'TRANSFER_FAILED') call.transferFailed = param;
    }
    return [...calls.values()];
  }

  async call(count, state, deadline) {
    await until(`${this.name} has a call ${count} that is ${state}`, async () => (await this.report())[count]?.state === state, { deadline });
    return new TelephoneCall(this, count);
  }

  async clear() {
    await until(`${this.name} has no call`, async () => {
      if (/^\s*--- (No active calls|Active calls \(0\))/m.test(await this.command('listcalls'))) return true;
      await this.command('hangup');
      return false;
    });
    await this.#telephone.forgetRecordings();
    this.before = (await this.report()).length;
  }

  hold(id, held) {
    this.#held[held ? 'add' : 'delete'](id);
  }

  /**
   * Whether the newest call has had a re-INVITE: baresip 1.0 then goes on without the filter that records what comes in.
   */
  deaf() {
    const last = (found) => this.#telephone.events.findLastIndex(found);
    return last(({ type }) => type === 'CALL_REMOTE_SDP') > last(({ type }) => type === 'CALL_ESTABLISHED');
  }

  /** From now on it sends what it hears, or its tone again. */
  async echo(on) {
    // A player of an earlier re-INVITE may not fit the source any more.
    if (on) await this.command('auplay', 'aubridge,null');
    await this.command('ausrc', on ? 'aubridge,null' : `ausine,${this.tone}`);
  }

  /** What it hears, or sends: the newest moment of its recording, which grows with the packets. */
  async heard(side) {
    const recording = await this.#telephone.heard(side);
    if (!recording) return null;
    const { name, samples, sampleRate } = recording;
    const last = this.#last;
    const now = performance.now();
    if (name !== last.recording || samples.length < last.length) Object.assign(last, { recording: name, length: 0, from: 0, at: now });
    if (samples.length === last.length) return null;
    if (now - last.at > GAP_MS) last.from = last.length;
    Object.assign(last, { length: samples.length, at: now });
    const recent = samples.subarray(Math.max(last.from, samples.length - LONGEST * sampleRate));
    const { frequency, level } = strongestTone(recent, sampleRate);
    return { frequency: recent.length < SHORTEST * sampleRate ? null : frequency, level: 20 * Math.log10(level) };
  }

  /** Audio packets that the newest call has received. */
  async received() {
    const [, count] = /rcvd=(\d+)/.exec(await this.command('audio_debug')) ?? [];
    return Number(count ?? 0);
  }

  /** The telephone is the network's, and goes with it. */
  async close() {}
}

/** One call of a telephone. */
export class TelephoneCall extends Call {
  #side = 'dec';

  async do(method, ...args) {
    const { id } = await this.report();
    const telephone = this.party;
    switch (method) {
      case 'answer':
        return telephone.command('accept');
      case 'hangup':
        return telephone.command('hangup');
      case 'hold':
      case 'unhold':
        await telephone.command(method === 'hold' ? 'hold' : 'resume');
        return telephone.hold(id, method === 'hold');
      case 'dtmf':
        return telephone.command('sndcode', args[0]);
      case 'transfer': {
        await telephone.command('transfer', args[0]);
        const { transferFailed } = await until(`the transfer by ${this.name} has an outcome`, async () => {
          const report = await this.report();
          return report.state === 'ended' && report;
        });
        if (transferFailed) throw new Error(`transfer: ${transferFailed}`);
        return null;
      }
      default:
        throw new Error(`a telephone has no ${method}`);
    }
  }

  heard() {
    return this.party.heard(this.#side);
  }

  async hears(frequency, deadline) {
    if (!this.party.deaf()) return super.hears(frequency, deadline);
    this.#side = 'enc';
    await this.party.echo(true);
    try {
      return await super.hears(frequency, deadline);
    } finally {
      await this.party.echo(false);
      this.#side = 'dec';
    }
  }

  /**
   * It gets no tone. After a re-INVITE it records nothing of what comes in, and who is held has nothing to echo it into: then
   * the other side has to show that it sends silence.
   */
  async hearsNothing() {
    if (!this.party.deaf()) await super.hearsNothing();
  }

  /** Waits for one more of these tones. */
  async hearsDtmf(tone, deadline = 4000) {
    const { length } = (await this.report()).dtmf;
    await until(`${this.name} has seen the tone ${tone}`, async () => (await this.report()).dtmf.slice(length) === tone, { deadline });
  }
}
