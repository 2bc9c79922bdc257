import { SessionState, Web } from 'sip.js';

import { offer } from './party.js';

let manager;

const party = offer({
  async register({ server, domain, user, password, gruu = true }) {
    const registered = Promise.withResolvers();
    manager = new Web.SessionManager(server, {
      aor: `sip:${user}@${domain}`,
      maxSimultaneousSessions: 0,
      // With a GRUU: its own contact is an address that no proxy can route to, and that is where it sends transfers to.
      registererOptions: gruu ? { regId: 1, instanceId: crypto.randomUUID() } : {},
      media: { constraints: { audio: true, video: false } },
      userAgentOptions: {
        authorizationUsername: user,
        authorizationPassword: password,
        logConfiguration: false,
        logBuiltinEnabled: false,
        sipExtensionReplaces: 'Supported',
        sessionDescriptionHandlerFactoryOptions: { peerConnectionConfiguration: { iceServers: [] } },
      },
      delegate: {
        onRegistered: () => registered.resolve(),
        onCallCreated: (session) => begin(session),
        onCallReceived: (session) => {
          find(session).state = 'ringing';
          // The user has answered the call that this one replaces (RFC 3891, section 3).
          if (session.replacee) manager.answer(session);
        },
        onCallHold: (session, held) => {
          find(session).localHold = held;
        },
        onCallDTMFReceived: (session, tone) => {
          find(session).dtmf += tone;
        },
      },
    });
    await manager.connect();
    await manager.register();
    await registered.promise;
  },
  async unregister() {
    await manager.unregister();
    await manager.disconnect();
  },
  dial: async (target) => {
    await manager.call(target);
  },
  answer: ({ handle }) => manager.answer(handle),
  hangup: ({ handle }) => manager.hangup(handle),
  hold: ({ handle }) => inTurn(handle, () => manager.hold(handle)),
  unhold: ({ handle }) => inTurn(handle, () => manager.unhold(handle)),
  async dtmf({ handle }, tones, method) {
    for (const tone of tones) {
      if (method !== 'rtp') await manager.sendDTMF(handle, tone);
      else if (!handle.sessionDescriptionHandler.sendDtmf(tone, { duration: 500 })) throw new Error('DTMF was not sent');
    }
  },
  /** SIP.js leaves it to the application to end the call once the transfer is through. */
  transfer: ({ handle }, target) => new Promise((resolve, reject) => {
    const consultation = typeof target === 'string' ? null : target.handle;
    manager.transfer(handle, consultation ?? target, {
      requestDelegate: { onReject: ({ message }) => reject(new Error(`REFER: ${message.statusCode}`)) },
      onNotify: async (notification) => {
        await notification.accept();
        const status = Number(/^SIP\/2\.0 (\d{3})/.exec(notification.request.body)?.[1]);
        if (status < 200) return;
        if (status >= 300) {
          reject(new Error(`transfer: ${status}`));
          return;
        }
        for (const session of [handle, consultation]) {
          if (session?.state === SessionState.Established) await manager.hangup(session);
        }
        resolve();
      },
    }).catch(reject);
  }),
  connection: ({ handle }) => handle.sessionDescriptionHandler?.peerConnection,
});

const STATES = {
  [SessionState.Initial]: 'new',
  [SessionState.Establishing]: 'ringing',
  [SessionState.Established]: 'active',
  [SessionState.Terminating]: 'active',
  [SessionState.Terminated]: 'ended',
};

/** So long without a re-INVITE, and none is expected. */
const QUIET_MS = 250;

/**
 * SIP.js leaves it to the application to keep its offers apart from the other side's: one of its own is an error while it
 * awaits the ACK of another (and leaves its peer connection in have-local-offer), or when another comes while it makes one.
 */
async function inTurn(session, change) {
  const end = performance.now() + 5000;
  let quietSince = performance.now();
  for (;;) {
    const { reinviteUserAgentClient, reinviteUserAgentServer } = session.dialog ?? {};
    if (session.pendingReinvite || reinviteUserAgentClient || reinviteUserAgentServer) quietSince = performance.now();
    if (performance.now() - quietSince >= QUIET_MS) return change();
    if (performance.now() >= end) throw new Error('a re-INVITE does not come to its end');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function find(session) {
  return party.calls.find(({ handle }) => handle === session);
}

function begin(session) {
  const call = party.add(session, session.constructor.name === 'Invitation' || 'accept' in session ? 'incoming' : 'outgoing');
  session.stateChange.addListener((state) => {
    call.state = STATES[state];
  });
}
