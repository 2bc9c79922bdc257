/** Where the time of a message goes, by function, in a build of this package whose functions have names. */

import { writeFile } from 'node:fs/promises';

import { bundle, libraries } from './libraries.mjs';
import { openBench, serveBench } from './bench-page.mjs';
import { digits, table } from './figures.mjs';

const WARM_UP = 300;
const TIMES = { MESSAGE: 5000, NOTIFY: 3000, INVITE: 1500 };
const SHOWN = 40;
/** Microseconds between two samples. */
const INTERVAL = 100;

export async function profile(browser, file) {
  const [ours] = libraries();
  const served = await serveBench(await bundle([ours], 'phone'));
  const page = await openBench(browser, served.url, ours.name);
  const parts = [];
  try {
    await page.evaluate(() => globalThis.bench.start().then(() => globalThis.bench.watch()));
    const devtools = await page.context().newCDPSession(page);
    await devtools.send('Profiler.enable');
    await devtools.send('Profiler.setSamplingInterval', { interval: INTERVAL });
    for (const [kind, times] of Object.entries(TIMES)) {
      const round = (count) => page.evaluate(([what, number]) => globalThis.bench.round(what, number), [kind, count]);
      await round(WARM_UP);
      await devtools.send('Profiler.start');
      const { event, all } = await round(times);
      const { profile: taken } = await devtools.send('Profiler.stop');
      const sums = [...selfTimes(taken)].map(([name, time]) => [name, time / times]).sort((a, b) => b[1] - a[1]);
      const total = sums.reduce((sum, [, time]) => sum + time, 0);
      parts.push(`${kind}: with the profiler on, ${digits(event)} µs to the event and ${digits(all)} of all; in what follows ${digits(total)} µs, of which the rest of the functions ${digits(sums.slice(SHOWN).reduce((sum, [, time]) => sum + time, 0))}\n\n${table(['function', 'µs, itself', '%'], sums.slice(0, SHOWN).map(([name, time]) => [name, digits(time), digits((time / total) * 100)]))}\n`);
    }
  } finally {
    await page.context().close();
    await served.close();
  }
  const text = parts.join('\n');
  await writeFile(file, text);
  console.log(text);
}

/** Microseconds by function, of what is called through a listener of the socket or of a promise of ours: not of measuring. */
function selfTimes({ nodes, samples, timeDeltas }) {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])));
  const isOurs = ({ callFrame: { url } }) => url.includes('/libraries/') || url.startsWith('wasm:');
  const within = new Map();
  const isWithin = (id) => {
    if (!within.has(id)) within.set(id, isOurs(byId.get(id)) || (parents.has(id) && isWithin(parents.get(id))));
    return within.get(id);
  };
  const sums = new Map();
  samples.forEach((id, at) => {
    const node = byId.get(id);
    const { functionName, url } = node.callFrame;
    const collecting = functionName === '(garbage collector)';
    if (!collecting && !isWithin(id)) return;
    const place = url.startsWith('wasm:') ? 'wasm' : url.includes('/libraries/') ? 'js' : url ? 'page' : 'browser';
    const name = `${functionName || '(no name)'} [${collecting ? 'browser' : place}]`;
    sums.set(name, (sums.get(name) ?? 0) + timeDeltas[at]);
  });
  return sums;
}
