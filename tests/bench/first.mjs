/** The first of everything in a fresh page, where no code is compiled yet. */

import assert from 'node:assert/strict';

import { bundle } from './libraries.mjs';
import { compare, inTurn } from './figures.mjs';
import { openBench, serveBench } from './bench-page.mjs';

const SAMPLES = 15;
const KINDS = ['MESSAGE', 'INVITE'];

export async function first(browser, all, { rounds = SAMPLES }) {
  const served = await serveBench(await bundle(all, 'phone'));
  const samples = { load: {}, ...Object.fromEntries(KINDS.map((kind) => [kind, {}])) };
  try {
    for (let round = 0; round < rounds; round += 1) {
      for (const kind of KINDS) {
        for (const { name } of inTurn(all, round)) {
          const page = await openBench(browser, served.url, name);
          await page.evaluate(() => globalThis.bench.start());
          const { event } = await page.evaluate((what) => globalThis.bench.first(what), kind);
          assert.deepEqual(page.problems, []);
          (samples.load[name] ??= []).push(page.loadTime);
          (samples[kind][name] ??= []).push(event);
          await page.context().close();
        }
      }
    }
  } finally {
    await served.close();
  }
  const rows = [['load', samples.load], ...KINDS.map((kind) => [`first ${kind}: to the event`, samples[kind]])];
  return {
    title: 'The first of everything',
    table: compare(all, rows, 'ms'),
    method: `Each sample is a new browser context with nothing cached, ${rounds} for each kind of message, the libraries in turn. "Load" is \`import()\` of the minified bundle from a server on the loopback interface, and for this package \`init()\`, which fetches and compiles the module. The telephone registers, then its first MESSAGE or INVITE comes.`,
  };
}
