/** The call in progress: with whom, how long, how loud, how well, and what one can do. */

import { initials, userOf } from './address.js';
import { fillDialPad, flashKey, isDialKey } from './dial-pad.js';
import { byId, setIcon, settle } from './dom.js';
import { LevelMeter } from './level-meter.js';

const STATES = {
  'new': 'Preparing…',
  connecting: 'Calling…',
  ringing: 'Ringing…',
  'early-media': 'Ringing…',
  active: 'Connected',
  reconnecting: 'Connection lost, trying again…',
  ended: 'Ended',
};

export function remoteName(call) {
  const { uri, displayName, assertedIdentity, assertedDisplayName, private: hidden } = call.remote;
  if (assertedIdentity) return assertedDisplayName || userOf(assertedIdentity);
  return hidden ? 'Number withheld' : displayName || userOf(uri);
}

export class CallView {
  #box = byId('call');
  #timer = byId('call-timer');
  #quality = byId('call-quality');
  #mute = byId('mute');
  #keypad = byId('call-keypad');
  #hold = byId('hold');
  #keypadToggle = byId('keypad-toggle');
  #tones = byId('call-tones');
  #meters = { out: new LevelMeter(byId('level-out')), in: new LevelMeter(byId('level-in')) };
  #context;
  #sendTone;
  #call = null;
  #stopListening = null;
  #frame = 0;

  /** @param handlers `{ hangup(), toggleMute(), toggleHold(), addCall(), sendTone(key) }` */
  constructor(context, handlers) {
    this.#context = context;
    this.#sendTone = (key) => {
      this.#tones.value += key;
      handlers.sendTone(key);
    };
    fillDialPad(byId('tone-pad'), this.#sendTone);
    byId('hangup').addEventListener('click', handlers.hangup);
    this.#mute.addEventListener('click', handlers.toggleMute);
    this.#hold.addEventListener('click', handlers.toggleHold);
    byId('add-call').addEventListener('click', handlers.addCall);
    this.#keypadToggle.addEventListener('click', () => this.#openKeypad(this.#keypad.hidden));
  }

  /** Shows `call` as it now is, and the address that it was sent on to; `null` puts the view away. */
  show(call, { sentOn }) {
    if (call?.id !== this.#call?.id) {
      if (this.#call) this.#end();
      if (call) this.#begin(call);
    }
    if (!call) return;
    this.#call = call;
    byId('call-state').textContent = call.direction === 'incoming' && call.state === 'connecting' ? 'Answering…' : STATES[call.state];
    byId('call-state').hidden = call.state === 'active';
    const active = call.state === 'active' || call.state === 'reconnecting';
    this.#timer.hidden = !active;
    this.#mute.disabled = !call.localStream;
    this.#mute.setAttribute('aria-pressed', String(call.muted));
    setIcon(this.#mute, call.muted ? 'icon-mic-off' : 'icon-mic');
    this.#hold.disabled = !active;
    this.#hold.setAttribute('aria-pressed', String(call.localHold));
    byId('add-call').disabled = !active;
    byId('call-hold').textContent = holdText(call);
    byId('call-sent-on').textContent = sentOn ? `Sent on to ${sentOn}` : '';
    this.#keypadToggle.disabled = !active;
    byId('call-levels').classList.toggle('waiting', !call.remoteStream);
    this.#meters.out.follow(this.#context, call.localStream);
    this.#meters.in.follow(this.#context, call.remoteStream);
  }

  /** A key typed during the call: a tone. */
  type(key) {
    if (!isDialKey(key) || this.#keypadToggle.disabled) return false;
    this.#openKeypad(true);
    flashKey(byId('tone-pad'), key);
    this.#sendTone(key);
    return true;
  }

  #begin(call) {
    this.#showRemote(call);
    this.#tones.value = '';
    this.#quality.textContent = '';
    this.#timer.textContent = '0:00';
    this.#openKeypad(false);
    settle(this.#box);
    this.#box.hidden = false;
    byId('call-remote').focus();
    const stops = [
      call.on('stats', (stats) => { this.#quality.textContent = quality(stats); }),
      call.on('remote', () => this.#showRemote(call)),
    ];
    this.#stopListening = () => stops.forEach((stop) => stop());
    const frame = (now) => {
      this.#meters.out.update(now);
      this.#meters.in.update(now);
      this.#showTime();
      this.#frame = requestAnimationFrame(frame);
    };
    this.#frame = requestAnimationFrame(frame);
  }

  #showRemote(call) {
    const name = remoteName(call);
    byId('call-avatar').textContent = initials(name);
    byId('call-remote').textContent = name;
    byId('call-address').textContent = call.remote.assertedIdentity ?? call.remote.uri;
  }

  #end() {
    cancelAnimationFrame(this.#frame);
    this.#stopListening?.();
    this.#stopListening = null;
    this.#meters.out.follow(this.#context, null);
    this.#meters.in.follow(this.#context, null);
    this.#box.hidden = true;
    this.#call = null;
  }

  #showTime() {
    const { startedAt } = this.#call;
    if (startedAt === null) return;
    const text = duration(Date.now() - startedAt);
    if (this.#timer.textContent !== text) this.#timer.textContent = text;
  }

  #openKeypad(open) {
    this.#keypad.hidden = !open;
    this.#keypadToggle.setAttribute('aria-expanded', String(open));
  }
}

function holdText({ localHold, remoteHold }) {
  if (localHold && remoteHold) return 'On hold by both sides';
  if (localHold) return 'On hold';
  return remoteHold ? 'The other side has put you on hold' : '';
}

/** Milliseconds as m:ss, or h:mm:ss. */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const two = (value) => String(value).padStart(2, '0');
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes}:${two(seconds % 60)}`
    : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`;
}

function quality({ codec, mos, roundTripTime, jitter, packetLoss }) {
  return [
    codec,
    mos !== null && `quality ${mos.toFixed(1)} of 4.5`,
    packetLoss !== null && `${(packetLoss * 100).toFixed(packetLoss < 0.1 ? 1 : 0)} % lost`,
    jitter !== null && `jitter ${Math.round(jitter)} ms`,
    roundTripTime !== null && `round trip ${Math.round(roundTripTime)} ms`,
  ].filter(Boolean).join(' · ');
}
