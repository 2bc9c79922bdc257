import init, { DialStrategy } from 'wasm-softphone';

import { account } from './account.js';

/** What a page waits for before it can make a telephone. */
export const ready = () => init();

/** Resolves once it is registered. `app` is told of what comes. */
export async function start(app) {
  const phone = new DialStrategy({
    servers: account.server,
    uri: account.uri,
    credentials: { username: account.user, password: account.password },
  });
  phone.on('message', ({ from, body }) => {
    app.happened();
    app.read(from, body);
  });
  phone.on('incoming', ({ call }) => {
    app.happened();
    app.rings(call.remote.uri, () => call.reject({ status: 486 }));
  });
  await phone.connect();
  return phone;
}

/** A subscription to the lamp of a colleague. */
export function watch(phone, app) {
  const subscription = phone.subscribe(account.lamp, 'dialog', { accept: 'application/dialog-info+xml' });
  subscription.on('notify', ({ body }) => {
    app.happened();
    app.read(account.lamp, body);
  });
}
