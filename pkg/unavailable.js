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
