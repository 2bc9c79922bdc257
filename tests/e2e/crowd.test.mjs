/**
 * Many telephones in one browser: registrations and calls at once, all by the server. Media are for a sample; the others have
 * in place of a peer connection something that agrees to all, and are put on hold. `CROWD=500,200,10` is the size: phones,
 * calls, and how many of them have media.
 */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';

import { launchBrowser } from '../support/browser.mjs';
import { freePort, Sandbox } from '../support/sandbox.mjs';
import { until } from '../support/until.mjs';
import { LoadPage } from './load-page.mjs';

const [PHONES, CALLS, SAMPLE] = (process.env.CROWD ?? '40,16,4').split(',').map(Number);
// Chromium opens 255 WebSockets for a profile at most; a page each keeps peer connections below 500 too.
const A_PAGE = 100;
const KIB = 1024;

describe(`${PHONES} phones, ${CALLS} calls at once`, { timeout: 30 * 60_000 }, () => {
  let sandbox;
  let browser;
  let pages = [];

  before(async () => {
    sandbox = new Sandbox(await freePort(), ['--crowd', String(PHONES)]);
    [browser] = await Promise.all([launchBrowser(), sandbox.start()]);
  });
  after(async () => {
    await browser?.close();
    await sandbox?.kill();
  });

  const server = async () => (await fetch(`${sandbox.url}/load.json`)).json();
  const everywhere = (act) => Promise.all(pages.map(act));
  const sum = (list, key) => list.reduce((total, one) => total + one[key], 0);
  const memory = async () => {
    const all = await everywhere((page) => page.memory());
    return { heap: sum(all, 'heap'), wasm: sum(all, 'wasm'), process: await residentSize() };
  };
  const messages = async () => (await everywhere((page) => page.page.evaluate(() => globalThis.load.messages()))).flat().sort((a, b) => a - b);

  /** Bytes of the browser's page processes that are in memory. */
  async function residentSize() {
    const devtools = await browser.newBrowserCDPSession();
    const { processInfo } = await devtools.send('SystemInfo.getProcessInfo');
    await devtools.detach();
    const sizes = processInfo.filter(({ type }) => type === 'renderer').map(async ({ id }) => {
      const status = await readFile(`/proc/${id}/status`, 'utf8').catch(() => '');
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * KIB;
    });
    return (await Promise.all(sizes)).reduce((total, size) => total + size, 0);
  }

  test('they register, talk, and leave nothing behind', async (t) => {
    const say = (text) => t.diagnostic(text);
    const time = async (act) => {
      const began = performance.now();
      await act();
      return (performance.now() - began) / 1000;
    };
    for (let first = 0; first < PHONES; first += A_PAGE) pages.push(await LoadPage.open(browser, sandbox.url));
    const empty = await memory();
    const idle = await everywhere((page) => page.count());

    const registering = await time(() =>
      everywhere((page, at) =>
        page.page.evaluate(async ([first, end, host]) => {
          globalThis.phones = new Map();
          const connect = async (number) => {
            const user = `crowd${number}`;
            const phone = new DialStrategy({ servers: `ws://${host}/sip`, uri: `sip:${user}@sandbox.test`, credentials: { username: user, password: `${user}-secret` }, iceServers: [] });
            globalThis.phones.set(number, phone);
            phone.on('incoming', ({ call }) => call.answer());
            await phone.connect();
          };
          for (let number = first; number < end; number += 10) {
            await Promise.all(Array.from({ length: Math.min(10, end - number) }, (_, more) => connect(number + more)));
          }
        }, [at * A_PAGE, Math.min((at + 1) * A_PAGE, PHONES), new URL(sandbox.url).host]),
      ),
    );
    const { connections, bindings } = await server();
    assert.deepEqual([connections, bindings], [PHONES, PHONES]);
    const registered = await memory();
    const quiet = await everywhere((page) => page.count());
    const registerMessages = await messages();
    const kib = (bytes, of) => `${(bytes / KIB / of).toFixed(1)} KiB`;
    say(`${PHONES} registered in ${registering.toFixed(1)} s; each: heap ${kib(registered.heap - empty.heap, PHONES)}, module ${kib(registered.wasm - empty.wasm, PHONES)}, process ${kib(registered.process - empty.process, PHONES)}`);

    const rounds = [];
    for (let round = 0; round < 2; round += 1) {
      // From the first half to the second: mostly from page to page.
      const dial = (begin, end) =>
        everywhere((page, at) =>
          page.page.evaluate(async ([from, to, far, sample]) => {
            globalThis.calls ??= [];
            const dial = async (number) => {
              const { call, error } = await globalThis.phones.get(number).dial(`sip:crowd${number + far}@sandbox.test`, { timeout: 120_000 });
              if (error) throw new Error(`the call of ${number}: ${error.code} ${error.message}`);
              if (number >= sample) await call.hold();
              globalThis.calls.push(call);
            };
            // Two at a time: it is one machine that does all of the media.
            for (let number = from; number < to; number += 2) {
              await Promise.all([number, number + 1].filter((one) => one < to).map(dial));
            }
          }, [Math.max(at * A_PAGE, begin), Math.min((at + 1) * A_PAGE, end), Math.floor(PHONES / 2), SAMPLE]),
        );
      const media = (there) => everywhere((page) => page.page.evaluate((there) => { globalThis.load.signallingOnly = !there; }, there));
      await media(true);
      const before = await memory();
      await dial(0, SAMPLE);
      const sample = await memory();
      await media(false);
      const dialling = await time(() => dial(SAMPLE, CALLS));
      assert.equal((await server()).calls, CALLS);
      const counts = await everywhere((page) => page.count());
      assert.equal(sum(counts, 'peerConnections'), 2 * CALLS);
      const active = await everywhere((page) => page.page.evaluate(() => [...globalThis.phones.values()].flatMap(({ calls }) => calls.map(({ state, localHold, remoteHold }) => `${state} ${localHold || remoteHold ? 'held' : 'open'}`))));
      assert.deepEqual(tally(active.flat()), { 'active held': 2 * (CALLS - SAMPLE), 'active open': 2 * SAMPLE });
      const flows = () => pages[0].page.evaluate(async () => {
        const open = globalThis.calls.filter(({ localHold }) => !localHold);
        const stats = await Promise.all(open.map((call) => call.stats()));
        return stats.map(({ bytesReceived, bytesSent }) => [bytesReceived, bytesSent]);
      });
      const first = await flows();
      assert.equal(first.length, SAMPLE);
      await until('audio flows both ways in every call that is open', async () => {
        const now = await flows();
        return now.every((counts, call) => counts.every((bytes, way) => bytes > first[call][way]));
      });
      const talking = await memory();

      await everywhere((page) =>
        page.page.evaluate(async () => {
          await Promise.all(globalThis.calls.splice(0).map((call) => call.hangup()));
        }),
      );
      // Both sides remember what was said for as long as it may come again: half a minute.
      await until('no call is left', async () => {
        const { calls, transactions } = await server();
        return calls === 0 && transactions === 0;
      }, { deadline: 90_000, every: 500 });
      // The phones still tidy up; timers are one a phone.
      await until('what they held is given back', async () => {
        const counts = await everywhere((page) => page.count());
        assert.deepEqual(counts, quiet);
        return true;
      }, { deadline: 60_000, every: 200 });
      const ended = await memory();
      rounds.push({ talking, ended });
      say(`round ${round + 1}: ${CALLS - SAMPLE} calls up in ${dialling.toFixed(1)} s; each end of one: heap ${kib(talking.heap - sample.heap, 2 * (CALLS - SAMPLE))}, module ${kib(talking.wasm - sample.wasm, 2 * (CALLS - SAMPLE))}, process ${kib(talking.process - sample.process, 2 * (CALLS - SAMPLE))}; of one with media: process ${kib(sample.process - before.process, 2 * SAMPLE)}; after them, of all: heap +${kib(ended.heap - registered.heap, 1)}, module ${kib(ended.wasm, 1)}`);
    }
    const took = [...registerMessages, ...(await messages())].sort((a, b) => a - b);
    const at = (share) => took[Math.min(took.length - 1, Math.floor(share * took.length))].toFixed(2);
    say(`${took.length} messages: ${(took.reduce((total, one) => total + one, 0) / took.length).toFixed(2)} ms each, half within ${at(0.5)} ms, 99 % within ${at(0.99)} ms`);

    // What is free lies scattered, so one more page of each module's memory may be needed.
    const grown = rounds[1].ended.wasm - rounds[0].ended.wasm;
    assert.ok(grown <= pages.length * 64 * KIB, `the module has grown by ${grown} bytes with the second round`);
    assert.ok(rounds[1].ended.heap - rounds[0].ended.heap < CALLS * 4 * KIB, `the heap does not grow with the second round: ${rounds[0].ended.heap}, ${rounds[1].ended.heap}`);

    await everywhere((page) =>
      page.page.evaluate(async () => {
        await Promise.all([...globalThis.phones.values()].map((phone) => phone.disconnect()));
        for (const phone of globalThis.phones.values()) phone.free();
        globalThis.phones.clear();
      }),
    );
    await until('the browser holds nothing', async () => {
      assert.deepEqual(await everywhere((page) => page.count()), idle);
      return true;
    }, { deadline: 30_000 });
    await until('the server holds nothing', async () => {
      assert.deepEqual(await server(), { connections: 0, bindings: 0, calls: 0, transactions: 0 });
      return true;
    }, { deadline: 60_000, every: 500 });
    const left = await memory();
    say(`all gone: heap +${kib(left.heap - empty.heap, 1)} of ${pages.length} pages`);
    // What the browser has compiled of the page's and the package's JavaScript by then; that nothing grows is seen above.
    assert.ok(left.heap - empty.heap < pages.length * 640 * KIB, `${left.heap - empty.heap} bytes are left`);
    await everywhere((page) => page.close());
  });
});

const tally = (list) => list.reduce((counts, one) => ({ ...counts, [one]: (counts[one] ?? 0) + 1 }), {});
