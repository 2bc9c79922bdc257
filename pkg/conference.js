// Conference: calls of one phone, or of several, that hear each other. Mixed here by Web Audio; nothing is needed of the
// server. Each call is sent its own mix: the microphone and everybody else.

function failure(code, message) {
  return Object.assign(new Error(message), { name: 'SoftphoneError', code, retryable: false });
}

export class Conference {
  /** A proxy of frameworks has no private fields. */
  get __v_skip() {
    return true;
  }

  #context;
  #ownsContext;
  /** Call → what it hears, what it brings, and how to forget it. */
  #members = new Map();

  constructor({ audioContext } = {}) {
    this.#context = audioContext;
    this.#ownsContext = !audioContext;
  }

  /** Those who take part, in the order in which they came. */
  get calls() {
    return [...this.#members.keys()];
  }

  async add(call) {
    if (this.#members.has(call)) return;
    if (call.state !== 'active' || !call.remoteStream) {
      throw failure('invalid_state', 'Only a call that is active can join a conference');
    }
    const context = (this.#context ??= new AudioContext());
    // Not waited for: without a gesture of the user it stays pending.
    if (context.state === 'suspended') context.resume().catch(() => {});
    const member = { hears: context.createMediaStreamDestination(), microphone: null, remote: null, stops: [] };
    this.#join(call, member);
    try {
      await call.replaceAudioTrack(member.hears.stream.getAudioTracks()[0], { mixed: true });
    } catch (error) {
      this.#forget(call);
      throw error;
    }
  }

  /** The call takes this place, of its own or of the call that it has replaced. */
  #join(call, member) {
    this.#members.set(call, member);
    const tune = () => this.#tune(call, member);
    tune();
    member.stops = [
      call.on('hold', () => this.#connect()),
      // Another track of the same stream, which the graph does not follow by itself.
      call.on('remoteTrack', tune),
      call.on('microphone', ({ state }) => state === 'live' && tune()),
      call.on('state', ({ state }) => state === 'active' && tune()),
      // The mix goes on with the call that takes its place, which sends it already.
      call.on('replaced', ({ call: next }) => this.#replace(call, next)),
      // Its own end: there is nothing to give back.
      call.on('ended', () => this.#forget(call)),
    ];
  }

  /** Takes what the call brings now. */
  #tune(call, member) {
    member.microphone?.disconnect();
    member.remote?.disconnect();
    const source = (stream) => (stream ? this.#context.createMediaStreamSource(stream) : null);
    // The call's own microphone, which `call.mute()` silences: whoever is muted for one call is heard by the others.
    member.microphone = source(call.localStream);
    member.remote = source(call.remoteStream);
    member.microphone?.connect(member.hears);
    this.#connect();
  }

  #replace(call, next) {
    const member = this.#members.get(call);
    if (!member || this.#members.has(next)) return;
    this.#members.delete(call);
    for (const stop of member.stops) stop();
    this.#join(next, member);
  }

  /** The call goes on by itself, with its microphone. */
  async remove(call) {
    if (!this.#forget(call)) return;
    if (call.state !== 'ended') await call.replaceAudioTrack(null);
  }

  /** All calls go on by themselves. */
  async end() {
    await Promise.all(this.calls.map((call) => this.remove(call)));
  }

  /** Who hears whom, as things stand. A call on hold, by either side, brings nothing: no music on hold for the others. */
  #connect() {
    for (const [call, { remote }] of this.#members) {
      remote?.disconnect();
      if (!remote || call.localHold || call.remoteHold) continue;
      for (const [other, { hears }] of this.#members) {
        if (other !== call) remote.connect(hears);
      }
    }
  }

  #forget(call) {
    const member = this.#members.get(call);
    if (!member) return false;
    this.#members.delete(call);
    for (const stop of member.stops) stop();
    member.microphone?.disconnect();
    member.remote?.disconnect();
    this.#connect();
    // Ours, not the call's.
    for (const track of member.hears.stream.getTracks()) track.stop();
    if (this.#members.size === 0 && this.#ownsContext) {
      this.#context.close().catch(() => {});
      this.#context = undefined;
    }
    return true;
  }
}
