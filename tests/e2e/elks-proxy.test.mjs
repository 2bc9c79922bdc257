/** The package and its proxy: when it is not there, when it refuses, and what passes between the two. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { NUMBERS } from '../support/elks.mjs';
import { freePort } from '../support/sandbox.mjs';
import { ElksSuite } from './elks-suite.mjs';

const OUTAGE = [/net::ERR_/, /blocked by CORS/, /Failed to load resource/];

describe('the call proxy', { timeout: 300_000 }, () => {
  const suite = new ElksSuite();

  test('cut off: proxy_unreachable, and nothing is paid for', async () => {
    const phone = await suite.phone({ expected: OUTAGE });
    await phone.page.route('**/elks/**', (route) => route.abort('connectionrefused'));
    const result = await phone.dial(NUMBERS.echo);
    assert.equal(result.code, 'proxy_unreachable', result.message);
    assert.match(result.hint, /proxyUrl/);
    await phone.untouched();
    assert.deepEqual(await suite.simulator.billed(), { a: 0, b: 0 });
  });

  test('at a port that nobody listens on: proxy_unreachable', async () => {
    const settings = { proxyUrl: `http://127.0.0.1:${await freePort()}/elks` };
    // The sandbox's own policy would keep the page from trying.
    const phone = await suite.phone({ settings, expected: OUTAGE, context: { bypassCSP: true } });
    const result = await phone.dial(NUMBERS.echo);
    assert.equal(result.code, 'proxy_unreachable', result.message);
    assert.deepEqual(await suite.simulator.billed(), { a: 0, b: 0 });
  });

  test('cut off after the request has arrived: asked for, and not sent again', async () => {
    const phone = await suite.phone({ expected: OUTAGE });
    const puts = [];
    await phone.page.route(/\/v1\/calls\/[^/]+$/, async (route) => {
      if (route.request().method() !== 'PUT') return route.fallback();
      puts.push(route.request().url());
      await route.fetch();
      return route.abort('connectionreset');
    });
    const result = await phone.dial(NUMBERS.echo);
    assert.equal(result.code, null, result.message);
    await phone.plays(1000);
    assert.equal(puts.length, 1, 'it was sent again');
    await phone.hangup();
    await phone.ended();
    await suite.simulator.quiet();
    assert.deepEqual(await suite.simulator.billed(), { a: 1, b: 1 });
  });

  test('its polls are lost for a while: the call comes about all the same', async () => {
    const phone = await suite.phone({ expected: OUTAGE });
    let lost = 0;
    await phone.page.route(/\/v1\/calls\/[^/]+\?/, (route) => {
      lost += 1;
      return lost <= 2 ? route.abort('connectionreset') : route.fallback();
    });
    const result = await phone.dial(NUMBERS.echo);
    assert.equal(result.code, null, result.message);
    assert.ok(lost >= 2);
    await phone.hangup();
    await phone.ended();
    await suite.simulator.quiet();
    assert.deepEqual(await suite.simulator.billed(), { a: 1, b: 1 });
  });

  for (const [what, settings, number, code] of [
    ['a session that it does not know', { proxyHeaders: { Authorization: 'Bearer nonsense' } }, NUMBERS.echo, 'proxy_denied'],
    ['no session', { proxyHeaders: {} }, NUMBERS.echo, 'proxy_denied'],
    ['a caller ID that it does not know', { callerId: 'other' }, NUMBERS.echo, 'proxy_denied'],
    ['a country that is not allowed', {}, '+12025550123', 'proxy_denied'],
    ['a number of its own', {}, '+46766860000', 'proxy_denied'],
  ]) {
    test(`${what}: ${code}, and nothing is paid for`, async () => {
      const phone = await suite.phone({ settings });
      const result = await phone.dial(number);
      assert.equal(result.code, code, result.message);
      assert.ok(result.hint?.length > 0);
      await phone.untouched();
      assert.deepEqual(await suite.simulator.billed(), { a: 0, b: 0 });
    });
  }

  test('its headers may come from a function, which is asked again for each call', async () => {
    const phone = await suite.phone({ settings: { proxyHeaders: undefined } });
    const { proxyHeaders } = await suite.simulator.account();
    await phone.page.evaluate((headers) => {
      globalThis.asked = 0;
      globalThis.phone.configure({ proxyHeaders: async () => { globalThis.asked += 1; return headers; } });
    }, proxyHeaders);
    const result = await phone.dial(NUMBERS.echo);
    assert.equal(result.code, null, result.message);
    assert.ok(await phone.page.evaluate(() => globalThis.asked) >= 1);
    await phone.hangup();
    await phone.ended();
  });
});
