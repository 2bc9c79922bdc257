/** Challenges that ordinary settings don't make. Browser to browser: baresip speaks MD5 only. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { launchBrowser } from '../support/browser.mjs';
import { until } from '../support/until.mjs';
import { BrowserPhone, servePackage } from './browser-phone.mjs';
import { Network } from './network.mjs';

describe('authentication with Kamailio', { timeout: 120_000 }, () => {
  let server;
  let browser;

  before(async () => {
    [server, browser] = await Promise.all([servePackage(), launchBrowser()]);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  test('SHA-256: two browsers register, and talk', async () => {
    const network = await Network.start('SHA256');
    try {
      const anna = await BrowserPhone.open(browser, server.url, { tone: 1000 });
      const bert = await BrowserPhone.open(browser, server.url, { tone: 1500 });
      await Promise.all([anna.register('1001'), bert.register('1002')]);
      assert.ok((await anna.log()).some((text) => /algorithm=SHA-256/i.test(text)), 'the server has asked for SHA-256');
      await anna.dial('sip:1002@pbx.test');
      await bert.state('ringing');
      await bert.do('answer');
      assert.equal((await anna.dialed()).success, true);
      await Promise.all([anna.hears(bert.tone), bert.hears(anna.tone), anna.exchanges(50), bert.exchanges(50)]);
      await bert.do('hangup');
      assert.equal((await anna.ended()).code, 'completed');
      await Promise.all([anna.close(), bert.close()]);
    } finally {
      await network.stop();
    }
  });

  test('a stale nonce is replaced without a failure', async () => {
    const network = await Network.start('SHORT_NONCE');
    try {
      const phone = await BrowserPhone.open(browser, server.url);
      await phone.register('1001');
      await until('a nonce was stale', async () => {
        await phone.dial('sip:9999@pbx.test');
        assert.equal((await phone.dialed()).error.code, 'not_found');
        return (await phone.log()).some((text) => /stale=true/i.test(text));
      });
      await phone.close();
    } finally {
      await network.stop();
    }
  });
});
