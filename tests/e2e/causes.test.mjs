/** Errors whose cause only the page knows: the hint names it. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { launchBrowser } from '../support/browser.mjs';
import { freePort, useSandbox } from '../support/sandbox.mjs';
import { serveStatic } from '../support/static-server.mjs';

const PACKAGE = new URL('../../pkg/', import.meta.url);
// A name that is no secure context by itself.
const HOST = 'phone.example';

describe('hints name the cause', { timeout: 120_000 }, () => {
  let sandbox;
  let browser;
  let port;

  before(async () => {
    sandbox = await useSandbox();
    port = new URL(sandbox.url).port;
    browser = await launchBrowser({ args: [`--host-resolver-rules=MAP ${HOST} 127.0.0.1`] });
  });
  after(async () => {
    await browser?.close();
    await sandbox?.stop();
  });

  /** An empty page of a server of this machine, by this name and with these headers. */
  async function open(name, headers = {}) {
    const server = await serveStatic({ '/pkg/': fileURLToPath(PACKAGE) }, { '/': {}, '/favicon.ico': {} }, headers);
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`http://${name}:${new URL(server.url).port}/`);
    return { page, close: async () => (await context.close(), server.close()) };
  }

  /** An empty page with a certificate, which no server of this machine has: it is made here. */
  async function openSecure() {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.route(`https://${HOST}/**`, async (route) => {
      const { pathname } = new URL(route.request().url());
      if (!pathname.startsWith('/pkg/')) return route.fulfill({ body: '<!doctype html><title>App</title>', contentType: 'text/html' });
      const contentType = pathname.endsWith('.wasm') ? 'application/wasm' : 'text/javascript';
      return route.fulfill({ body: await readFile(new URL(pathname.slice('/pkg/'.length), PACKAGE)), contentType });
    });
    await page.goto(`https://${HOST}/`);
    return { page, close: () => context.close() };
  }

  /** The error of connect(), or else of a dial, with this configuration. */
  const fails = (page, config) =>
    page.evaluate(async (config) => {
      const { default: init, DialStrategy } = await import('/pkg/index.js');
      await init();
      const phone = new DialStrategy({ uri: 'sip:alice@sandbox.test', credentials: { password: 'alice-secret' }, ...config });
      try {
        await phone.connect();
        const { error } = await phone.dial('600');
        return { code: error.code, hint: error.hint };
      } catch ({ code, hint }) {
        return { code, hint };
      } finally {
        phone.free();
      }
    }, config);

  const here = () => `ws://127.0.0.1:${port}/sip`;

  test('a page without HTTPS has no microphone, and may not reach the local network', async () => {
    // The sandbox takes no page of another name, so what such a page lacks is taken away.
    const context = await browser.newContext();
    await context.addInitScript(() => Object.defineProperty(navigator, 'mediaDevices', { value: undefined }));
    const page = await context.newPage();
    await page.goto(`${sandbox.url}/demo.json`);
    const { code, hint } = await fails(page, { servers: here() });
    assert.equal(code, 'media_unavailable');
    assert.match(hint, /HTTPS/);
    await context.close();

    const plain = await open(HOST);
    const refused = await fails(plain.page, { servers: here() });
    assert.equal(refused.code, 'transport');
    assert.match(refused.hint, /HTTPS/);
    await plain.close();
  });

  test('the Content-Security-Policy', async () => {
    const { page, close } = await open('127.0.0.1', { 'content-security-policy': "connect-src 'self'" });
    const { code, hint } = await fails(page, { servers: here() });
    assert.equal(code, 'transport');
    assert.match(hint, new RegExp(`Content-Security-Policy.*ws://127\\.0\\.0\\.1:${port} to connect-src`));
    await close();
  });

  test('the network is off', async () => {
    const { page, close } = await open('127.0.0.1');
    // What the package needs is there before.
    await page.evaluate(async () => (await import('/pkg/index.js')).default());
    await page.context().setOffline(true);
    const { code, hint } = await fails(page, { servers: 'wss://sip.example.com/ws' });
    assert.equal(code, 'transport');
    assert.match(hint, /network is off/);
    await close();
  });

  test('a path where no WebSocket is, and a port where nothing is', async () => {
    const { page, close } = await open('127.0.0.1');
    const wrong = await fails(page, { servers: [{ url: `ws://127.0.0.1:${port}/ws` }] });
    assert.equal(wrong.code, 'transport');
    assert.match(wrong.hint, /^No WebSocket for SIP could be opened at 127\.0\.0\.1:\d+: check the address and the path/);
    const nothing = await fails(page, { servers: `ws://127.0.0.1:${await freePort()}/sip?token=secret` });
    assert.equal(nothing.code, 'transport');
    assert.match(nothing.hint, /^No WebSocket for SIP could be opened at 127\.0\.0\.1/);
    assert.doesNotMatch(nothing.hint, /secret/);
    await close();
  });

  test('ws: to the local network, refused with the way to allow it, and from an https: page', async () => {
    const { page, close } = await openSecure();
    const servers = 'ws://192.168.1.10:8088/ws';
    const refused = await fails(page, { servers }).catch((error) => error);
    assert.match(String(refused.hint ?? refused), /loopback/);
    const { code, hint } = await fails(page, { servers, insecureLocalServers: true });
    assert.equal(code, 'transport');
    assert.match(hint, /https: page may not open ws:/);
    await close();
  });
});
