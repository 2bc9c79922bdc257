/** The contract of the package as it is shipped: loading, importing, and leaving nothing behind. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, readdir } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';

import { keepPeerConnections, toneMicrophone } from '../support/audio.mjs';
import { watchPage } from '../support/browser.mjs';
import { Suite } from '../support/suite.mjs';
import { until } from '../support/until.mjs';
import { DemoPage, newProfile } from './demo-page.mjs';
import { countResources } from './resources.mjs';

const PACKAGE = new URL('../../pkg/', import.meta.url);
const WASM = 'wasm_softphone_bg.wasm';

describe('the package', { timeout: 180_000 }, () => {
  const suite = new Suite();

  /** A document of the sandbox's origin in which nothing runs. (One made up by the test would be no local one to the
   *  browser, which then keeps it from the sandbox's WebSocket.) */
  async function emptyPage(...scripts) {
    const context = await suite.browser.newContext();
    for (const [script, argument] of scripts) await context.addInitScript(script, argument);
    const page = await context.newPage();
    const problems = watchPage(page, [/missing\.wasm/, /404/]);
    await page.goto(`${suite.url}/demo.json`);
    return { context, page, problems };
  }

  test('the page runs the release build that is in pkg/', async () => {
    const profile = await newProfile(suite.browser);
    const loaded = [];
    profile.on('response', (response) => {
      if (response.url().endsWith('.wasm')) loaded.push(response);
    });
    const demo = await DemoPage.open(profile, suite.url);
    assert.deepEqual(loaded.map((response) => response.url()), [`${suite.url}/pkg/${WASM}`]);
    assert.equal(loaded[0].headers()['content-type'], 'application/wasm');
    const shipped = await readFile(new URL(WASM, PACKAGE));
    assert.ok(shipped.equals(await loaded[0].body()), 'what is served is not what is in pkg/');
    const module = await WebAssembly.compile(shipped);
    for (const section of ['name', '.debug_info']) {
      assert.equal(WebAssembly.Module.customSections(module, section).length, 0, `a release build has no section "${section}"`);
    }
    assert.ok(!WebAssembly.Module.imports(module).some(({ module: from }) => from === 'env'), 'nothing is imported from "env"');
    demo.unblemished();
    await profile.close();
  });

  test('importing it in Node does nothing but define names', async () => {
    const program = `
      const before = Object.getOwnPropertyNames(globalThis).sort().join();
      const { default: init, DialStrategy, Call, registerProvider, originateCall } = await import(${JSON.stringify(new URL('index.js', PACKAGE).href)});
      const after = Object.getOwnPropertyNames(globalThis).sort().join();
      let code;
      try { new DialStrategy().strategyFor('600'); } catch (error) { code = error.code; }
      const kinds = [init, DialStrategy, Call, registerProvider, originateCall].map((value) => typeof value);
      console.log(JSON.stringify({ same: before === after, code, kinds }));
    `;
    // That it ends by itself says that nothing was left running.
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], { timeout: 10_000 });
    assert.equal(stderr, '');
    assert.deepEqual(JSON.parse(stdout), { same: true, code: 'not_initialized', kinds: Array(5).fill('function') });
  });

  test('nothing that ships can build a Basic header or knows the address of an API', async () => {
    const files = (await readdir(PACKAGE, { recursive: true })).filter((name) => /\.(js|wasm)$/.test(name));
    assert.ok(files.includes(WASM) && files.includes('index.js') && files.length >= 3, files.join());
    for (const name of files) {
      // One character a byte, so that texts in the module are found as they stand.
      const text = await readFile(new URL(name, PACKAGE), 'latin1');
      for (const trace of [/Basic\s/, /\bbtoa\b/, /ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz/, /toBase64/, /api\.46elks\.com/]) {
        assert.doesNotMatch(text, trace, name);
      }
    }
    // The search would find them: here is what it looks for, and the module's texts can be read like this.
    assert.match('Basic eDp5', /Basic\s/);
    assert.match(await readFile(new URL(WASM, PACKAGE), 'latin1'), /proxyHeaders/);
  });

  test('init() twice is one promise and one download; a failed load can be retried', async () => {
    const { context, page, problems } = await emptyPage();
    let downloads = 0;
    page.on('request', (request) => {
      if (request.url().endsWith(WASM)) downloads += 1;
    });
    const outcome = await page.evaluate(async () => {
      const { default: init, DialStrategy } = await import('/pkg/index.js');
      const failed = await init('/missing.wasm').then(() => 'loaded', () => 'failed');
      const first = init();
      const second = init();
      const same = first === second;
      await first;
      return { failed, same, later: init() === first, connection: new DialStrategy().connection };
    });
    assert.deepEqual(outcome, { failed: 'failed', same: true, later: true, connection: 'disconnected' });
    assert.equal(downloads, 1);
    assert.deepEqual(problems, []);
    await context.close();
  });

  /** For `context.addInitScript`: keeps the memory of the module in `globalThis.memory`. Runs in the page. */
  function keepMemory() {
    for (const name of ['instantiate', 'instantiateStreaming']) {
      const { [name]: load } = WebAssembly;
      WebAssembly[name] = async (...given) => {
        const loaded = await load.apply(WebAssembly, given);
        const { exports } = loaded.instance ?? loaded;
        globalThis.memory = Object.values(exports).find((value) => value instanceof WebAssembly.Memory);
        return loaded;
      };
    }
  }

  test('memory that runs out in a call ends in one `fatal` event, with microphone and connection closed', async () => {
    const { context, page, problems } = await emptyPage([keepPeerConnections], [toneMicrophone, 1000], [countResources], [keepMemory]);
    const accounts = await (await fetch(`${suite.url}/demo.json`)).json();
    const outcome = await page.evaluate(async (config) => {
      const { default: init, DialStrategy } = await import('/pkg/index.js');
      await init();
      globalThis.resources.begin();
      const phone = new DialStrategy({ ...config, iceServers: [] });
      const fatal = [];
      phone.on('fatal', ({ error }) => fatal.push({ code: error.code, cause: typeof error.cause }));
      await phone.connect();
      const result = await phone.dial('sip:600@sandbox.test');
      if (!result.success) throw result.error;
      const before = globalThis.resources.count();
      // All that a module can have, so that the next thing that needs more is refused.
      globalThis.memory.grow(65_536 - globalThis.memory.buffer.byteLength / 65_536);
      let thrown;
      try {
        phone.strategyFor(`sip:${'x'.repeat(8_000_000)}@sandbox.test`);
      } catch (error) {
        thrown = error.name;
      }
      const later = await phone.connect().then(() => 'connected', ({ code }) => code);
      return { fatal, thrown, later, before };
    }, accounts.sip[0]);
    assert.ok(outcome.before.tracks > 0 && outcome.before.peerConnections > 0, JSON.stringify(outcome.before));
    assert.equal(outcome.thrown, 'RuntimeError');
    assert.deepEqual(outcome.fatal, [{ code: 'fatal', cause: 'string' }]);
    assert.equal(outcome.later, 'fatal');
    await until('the microphone is off and nothing is connected', async () => {
      const { tracks, sockets, peerConnections } = await page.evaluate(() => globalThis.resources.count());
      return tracks + sockets + peerConnections === 0;
    });
    assert.deepEqual(problems, []);
    await context.close();
  });

  for (const [how, end] of [
    ['disconnect()', async (phone) => phone.disconnect()],
    ['free() in the middle of a call', async (phone) => phone.free()],
  ]) {
    test(`${how} leaves no listener, timer, track, socket or peer connection`, async () => {
      const { context, page, problems } = await emptyPage([keepPeerConnections], [toneMicrophone, 1000], [countResources]);
      const accounts = await (await fetch(`${suite.url}/demo.json`)).json();
      await page.evaluate(async (config) => {
        const { default: init, DialStrategy } = await import('/pkg/index.js');
        await init();
        globalThis.resources.begin();
        const phone = new DialStrategy({ ...config, iceServers: [] });
        globalThis.phone = phone;
        await phone.connect();
        const result = await phone.dial('sip:600@sandbox.test');
        if (!result.success) throw result.error;
        // Looking at a stream must not make another one.
        if (result.call.localStream !== result.call.localStream) throw new Error('localStream is another one each time');
        if (result.call.remoteStream !== result.call.remoteStream) throw new Error('remoteStream is another one each time');
      }, accounts.sip[0]);
      const during = await page.evaluate(() => globalThis.resources.count());
      for (const kind of ['listeners', 'timers', 'tracks', 'sockets', 'peerConnections']) {
        assert.ok(during[kind] > 0, `during a call there are ${kind}, or the count is worth nothing: ${JSON.stringify(during)}`);
      }
      // The function comes from this file, so its text can be made one again in the page.
      await page.evaluate(`(${end})(globalThis.phone)`);
      const nothing = { listeners: 0, timers: 0, tracks: 0, sockets: 0, peerConnections: 0, players: 0 };
      await until('nothing is left', async () => {
        const left = await page.evaluate(() => globalThis.resources.count());
        assert.deepEqual(left, nothing, JSON.stringify(await page.evaluate(() => globalThis.resources.names())));
        return true;
      });
      assert.deepEqual(problems, []);
      await context.close();
    });
  }
});
