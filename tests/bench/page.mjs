/** From the address of a page to a telephone that is registered, over a slow network, with nothing cached. */

import assert from 'node:assert/strict';

import { bundle, MODULE } from './libraries.mjs';
import { compare, inTurn, table } from './figures.mjs';
import { serveCompressed } from './compressed-server.mjs';
import { playServer } from './server.mjs';

const SAMPLES = 7;
const NETWORKS = [
  { megabits: 1.6, up: 0.75, latency: 150 },
  { megabits: 10, up: 10, latency: 40 },
];
const ENCODINGS = ['gzip', 'br'];

/** A page that does nothing but register. With `preload` the module is asked for as soon as the browser reads of it. */
const html = (name, preload) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Telephone</title>
<link rel="icon" href="data:,">
${preload ? `<link rel="preload" href="/${name}/${MODULE}" as="fetch" type="application/wasm" crossorigin>\n` : ''}<script type="module" src="/${name}/app.js"></script>
</head>
<body></body>
</html>
`;

export async function page(browser, all, { rounds = SAMPLES }) {
  // Ours twice: as a bundler leaves it, and with the module asked for at once.
  const variants = all.flatMap((library) => (library.package
    ? [library, { ...library, name: `${library.name}-preloaded`, of: library.name, preload: true, title: `${library.title}, preloaded` }]
    : [library]));
  const served = await serveCompressed(await bundle(all, 'app'), Object.fromEntries(variants.map(({ name, of, preload }) => [`/${name}.html`, html(of ?? name, preload)])));
  const samples = {};
  const bytes = {};
  try {
    for (const network of NETWORKS) {
      for (const encoding of ENCODINGS) {
        const row = `${network.megabits} Mbit/s, ${network.latency} ms, ${encoding}`;
        samples[row] = {};
        for (let round = 0; round < rounds; round += 1) {
          for (const { name } of inTurn(variants, round)) {
            served.only(encoding);
            const { time, size } = await visit(browser, `${served.url}/${name}.html`, network);
            (samples[row][name] ??= []).push(time);
            (bytes[encoding] ??= {})[name] = size;
            assert.equal(served.others, 0, 'the browser does not take this encoding');
          }
        }
      }
    }
  } finally {
    await served.close();
  }
  const sizes = table(['bytes of all files', ...variants.map(({ title }) => title)], ENCODINGS.map((encoding) => [encoding, ...variants.map(({ name }) => String(bytes[encoding][name]))]));
  return {
    title: 'From the address of a page to a registered telephone',
    table: `${compare(variants, Object.entries(samples), 'ms')}\n\n${sizes}`,
    method: `A page whose only script is the library and an application that registers, both in one minified bundle; this package's module is a file beside it, and in one column the HTML names it in a \`<link rel="preload">\`. From the start of the navigation to the application's word that it is registered, ${rounds} new browser contexts each, in turn. A server on the loopback interface sends compressed files (gzip 9, brotli 11); DevTools' network emulation makes them slow: so many Mbit/s down, ${NETWORKS.map(({ up }) => up).join(' and ')} up, and so many milliseconds added to each request, without handshakes. The SIP server answers at once.`,
  };
}

/** Milliseconds until it is registered, and what came over the network. */
async function visit(browser, url, { megabits, up, latency }) {
  const context = await browser.newContext();
  try {
    await context.addInitScript(playServer);
    await context.addInitScript(() => {
      globalThis.registered = Promise.withResolvers();
    });
    const tab = await context.newPage();
    const problems = [];
    tab.on('pageerror', (error) => problems.push(String(error)));
    const devtools = await context.newCDPSession(tab);
    await devtools.send('Network.enable');
    await devtools.send('Network.emulateNetworkConditions', {
      offline: false,
      latency,
      downloadThroughput: (megabits * 1e6) / 8,
      uploadThroughput: (up * 1e6) / 8,
    });
    await tab.goto(url, { waitUntil: 'commit' });
    const late = AbortSignal.timeout(60_000);
    const time = await Promise.race([
      tab.evaluate(() => globalThis.registered.promise),
      new Promise((_, reject) => late.addEventListener('abort', () => reject(new Error(`not registered: ${problems.join('\n')}`)))),
    ]);
    const [registrations, size] = await tab.evaluate(() => [
      globalThis.server.registrations,
      [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0),
    ]);
    assert.equal(registrations, 1, 'it has registered once');
    assert.deepEqual(problems, []);
    return { time, size };
  } finally {
    await context.close();
  }
}
