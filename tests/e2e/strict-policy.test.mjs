/** The package in a page that lets nothing in but it: a Content-Security-Policy of what it needs, and Trusted Types. */

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { keepPeerConnections, toneMicrophone } from '../support/audio.mjs';
import { launchBrowser, watchPage } from '../support/browser.mjs';
import { useSandbox } from '../support/sandbox.mjs';
import { serveStatic } from '../support/static-server.mjs';
import { until } from '../support/until.mjs';

const PACKAGE = new URL('../../pkg/', import.meta.url);
const folder = (path) => fileURLToPath(new URL(path, import.meta.url));

/** As docs/security.md gives it. */
const minimum = (server) =>
  `default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ${server}; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'`;

describe('a strict policy', { timeout: 120_000 }, () => {
  let sandbox;
  let browser;
  let server;
  let context;
  let config;

  before(async () => {
    [sandbox, browser] = await Promise.all([useSandbox(), launchBrowser()]);
    [config] = (await (await fetch(`${sandbox.url}/demo.json`)).json()).sip;
    const policy = minimum(new URL(config.servers).origin);
    server = await serveStatic({ '/pkg/': fileURLToPath(PACKAGE), '/': folder('strict') }, { '/favicon.ico': {} }, { 'content-security-policy': policy });
  });
  after(async () => {
    await browser?.close();
    await server?.close();
    await sandbox?.stop();
  });
  beforeEach(async () => {
    context = await browser.newContext();
    await context.addInitScript(keepPeerConnections);
    await context.addInitScript(toneMicrophone, 1000);
  });
  afterEach(() => context.close());

  async function open() {
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    page.problems = watchPage(page);
    await page.goto(`${server.url}/index.html`);
    await loaded(page);
    return page;
  }
  const loaded = (page) => page.waitForFunction(() => globalThis.strict);
  const start = (page, { tabs = false, ...more } = {}) =>
    page.evaluate(([config, tabs]) => globalThis.strict.start(config, tabs), [{ ...config, iceServers: [], ...more }, tabs]);
  const callIsActive = (page) => until('the call is active', () => page.evaluate(() => globalThis.phone.calls[0]?.state === 'active'));
  const unblemished = async (page) => {
    assert.deepEqual(await page.evaluate(() => globalThis.strict.violations), []);
    assert.deepEqual(page.problems, []);
  };

  test('the policy is in force, and a breach would be noticed', async () => {
    const page = await open();
    assert.deepEqual(await page.evaluate(() => globalThis.strict.refused()), { eval: true, Function: true, markup: true, worker: true, policy: true });
    const violations = await until('all are told', async () => {
      const violations = await page.evaluate(() => globalThis.strict.violations);
      return violations.length >= 5 && violations;
    });
    assert.ok(violations.some((text) => text.startsWith('trusted-types ')) && violations.some((text) => text.startsWith('require-trusted-types-for ')), violations.join('\n'));
    assert.ok(page.problems.length > 0, 'the console says so too');
  });

  test('register, a call with audio, hold, tones, a conference, hang up, event documents', async () => {
    const page = await open();
    await start(page);
    assert.equal(await page.evaluate(() => globalThis.phone.registration), 'registered');
    const { frequency, state } = await page.evaluate(() => globalThis.strict.call());
    assert.equal(state, 'ended');
    assert.ok(Math.abs(frequency - 1000) < 20, `${frequency} Hz came back`);
    const presence = await page.evaluate(() => globalThis.strict.presence());
    assert.deepEqual([presence.open, presence.note], [true, 'a < b']);
    await page.evaluate(async () => {
      await globalThis.phone.disconnect();
      globalThis.phone.free();
    });
    await unblemished(page);
  });

  test('a call goes on after a reload', async () => {
    const page = await open();
    await start(page, { resume: true });
    await page.evaluate(() => globalThis.phone.dial('sip:600@sandbox.test').then(() => {}));
    await until('the record is kept', () => page.evaluate(() => Object.keys(sessionStorage).filter((name) => name.startsWith('wasm-softphone:calls:')).length === 2));
    await unblemished(page);
    await page.reload();
    await loaded(page);
    await start(page, { resume: true });
    await callIsActive(page);
    await page.evaluate(() => globalThis.strict.heard(globalThis.phone.calls[0]));
    await page.evaluate(() => globalThis.phone.calls[0].hangup());
    await unblemished(page);
  });

  test('two tabs: the second controls the call, and takes it over', async () => {
    const [first, second] = [await open(), await open()];
    await start(first, { tabs: true, resume: true });
    await start(second, { tabs: true, resume: true });
    await second.evaluate(() => globalThis.phone.dial('sip:600@sandbox.test').then(() => {}));
    for (const page of [first, second]) await callIsActive(page);
    await unblemished(first);
    await first.close();
    await until('the second has the phone', () => second.evaluate(() => globalThis.phone.role === 'owner'));
    await callIsActive(second);
    await second.evaluate(() => globalThis.strict.heard(globalThis.phone.calls[0].call));
    await second.evaluate(() => globalThis.phone.calls[0].hangup());
    await unblemished(second);
  });

  test('time is kept while the page is hidden', async () => {
    const page = await open();
    // The next timer is the next keep-alive: 25 s at most.
    await page.evaluate(() => {
      globalThis.pings = 0;
      const { send } = WebSocket.prototype;
      WebSocket.prototype.send = function (data) {
        if (data === '\r\n\r\n') globalThis.pings += 1;
        send.call(this, data);
      };
    });
    await start(page);
    const before = await page.evaluate(() => {
      Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
      // As throttled as can be: timers of the page never fire again.
      globalThis.setTimeout = () => 0;
      return globalThis.pings;
    });
    await until('a keep-alive', () => page.evaluate((count) => globalThis.pings > count, before), { deadline: 40_000 });
    assert.equal(page.workers().length, 0);
    await unblemished(page);
  });

  test('nothing that ships makes code or markup of text', async () => {
    const files = (await readdir(PACKAGE)).filter((name) => name.endsWith('.js'));
    for (const name of ['index.js', 'conference.js', 'events.js', 'tabs.js', 'resume.js', 'timer.js', 'wasm_softphone.js']) assert.ok(files.includes(name), name);
    const traces = [
      /\beval\b/, /\bnew\s+Function\b/, /(?<![\w.$])Function\s*\(/, /\bdocument\s*\.\s*write/, /\b(?:inner|outer)HTML\b/, /\binsertAdjacentHTML\b/, /\bcreateContextualFragment\b/,
      /\bparseFromString\b/, /\bsrcdoc\b/, /\bset(?:Timeout|Interval)\s*\(\s*['"`]/, /\bcreatePolicy\b/, /\bcreateObjectURL\b/, /\bimportScripts\b/, /javascript:/,
    ];
    for (const name of files) {
      // A hint names what a policy must allow.
      const text = (await readFile(new URL(name, PACKAGE), 'utf8')).replaceAll("'wasm-unsafe-eval'", '');
      for (const trace of traces) assert.doesNotMatch(text, trace, name);
    }
    // The module could ask for them by its imports only.
    const module = await WebAssembly.compile(await readFile(new URL('wasm_softphone_bg.wasm', PACKAGE)));
    const names = WebAssembly.Module.imports(module).map(({ name }) => name);
    assert.deepEqual(names.filter((name) => /eval|newnoargs|newwithargs|innerHTML|write_/i.test(name)), []);
    assert.match('eval(x); new Function(y); a.innerHTML = b', traces[0]);
  });
});
