/** Where the time of a message goes, by function, in a build of this package whose functions have names. */

import { writeFile } from 'node:fs/promises';

import { bundle, libraries } from './libraries.mjs';
import { openBench, serveBench } from './bench-page.mjs';
import { digits, table } from './figures.mjs';

const WARM_UP = 300;
const TIMES = { MESSAGE: 5000, NOTIFY: 3000, INVITE: 1500 };
const SHOWN = 40;
/** The most characters of a function's name. */
const WIDEST = 100;
/** Microseconds between two samples. */
const INTERVAL = 100;

export async function profile(browser, file) {
  const [ours] = libraries();
  const served = await serveBench(await bundle([ours], 'phone', { minify: false }));
  const parts = [];
  try {
    for (const [kind, times] of Object.entries(TIMES)) {
      const [{ event, all, sums }, crossings] = [await timed(browser, served.url, ours, kind, times), await counted(browser, served.url, ours, kind)];
      const sum = (some) => some.reduce((total, [, value]) => total + value, 0);
      const total = sum(sums);
      const rows = (some) => some.map(([name, value]) => [name, digits(value)]);
      parts.push(
        `${kind}: with the profiler on, ${digits(event)} µs to the event and ${digits(all)} of all. Below ${digits(total)} µs, of which ${digits(sum(sums.slice(SHOWN)))} in other functions than those shown.`,
        table(['where', 'µs', '%'], byPlace(sums).map(([place, time]) => [place, digits(time), digits((time / total) * 100)])),
        table(['function', 'µs, itself', '%'], sums.slice(0, SHOWN).map(([name, time]) => [name, digits(time), digits((time / total) * 100)])),
        `${digits(sum(crossings.filter(([name]) => /^(in|out): /.test(name))))} crossings of the boundary, and calls of what copies strings and sets properties:`,
        table(['called', 'times a message'], rows(crossings)),
      );
    }
  } finally {
    await served.close();
  }
  const text = `${parts.join('\n\n')}\n`;
  await writeFile(file, text);
  console.log(text);
}

/** The module, its glue, what the browser does for them, and this bench with what it calls. */
function byPlace(sums) {
  const places = new Map();
  for (const [name, time] of sums) {
    const place = name.startsWith('(garbage collector)') ? 'garbage collector' : /\[(\w+)\]$/.exec(name)[1];
    places.set(place, (places.get(place) ?? 0) + time);
  }
  return [...places].sort((a, b) => b[1] - a[1]);
}

const round = (page, kind, count) => page.evaluate(([what, number]) => globalThis.bench.round(what, number), [kind, count]);

async function ready(browser, url, { name }, script) {
  const page = await openBench(browser, url, name, script);
  await page.evaluate(() => globalThis.bench.start().then(() => globalThis.bench.watch()));
  return page;
}

async function timed(browser, url, library, kind, times) {
  const page = await ready(browser, url, library);
  try {
    const devtools = await page.context().newCDPSession(page);
    await devtools.send('Profiler.enable');
    await devtools.send('Profiler.setSamplingInterval', { interval: INTERVAL });
    await round(page, kind, WARM_UP);
    await devtools.send('Profiler.start');
    const { event, all } = await round(page, kind, times);
    const { profile: taken } = await devtools.send('Profiler.stop');
    const sums = [...selfTimes(taken)].map(([name, time]) => [name, time / times]).sort((a, b) => b[1] - a[1]);
    return { event, all, sums };
  } finally {
    await page.context().close();
  }
}

/** In a page of its own, since counting takes time too. */
async function counted(browser, url, library, kind) {
  const page = await ready(browser, url, library, countCrossings);
  try {
    await page.evaluate(() => globalThis.crossings.clear());
    await round(page, kind, WARM_UP);
    const counts = await page.evaluate(() => [...globalThis.crossings]);
    return counts.map(([name, count]) => [name, count / WARM_UP]).sort((a, b) => b[1] - a[1]).filter(([, count]) => count >= 0.1);
  } finally {
    await page.context().close();
  }
}

/** For `context.addInitScript`: counts the calls in and out of the module. Runs in the page. */
function countCrossings() {
  globalThis.crossings = new Map();
  const count = (name) => globalThis.crossings.set(name, (globalThis.crossings.get(name) ?? 0) + 1);
  const counting = (functions, direction) => Object.fromEntries(Object.entries(functions).map(([name, value]) => [name, typeof value !== 'function' ? value : (...given) => {
    count(`${direction} ${name.replaceAll(/_+[0-9a-f]{16}(?![0-9a-f])/g, '').slice(0, 80)}`);
    return value(...given);
  }]));
  for (const [owner, name] of [[TextDecoder.prototype, 'decode'], [TextEncoder.prototype, 'encodeInto'], [TextEncoder.prototype, 'encode'], [Reflect, 'set'], [Reflect, 'get']]) {
    const real = owner[name];
    owner[name] = function (...given) {
      count(`of the browser: ${name}`);
      return real.apply(this, given);
    };
  }
  const { instantiateStreaming } = WebAssembly;
  WebAssembly.instantiateStreaming = async (source, imports) => {
    const { module, instance } = await instantiateStreaming.call(WebAssembly, source, Object.fromEntries(Object.entries(imports).map(([name, functions]) => [name, counting(functions, 'out:')])));
    return { module, instance: { exports: counting(instance.exports, 'in:') } };
  };
}

/** Where a function is from, by a part of its address. */
const PLACES = [['.wasm', 'module'], ['wasm:', 'module'], ['/libraries/', 'glue'], ['http', 'bench']];

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
    const place = PLACES.find(([end]) => url.includes(end))?.[1] ?? 'browser';
    // Without the hashes of crates and of wasm-bindgen.
    const plain = functionName.replaceAll(/\[[0-9a-f]{16}\]|_[0-9a-f]{16}$/g, '');
    const name = `${(plain || '(no name)').slice(0, WIDEST)} [${collecting ? 'browser' : place}]`;
    sums.set(name, (sums.get(name) ?? 0) + timeDeltas[at]);
  });
  return sums;
}
