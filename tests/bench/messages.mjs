/** What a message costs: from the socket's listener to the application's event, and to the end of all that follows. */

import { bundle } from './libraries.mjs';
import { compare, digits, inTurn, median } from './figures.mjs';
import { openBench, serveBench } from './bench-page.mjs';

/** Of each kind, before anything is measured: by then the browser has compiled what is used often. */
const WARM_UP = 500;
/** Short rounds, so that the libraries meet the same moments of a machine that does other things too. */
const TIMES = 100;
const ROUNDS = 25;
const KINDS = ['MESSAGE', 'OPTIONS', 'NOTIFY', 'INVITE'];

export async function messages(browser, all, { rounds = ROUNDS }) {
  const served = await serveBench(await bundle(all, 'phone'));
  const pages = new Map();
  try {
    for (const { name } of all) {
      const page = await openBench(browser, served.url, name);
      await page.evaluate(() => globalThis.bench.start().then(() => globalThis.bench.watch()));
      pages.set(name, page);
    }
    const round = (name, kind, times) => pages.get(name).evaluate(([what, count]) => globalThis.bench.round(what, count), [kind, times]);
    const samples = Object.fromEntries(KINDS.map((kind) => [kind, { event: {}, all: {} }]));
    const harness = [];
    const lengths = {};
    for (const kind of KINDS) {
      for (const { name } of all) await round(name, kind, WARM_UP);
    }
    for (let number = 0; number < rounds; number += 1) {
      for (const kind of KINDS) {
        for (const { name } of inTurn(all, number)) {
          const result = await round(name, kind, TIMES);
          for (const what of ['event', 'all']) {
            if (result[what] !== null) (samples[kind][what][name] ??= []).push(result[what]);
          }
          harness.push(result.harness);
          lengths[kind] = result.length;
        }
      }
    }
    const rows = KINDS.flatMap((kind) => [
      ...(Object.keys(samples[kind].event).length > 0 ? [[`${kind}: to the event`, samples[kind].event]] : []),
      [`${kind}: all of it`, samples[kind].all],
    ]);
    return {
      title: 'What a message costs',
      table: compare(all, rows, 'µs'),
      method: `Each library is in a page of its own, minified, registered with a server that is played in the page by an object in place of the WebSocket. The message is handed to the socket's listener as a string that the browser has made of bytes, in a task of its own. "To the event" ends where the application's listener begins. "All of it" goes on until every promise that follows has settled and the response is with the socket, which takes it into bytes as a real one does. For an INVITE it is the sum of three parts: it comes and rings (180), the application refuses it (486), the ACK comes. NOTIFY is one in the dialog of a subscription. OPTIONS is answered without the application. The requests are ${Object.entries(lengths).map(([kind, length]) => `${length} (${kind})`).join(', ')} characters long, as of a PBX behind a proxy, and all different. After ${WARM_UP} of each kind, ${rounds} rounds of ${TIMES} of each kind, the libraries in turn; a round is the mean of its messages, garbage collection included, without the ${digits(median(harness))} µs that measuring takes itself. Every response and every event is checked.`,
    };
  } finally {
    for (const page of pages.values()) await page.context().close();
    await served.close();
  }
}
