/** How the module is loaded: by its file where the host takes that along, otherwise by the copy in a text; and what a failure says. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { build } from 'esbuild';

import { launchBrowser } from '../support/browser.mjs';

const PACKAGE = fileURLToPath(new URL('../../pkg/', import.meta.url));
const APP = (entry) => `
  import init, { DialStrategy } from ${JSON.stringify(entry)};
  globalThis.outcome = (async () => {
    await init();
    try {
      new DialStrategy({ signallingGrace: 1 });
    } catch (refusal) {
      globalThis.refusal = refusal;
    }
    return new DialStrategy().connection;
  })().catch(({ code, hint, message }) => ({ code, hint, message }));
`;
const PAGE = (script) => `<!doctype html><html lang="en"><title>App</title>${script}</html>`;

describe('loading', { timeout: 120_000 }, () => {
  let browser;
  let folder;

  before(async () => {
    [browser, folder] = await Promise.all([launchBrowser(), mkdtemp(join(tmpdir(), 'loading-'))]);
  });
  after(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** Serves these files; `fallback`: what a single-page application answers to every other address. */
  async function serve(files, { fallback, headers = {} } = {}) {
    const requests = [];
    const server = createServer((request, response) => {
      requests.push(request.url);
      const body = files[request.url] ?? fallback;
      const type = request.url.endsWith('.js') ? 'text/javascript' : request.url.endsWith('.wasm') ? 'application/wasm' : 'text/html';
      const found = files[request.url] !== undefined;
      response.writeHead(body === undefined ? 404 : 200, { 'content-type': found ? type : 'text/html', ...headers });
      response.end(body);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return {
      url: `http://127.0.0.1:${server.address().port}`,
      requests,
      async close() {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      },
    };
  }

  /** The application as esbuild makes it: its bundles by address. */
  async function bundle(name, entry, options) {
    const dir = join(folder, name);
    await mkdir(dir);
    await writeFile(join(dir, 'app.js'), APP(entry));
    const { outputFiles } = await build({
      entryPoints: [join(dir, 'app.js')],
      bundle: true,
      write: false,
      outdir: dir,
      alias: { 'wasm-softphone': PACKAGE.slice(0, -1) },
      logLevel: 'silent',
      ...options,
    });
    return Object.fromEntries(outputFiles.map((file) => [`/${file.path.slice(dir.length + 1)}`, file.text]));
  }

  async function outcomeOf(url) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(url);
    const outcome = await page.evaluate(() => globalThis.outcome);
    await context.close();
    return outcome;
  }

  for (const [name, format, options] of [
    ['an esbuild bundle of one script', 'iife', {}],
    ['an esbuild bundle of modules', 'esm', { splitting: true }],
  ]) {
    for (const fallback of [undefined, PAGE('')]) {
      const server = fallback ? 'a server that answers every address with the page' : 'a plain server';
      test(`${name}, without the .wasm file, from ${server}`, async () => {
        const files = await bundle(`${format}-${fallback ? 'spa' : 'plain'}`, 'wasm-softphone', { format, ...options });
        const script = format === 'esm' ? '<script type="module" src="/app.js"></script>' : '<script src="/app.js"></script>';
        const host = await serve({ ...files, '/': PAGE(script) }, { fallback });
        assert.equal(await outcomeOf(host.url), 'disconnected');
        await host.close();
      });
    }
  }

  test('the entry with the module inside fetches nothing, even where nothing may be fetched', async () => {
    const files = await bundle('inline', 'wasm-softphone/inline.js', { format: 'iife' });
    const headers = { 'content-security-policy': "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'none'" };
    const host = await serve({ ...files, '/': PAGE('<script src="/app.js"></script>') }, { headers });
    assert.equal(await outcomeOf(host.url), 'disconnected');
    assert.ok(!host.requests.some((url) => url.endsWith('.wasm')), host.requests.join());
    await host.close();
  });

  test('the entry for debugging has the names of its functions in a stack', async () => {
    const files = await bundle('debug', 'wasm-softphone/debug/index.js', { format: 'iife' });
    const script = `<script src="/app.js"></script><script>
      globalThis.outcome = globalThis.outcome.then((connection) => {
        const { stack } = globalThis.refusal;
        return { connection, stack };
      });
    </script>`;
    const host = await serve({ ...files, '/': PAGE(script) });
    const { connection, stack } = await outcomeOf(host.url);
    await host.close();
    assert.equal(connection, 'disconnected');
    assert.match(stack, /wasm_softphone(\[\w+\])?::js::error/);
  });

  test('where the file is there, it is what is loaded, once', async () => {
    const names = ['index.js', 'wasm_softphone.js', 'wasm_softphone_bg.wasm'];
    const entries = await Promise.all(names.map(async (name) => [`/pkg/${name}`, await readFile(join(PACKAGE, name))]));
    const script = `<script type="module">${APP('/pkg/index.js')}</script>`;
    const host = await serve({ ...Object.fromEntries(entries), '/': PAGE(script) });
    assert.equal(await outcomeOf(host.url), 'disconnected');
    assert.deepEqual(host.requests.filter((url) => url.startsWith('/pkg/')).sort(), names.map((name) => `/pkg/${name}`).sort());
    await host.close();
  });

  test('a failure says what to do', async () => {
    const names = ['index.js', 'wasm_softphone.js', 'unavailable.js', 'embedded.js'];
    const entries = await Promise.all(names.map(async (name) => [`/pkg/${name}`, await readFile(join(PACKAGE, name))]));
    const page = (argument) => `<script type="module">
      import init from '/pkg/index.js';
      globalThis.outcome = init(${argument}).then(() => 'loaded', ({ name, code, hint }) => ({ name, code, hint }));
    </script>`;
    const files = { ...Object.fromEntries(entries), '/app': PAGE('') };
    const cases = [
      [`'/nowhere.wasm'`, undefined, /leads nowhere/],
      [`'/app'`, undefined, /leads to a page/],
      [`new Uint8Array(8)`, undefined, /leads to a page/],
      [`new URL('http://127.0.0.1:9/module.wasm')`, undefined, /Check the network/],
      ['', { 'content-security-policy': "script-src 'self' 'unsafe-inline'" }, /'wasm-unsafe-eval'/],
    ];
    for (const [argument, headers, hint] of cases) {
      const host = await serve({ ...files, '/': PAGE(page(argument)) }, { headers });
      const outcome = await outcomeOf(host.url);
      assert.equal(outcome.code, 'module_unavailable', argument);
      assert.equal(outcome.name, 'SoftphoneError', argument);
      assert.match(outcome.hint, hint, argument);
      await host.close();
    }
  });

  test('Node reads the file, and makes a phone that cannot connect without a WebSocket', async () => {
    const program = `
      delete globalThis.WebSocket;
      const { default: init, DialStrategy } = await import(${JSON.stringify(new URL('../../pkg/index.js', import.meta.url).href)});
      await init();
      const phone = new DialStrategy({ servers: 'wss://sip.example.com', uri: 'sip:alice@example.com', signallingGrace: 1000 });
      await phone.connect().catch(({ name, code }) => console.log(name, code));
      phone.free();
    `;
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], { timeout: 20_000 });
    assert.deepEqual([stdout.trim(), stderr], ['SoftphoneError transport', '']);
  });

  test('a worker makes a phone', async () => {
    const names = ['index.js', 'wasm_softphone.js', 'wasm_softphone_bg.wasm'];
    const entries = await Promise.all(names.map(async (name) => [`/pkg/${name}`, await readFile(join(PACKAGE, name))]));
    const worker = `${APP('/pkg/index.js')}; globalThis.outcome.then((outcome) => postMessage(outcome));`;
    const script = `<script>
      globalThis.outcome = new Promise((resolve, reject) => {
        const worker = new Worker('/worker.js', { type: 'module' });
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => reject(new Error(message));
      });
    </script>`;
    const host = await serve({ ...Object.fromEntries(entries), '/worker.js': worker, '/': PAGE(script) });
    assert.equal(await outcomeOf(host.url), 'disconnected');
    await host.close();
  });

  test('a phone is freed once, however often it is asked to be, and Vue leaves it as it is', async () => {
    const names = ['index.js', 'wasm_softphone.js', 'wasm_softphone_bg.wasm'];
    const entries = await Promise.all(names.map(async (name) => [`/pkg/${name}`, await readFile(join(PACKAGE, name))]));
    const script = `<script type="module">
      import init, { Call, DialStrategy } from '/pkg/index.js';
      globalThis.outcome = (async () => {
        await init();
        const phone = new DialStrategy();
        phone.free();
        phone.free();
        return [phone.__v_skip, Call.prototype.__v_skip, Object.keys(phone).includes('__v_skip')];
      })();
    </script>`;
    const host = await serve({ ...Object.fromEntries(entries), '/': PAGE(script) });
    assert.deepEqual(await outcomeOf(host.url), [true, true, false]);
    await host.close();
  });
});
