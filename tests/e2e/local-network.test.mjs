/** A server in the local network, which Chromium lets a page reach only by permission (Local Network Access). */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { launchBrowser, watchPage } from '../support/browser.mjs';
import { freePort, Sandbox } from '../support/sandbox.mjs';

describe('a server in the local network', { timeout: 60_000 }, () => {
  let browser;
  let pages;
  let server;

  before(async () => {
    pages = new Sandbox(await freePort());
    await pages.start();
    server = new Sandbox(await freePort());
    await server.start();
    // The page comes from elsewhere, as far as the browser knows; the SIP server is on this machine.
    const args = [`--ip-address-space-overrides=${new URL(pages.url).host}=public`];
    browser = await launchBrowser({ args });
  });
  after(async () => {
    await browser?.close();
    await pages?.kill();
    await server?.kill();
  });

  /** What connect() comes to with this permission. */
  async function connect(setting) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.route('**/favicon.ico', (route) => route.fulfill({ status: 204 }));
    watchPage(page, [/WebSocket connection to .* failed/, /net::ERR_/]);
    const session = await context.newCDPSession(page);
    const { targetInfo } = await session.send('Target.getTargetInfo');
    await session.send('Browser.setPermission', {
      permission: { name: 'loopback-network' },
      setting,
      origin: new URL(pages.url).origin,
      browserContextId: targetInfo.browserContextId,
    });
    await page.goto(`${pages.url}/demo.json`);
    const outcome = await page.evaluate(async (port) => {
      const { default: init, DialStrategy } = await import('/pkg/index.js');
      await init();
      const phone = new DialStrategy({
        servers: `ws://127.0.0.1:${port}/sip`,
        uri: 'sip:alice@sandbox.test',
        credentials: { username: 'alice', password: 'alice-secret' },
      });
      const outcome = await phone.connect().then(
        () => ({ state: phone.registration }),
        ({ code, message, hint }) => ({ code, message, hint }),
      );
      phone.free();
      return outcome;
    }, new URL(server.url).port);
    await context.close();
    return outcome;
  }

  test('a permission that is refused is named, and one that is given lets the phone register', async () => {
    const refused = await connect('denied');
    assert.equal(refused.code, 'transport');
    assert.match(refused.message, /local network/);
    assert.match(refused.hint, /Local Network Access/);
    assert.deepEqual(await connect('granted'), { state: 'registered' });
  });
});
