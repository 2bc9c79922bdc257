import { fileURLToPath } from 'node:url';

import { watchPage } from '../support/browser.mjs';
import { serveStatic } from '../support/static-server.mjs';
import { playServer } from './server.mjs';

/** Only pages of their own have a clock that is exact to 5 µs (High Resolution Time, section 4.2). */
const ISOLATED = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-resource-policy': 'same-origin',
};

/** Serves the page that measures, and bundled libraries. */
export function serveBench(bundled) {
  return serveStatic({ '/': fileURLToPath(new URL('page/', import.meta.url)), '/libraries/': bundled }, {}, ISOLATED);
}

/** A fresh page with a library in it. Milliseconds that loading took are its `loadTime`. `script` runs first. */
export async function openBench(browser, url, name, script = undefined) {
  const context = await browser.newContext();
  await context.addInitScript(playServer);
  if (script) await context.addInitScript(script);
  const page = await context.newPage();
  page.problems = watchPage(page, name === 'ours' ? [] : [/^console: /]);
  await page.goto(`${url}/empty.html`);
  page.loadTime = await page.evaluate((library) => globalThis.bench.load(library), `/libraries/${name}/phone.js`);
  return page;
}
