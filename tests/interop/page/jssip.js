import JsSIP from 'jssip';

import { offer } from './party.js';

// A new object each time: JsSIP keeps the Replaces header of a transfer in it, for every call that follows.
const media = () => ({ mediaConstraints: { audio: true, video: false }, pcConfig: { iceServers: [] } });

let ua;

const party = offer({
  register({ server, domain, user, password }) {
    ua = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(server)],
      uri: `sip:${user}@${domain}`,
      password,
    });
    ua.on('newRTCSession', ({ session, originator, request }) => begin(session, originator, request));
    return new Promise((resolve, reject) => {
      ua.on('registered', () => resolve());
      ua.on('registrationFailed', ({ cause }) => reject(new Error(cause)));
      ua.start();
    });
  },
  unregister: () => ua.stop(),
  dial: (target) => {
    ua.call(target, media());
  },
  answer: ({ handle }) => handle.answer(media()),
  hangup: ({ handle }) => handle.terminate(),
  hold: ({ handle }) => done((callback) => handle.hold({}, callback)),
  unhold: ({ handle }) => done((callback) => handle.unhold({}, callback)),
  dtmf: ({ handle }, tones, method) => handle.sendDTMF(tones, { duration: 500, transportType: method === 'rtp' ? 'RFC2833' : 'INFO' }),
  /** JsSIP leaves it to the application to end the call once the transfer is through. */
  transfer: ({ handle }, target) => new Promise((resolve, reject) => {
    const consultation = typeof target === 'string' ? null : target.handle;
    handle.refer(consultation ? consultation.remote_identity.uri : target, {
      ...(consultation && { replaces: consultation }),
      eventHandlers: {
        accepted: () => {
          handle.terminate();
          if (consultation && !consultation.isEnded()) consultation.terminate();
          resolve();
        },
        failed: ({ status_line }) => reject(new Error(`transfer: ${status_line.status_code}`)),
        requestFailed: ({ cause }) => reject(new Error(`REFER: ${cause}`)),
      },
    });
  }),
  connection: ({ handle }) => handle.connection,
});

function done(begin) {
  return new Promise((resolve, reject) => {
    if (!begin(resolve)) reject(new Error('not in this state'));
  });
}

function begin(session, originator, request) {
  const call = party.add(session, originator === 'remote' ? 'incoming' : 'outgoing');
  if (originator === 'remote') call.state = 'ringing';
  session.on('progress', () => {
    call.state = 'ringing';
  });
  session.on('confirmed', () => {
    call.state = 'active';
  });
  for (const end of ['ended', 'failed']) {
    session.on(end, ({ originator, cause }) => {
      call.state = 'ended';
      call.ended = { by: originator, code: cause };
    });
  }
  for (const [type, held] of [['hold', true], ['unhold', false]]) {
    session.on(type, ({ originator }) => {
      call[originator === 'local' ? 'localHold' : 'remoteHold'] = held;
    });
  }
  session.on('newDTMF', ({ originator, dtmf }) => {
    if (originator === 'remote') call.dtmf += dtmf.tone;
  });
  session.on('refer', ({ accept }) => accept(null, media()));
  session.on('replaces', ({ accept }) => accept());
  // The user has answered the call that this one replaces (RFC 3891, section 3).
  if (originator === 'remote' && request.hasHeader('replaces')) queueMicrotask(() => session.answer(media()));
}
