import { Registerer, RegistererState, Subscriber, UserAgent } from 'sip.js';

import { account } from './account.js';

export const ready = async () => {};

export async function start(app) {
  const ua = new UserAgent({
    uri: UserAgent.makeURI(account.uri),
    authorizationUsername: account.user,
    authorizationPassword: account.password,
    transportOptions: { server: account.server },
    logBuiltinEnabled: false,
    logConfiguration: false,
    delegate: {
      onMessage: (message) => {
        app.happened();
        app.read(message.request.from.uri.toString(), message.request.body);
        message.accept();
      },
      onInvite: (invitation) => {
        app.happened();
        app.rings(invitation.remoteIdentity.uri.toString(), () => invitation.reject({ statusCode: 486 }));
      },
    },
  });
  await ua.start();
  const registerer = new Registerer(ua);
  const registered = Promise.withResolvers();
  registerer.stateChange.addListener((state) => {
    if (state === RegistererState.Registered) registered.resolve();
  });
  await registerer.register();
  await registered.promise;
  return ua;
}

export function watch(ua, app) {
  const subscriber = new Subscriber(ua, UserAgent.makeURI(account.lamp), 'dialog', { expires: 3600 });
  subscriber.delegate = {
    onNotify: (notification) => {
      app.happened();
      app.read(account.lamp, notification.request.body);
      notification.accept();
    },
  };
  subscriber.subscribe();
  // As long as the page: nothing else holds it.
  globalThis.watched = subscriber;
}
