/** The session with the call proxy: a short-lived token, as an application's own login would hand it out. */

import { fetchDemo } from './demo.js';

/** The token lives for 15 minutes; a call that begins shall not end with it. */
const FRESH = 10 * 60 * 1000;

/**
 * `config` with `proxyHeaders` as a function. The token at hand is returned as it is, not as a promise: a page that
 * is being closed cancels its call with it and has no time to wait.
 */
export function withFreshSession(config) {
  let headers = config.proxyHeaders;
  let since = Date.now();
  let renewing = null;
  const renew = async () => {
    const { elks } = await fetchDemo();
    const fresh = elks.find(({ uri }) => uri === config.uri);
    if (!fresh) throw new Error('The server has no such 46elks account any more.');
    headers = fresh.proxyHeaders;
    since = Date.now();
    return headers;
  };
  const current = () => {
    if (Date.now() - since < FRESH) return headers;
    // Requests that go out together need one new token.
    renewing ??= renew().finally(() => { renewing = null; });
    return renewing;
  };
  return { ...config, proxyHeaders: current };
}
