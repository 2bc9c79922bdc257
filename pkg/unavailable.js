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

// How long to wait for a server that was asked for a page.
const PROBE_MS = 3_000;

/** Puts the cause into the hint of an error with the code `transport`, where the page can tell it: `violations` of its policy meanwhile,
 *  and the `servers` of the configuration. */
export async function explain(error, violations, servers) {
  const given = Array.isArray(servers) ? servers[0] : servers;
  const address = given?.url ?? given;
  if (typeof address !== 'string') return;
  const { protocol, host, pathname } = new URL(address);
  const blocked = violations.find((event) => event.disposition === 'enforce' && /^wss?:/.test(event.blockedURI));
  if (blocked) {
    error.hint = `The page's Content-Security-Policy blocks the connection: add ${protocol}//${host} to connect-src.`;
    return;
  }
  const isHere = /^(localhost|127\.|\[::1\])/.test(host);
  if (protocol === 'ws:' && location.protocol === 'https:' && !isHere) {
    error.hint = 'An https: page may not open ws: connections: give the server a certificate, and use wss://.';
    return;
  }
  if (error.message.includes('local network')) {
    // It cannot be allowed there.
    if (!isSecureContext) error.hint = 'Browsers let only secure pages reach the local network: serve this page over HTTPS.';
    return;
  }
  // The module, or the entry, knows better.
  if (!error.hint?.startsWith("Check the server's address")) return;
  // A browser does not say why a WebSocket was not opened. Whether anything answers at that address, it does.
  const web = `${protocol === 'ws:' ? 'http:' : 'https:'}//${host}${pathname}`;
  const options = { mode: 'no-cors', credentials: 'omit', cache: 'no-store', signal: AbortSignal.timeout(PROBE_MS) };
  const answers = await fetch(web, options).then(() => true, () => false);
  error.hint = answers
    ? `A web server answers at ${host}, and opens no WebSocket for SIP there: check the path (${pathname}), and the proxy before it.`
    : `Nothing answers at ${host}, or its certificate is not valid: open ${new URL(web).origin} in a tab to see which.`;
}
