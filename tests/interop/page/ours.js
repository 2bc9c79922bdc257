import init, { DialStrategy } from '/pkg/index.js';

import * as events from '/pkg/events.js';

import { offer } from './party.js';

await init();

let phone;
/** What tests ask beside the calls. */
Object.assign(globalThis, { events, log: [], registrations: [], dialed: null });

const party = offer({
  async register({ server, domain, user, password, ...more }) {
    phone = new DialStrategy({
      servers: server,
      uri: `sip:${user}@${domain}`,
      credentials: { username: user, password },
      iceServers: [],
      debug: true,
      // JsSIP's INVITE does not name who has asked for it (Referred-By), so that by default it would ring.
      replaces: 'any',
      ...more,
    });
    globalThis.phone = phone;
    phone.on('log', ({ text }) => {
      globalThis.log.push(text);
    });
    phone.on('registration', ({ state, error }) => {
      globalThis.registrations.push({ at: Date.now(), state, code: error?.code });
    });
    phone.on('call', ({ call, state }) => {
      const known = party.calls.find(({ handle }) => handle === call) ?? begin(call);
      known.state = STATES[state] ?? state;
      known.states.push(state);
    });
    await phone.connect();
  },
  async unregister() {
    await phone.disconnect();
    phone.free();
  },
  dial: (target) => {
    globalThis.dialed = null;
    phone.dial(target).then(({ success, error }) => {
      globalThis.dialed = { success, code: error?.code, sipStatus: error?.sipStatus };
    });
  },
  answer: ({ handle }) => handle.answer(),
  hangup: ({ handle }) => handle.hangup(),
  hold: ({ handle }) => handle.hold(),
  unhold: ({ handle }) => handle.unhold(),
  dtmf: ({ handle }, tones, method) => handle.sendDtmf(tones, { method, duration: 500 }),
  transfer: ({ handle }, target) => handle.transfer(typeof target === 'string' ? target : target.handle),
  connection: ({ handle }) => {
    const track = handle.remoteStream?.getAudioTracks()[0];
    return globalThis.peerConnections.find((connection) => connection.getReceivers().some((receiver) => receiver.track === track));
  },
});

const STATES = { 'connecting': 'new', 'early-media': 'ringing', 'reconnecting': 'active' };

function begin(handle) {
  const call = party.add(handle, handle.direction);
  call.states = [];
  handle.on('hold', ({ local, remote }) => Object.assign(call, { localHold: local, remoteHold: remote }));
  handle.on('dtmf', ({ tone }) => {
    call.dtmf += tone;
  });
  handle.on('ended', (reason) => {
    call.ended = reason;
  });
  try {
    handle.on('transferRequest', (request) => request.accept());
  } catch {
    // A package without call transfer.
  }
  return call;
}
