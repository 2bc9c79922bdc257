// What to do where the WebAssembly module could not be loaded.

const RULES = [
  [() => typeof WebAssembly === 'undefined', 'This browser has no WebAssembly, or it is switched off.'],
  [
    (text) => /content security policy|\bCSP\b/i.test(text),
    "The page's Content-Security-Policy has to allow it: script-src 'wasm-unsafe-eval'.",
  ],
  [
    () => globalThis.location?.protocol === 'file:',
    'The page was opened from a file. Serve it over http://localhost instead.',
  ],
  [
    (text) => / is an HTML page$|magic/i.test(text),
    'The address leads to a page and not to the module: call init() without one, or give it the URL of wasm-softphone/wasm.',
  ],
  [
    (text) => /the server answers /.test(text),
    'The address leads nowhere: call init() without one, or copy wasm_softphone_bg.wasm of the package there.',
  ],
];

/** One sentence for this cause. */
export function hintFor(cause) {
  const text = String(cause?.message ?? cause);
  const rule = RULES.find(([fits]) => fits(text));
  return (
    rule?.[1] ??
    "Check the network, and that the page's Content-Security-Policy allows the address of the module in connect-src."
  );
}

const LOOPBACK = /^(localhost|127\.|\[::1\])/;

/** Puts the cause into the hint of an error with the code `transport`, where the page can tell it: `violations` of its policy meanwhile,
 *  and the `servers` of the configuration. */
export async function explain(error, violations, servers) {
  const given = Array.isArray(servers) ? servers[0] : servers;
  const address = given?.url ?? given;
  if (typeof address !== 'string') return;
  const { protocol, host } = new URL(address);
  const blocked = violations.find((event) => event.disposition === 'enforce' && event.blockedURI.startsWith('ws') && event.blockedURI.includes(`//${host}`));
  if (blocked) {
    error.hint = `The page's Content-Security-Policy blocks the connection: add ${protocol}//${host} to connect-src.`;
    return;
  }
  if (protocol === 'ws:' && location.protocol === 'https:' && !LOOPBACK.test(host)) {
    error.hint = 'An https: page may not open ws: connections: give the server a certificate, and use wss://.';
    return;
  }
  if (error.message.includes('local network')) {
    // It cannot be allowed there.
    if (!isSecureContext) error.hint = 'Browsers let only secure pages reach the local network: serve this page over HTTPS.';
    return;
  }
  // A browser does not say why a WebSocket was not opened, and to ask the server for a page would break the policies of many. Between
  // pages and servers of this machine it is not for want of a permission.
  const isOwn = LOOPBACK.test(host) && LOOPBACK.test(location.host);
  if (isOwn || error.hint?.startsWith("Check the server's address")) {
    const origin = `${protocol === 'ws:' ? 'http:' : 'https:'}//${host}`;
    error.hint = `No WebSocket for SIP could be opened at ${host}: check the address and the path. Open ${origin} in a tab to see whether anything answers there, and whether its certificate is valid.`;
  }
}
