/** The first of everything in a fresh page, where no code is compiled yet. */

import assert from 'node:assert/strict';

import { bundle } from './libraries.mjs';
import { compare, inTurn } from './figures.mjs';
import { openBench, serveBench } from './bench-page.mjs';

const SAMPLES = 15;
const KINDS = ['MESSAGE', 'INVITE'];
/** So many come after the first one: more than most pages ever see. */
const NEXT = 100;

export async function first(browser, all, { rounds = SAMPLES }) {
  const served = await serveBench(await bundle(all, 'phone'));
  const samples = { load: {}, ...Object.fromEntries(KINDS.flatMap((kind) => [[kind, {}], [`next ${kind}`, {}]])) };
  try {
    for (let round = 0; round < rounds; round += 1) {
      for (const kind of KINDS) {
        for (const { name } of inTurn(all, round)) {
          const page = await openBench(browser, served.url, name);
          await page.evaluate(() => globalThis.bench.start());
          const { event } = await page.evaluate((what) => globalThis.bench.first(what), kind);
          const next = await page.evaluate(([what, times]) => globalThis.bench.round(what, times), [kind, NEXT]);
          assert.deepEqual(page.problems, []);
          (samples.load[name] ??= []).push(page.loadTime);
          (samples[kind][name] ??= []).push(event);
          (samples[`next ${kind}`][name] ??= []).push(next.event / 1000);
          await page.context().close();
        }
      }
    }
  } finally {
    await served.close();
  }
  const rows = [['load', samples.load], ...KINDS.flatMap((kind) => [
    [`first ${kind}: to the event`, samples[kind]],
    [`each of the next ${NEXT}`, samples[`next ${kind}`]],
  ])];
  return {
    title: 'The first of everything',
    table: compare(all, rows, 'ms'),
    method: `Each sample is a new browser context with nothing cached, ${rounds} for each kind of message, the libraries in turn. "Load" is \`import()\` of the minified bundle from a server on the loopback interface, and for this package \`init()\`, which fetches and compiles the module. The telephone registers, then its first MESSAGE or INVITE comes, as in the table above, and ${NEXT} more. The browser compiles what is used often once more and better: these figures are for before that, those above for after it.`,
  };
}
