import JsSIP from 'jssip';

import { account } from './account.js';

export const ready = async () => {};

export function start(app) {
  const ua = new JsSIP.UA({
    sockets: [new JsSIP.WebSocketInterface(account.server)],
    uri: account.uri,
    authorization_user: account.user,
    password: account.password,
  });
  ua.on('newMessage', ({ originator, request }) => {
    if (originator !== 'remote') return;
    app.happened();
    app.read(request.from.uri.toString(), request.body);
  });
  ua.on('newRTCSession', ({ originator, session }) => {
    if (originator !== 'remote') return;
    app.happened();
    app.rings(session.remote_identity.uri.toString(), () => session.terminate({ status_code: 486 }));
  });
  return new Promise((resolve, reject) => {
    ua.on('registered', () => resolve(ua));
    ua.on('registrationFailed', ({ cause }) => reject(new Error(cause)));
    ua.start();
  });
}

export function watch(ua, app) {
  const subscriber = ua.subscribe(account.lamp, 'dialog', 'application/dialog-info+xml', { expires: 3600 });
  subscriber.on('notify', (final, request, body) => {
    app.happened();
    app.read(account.lamp, body);
  });
  subscriber.subscribe();
}
