/** What the page does with what the browser tells it: of the network, of sleep, of being hidden. */

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { launchBrowser, watchPage } from '../support/browser.mjs';
import { freePort, Sandbox } from '../support/sandbox.mjs';
import { until } from '../support/until.mjs';

describe('hints of the browser', { timeout: 120_000 }, () => {
  let browser;
  let sandbox;
  let context;
  let page;

  before(async () => {
    browser = await launchBrowser();
    sandbox = new Sandbox(await freePort());
    await sandbox.start();
  });
  after(async () => {
    await browser?.close();
    await sandbox?.kill();
  });

  beforeEach(async () => {
    context = await browser.newContext();
    await context.addInitScript(spySockets);
    page = await context.newPage();
    await page.route('**/favicon.ico', (route) => route.fulfill({ status: 204 }));
    page.problems = watchPage(page, [/WebSocket connection to .* failed/, /net::ERR_/]);
    await page.goto(`${sandbox.url}/demo.json`);
    await page.evaluate(async (port) => {
      const { default: init, DialStrategy } = await import('/pkg/index.js');
      await init();
      globalThis.phone = new DialStrategy({
        servers: `ws://127.0.0.1:${port}/sip`,
        uri: 'sip:alice@sandbox.test',
        credentials: { username: 'alice', password: 'alice-secret' },
      });
      globalThis.states = [];
      phone.on('connection', ({ state }) => states.push(state));
      await phone.connect();
    }, sandbox.port);
  });
  afterEach(async () => {
    await page.evaluate(async () => {
      await phone.disconnect();
      phone.free();
    });
    await context.close();
    assert.deepEqual(page.problems, []);
  });

  const sockets = () => page.evaluate(() => globalThis.spied.sockets);
  const sent = () => page.evaluate(() => globalThis.spied.sent);
  const ready = () => until('registered', () => page.evaluate(() => phone.registration === 'registered'));

  test('a live connection is asked, and kept', async () => {
    for (const [target, event] of [['window', 'online'], ['window', 'offline'], ['document', 'resume']]) {
      const before = await sent();
      // Hints that come in swarms are one.
      await page.waitForFunction(() => performance.now() - (globalThis.lastHint ?? 0) > 1100);
      await page.evaluate(([on, name]) => {
        globalThis.lastHint = performance.now();
        globalThis[on].dispatchEvent(new Event(name));
      }, [target, event]);
      await until(`a sign of life after ${event}`, async () => (await sent()) > before);
    }
    await ready();
    assert.equal(await page.evaluate(() => states.includes('reconnecting')), false);
  });

  test('a connection that says nothing any more is replaced at once', async () => {
    const before = await sockets();
    await page.evaluate(() => globalThis.spied.deafen());
    await page.evaluate(() => window.dispatchEvent(new Event('online')));
    await until('another connection', async () => (await sockets()) > before);
    await until('registered over it', () => page.evaluate(() => globalThis.spied.registered >= 2));
    await ready();
  });

  test('a jump of the clock on the wall is a sleep', async () => {
    const before = await sent();
    await page.evaluate(() => {
      const now = Date.now;
      Date.now = () => now() + 3_600_000;
      // Anything that happens, and be it the next timer.
      window.dispatchEvent(new Event('offline'));
    });
    await until('a registration of its own', () => page.evaluate(() => globalThis.spied.registers >= 3));
    assert.ok((await sent()) > before);
  });

  for (const [how, workers] of [['a wait that is not throttled', 0], ['a worker, where there is no such wait,', 1]]) {
    test(`while the page is hidden ${how} keeps the time`, async () => {
      await page.evaluate((workers) => {
        if (workers) delete Atomics.waitAsync;
        // As throttled as can be: timers of the page never fire again.
        Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));
        window.setTimeout = () => 0;
      }, workers);
      await until('a worker', () => page.workers().length === workers);
      const before = await page.evaluate(() => globalThis.spied.pings);
      // The next timer is the next keep-alive: 25 s at most.
      await until('a keep-alive', () => page.evaluate((count) => globalThis.spied.pings > count, before), { deadline: 40_000 });
      await page.evaluate(() => {
        delete window.setTimeout;
        delete document.visibilityState;
        document.dispatchEvent(new Event('visibilitychange'));
      });
      await until('the worker is gone', () => page.workers().length === 0);
    });
  }

  test('without a connection nothing is listened for, and there is no worker', async () => {
    await page.evaluate(async () => {
      await phone.disconnect();
      Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
      window.dispatchEvent(new Event('online'));
    });
    assert.equal(page.workers().length, 0);
    assert.equal(await page.evaluate(() => phone.connection), 'disconnected');
  });
});

/** Counts what goes over WebSockets, and can make the open one hear nothing. */
function spySockets() {
  const spied = { sockets: 0, sent: 0, pings: 0, registers: 0, registered: 0 };
  globalThis.spied = spied;
  const Native = globalThis.WebSocket;
  const wrapped = new Map();
  let newest;
  globalThis.WebSocket = class extends Native {
    constructor(...given) {
      super(...given);
      newest = this;
      spied.sockets += 1;
      super.addEventListener('message', ({ data }) => {
        if (!this.deaf && /^SIP\/2.0 200/.test(data) && /REGISTER/.test(data)) spied.registered += 1;
      });
    }
    addEventListener(kind, listener) {
      wrapped.set(listener, (event) => {
        if (!(this.deaf && kind === 'message')) listener.call(this, event);
      });
      super.addEventListener(kind, wrapped.get(listener));
    }
    removeEventListener(kind, listener) {
      super.removeEventListener(kind, wrapped.get(listener));
    }
    send(data) {
      spied.sent += 1;
      if (data === '\r\n\r\n') spied.pings += 1;
      if (/^REGISTER/.test(data)) spied.registers += 1;
      super.send(data);
    }
  };
  spied.deafen = () => {
    newest.deaf = true;
  };
}
