/** Calls by REST: the package in a page, the call proxy, and the 46elks simulator behind it. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { NUMBERS } from '../support/elks.mjs';
import { until } from '../support/until.mjs';
import { ElksSuite } from './elks-suite.mjs';

const STAGES = ['preparing', 'requesting', 'ringing-client', 'client-connected', 'ringing', 'connected'];

describe('calls through 46elks', { timeout: 300_000 }, () => {
  const suite = new ElksSuite();

  test('a number is called, and both sides are heard', async () => {
    const phone = await suite.phone({ tone: 1000 });
    const result = await phone.dial(NUMBERS.echo);
    assert.equal(result.code, null, result.message);
    assert.equal(result.strategy, 'rest-originate');
    assert.deepEqual(result.stages, STAGES);
    await phone.plays(1000);
    await phone.exchanges(100);
    const stats = await phone.stats();
    assert.equal(stats.codec, 'PCMA');
    assert.ok(stats.bytesSent > 5000 && stats.bytesReceived > 5000, JSON.stringify(stats));
    await until('the provider hears the tone of this page', async () => {
      const { heard } = (await suite.simulator.log()).legs.find(({ leg }) => leg === 'a');
      assert.ok(Math.abs(heard.hertz - 1000) <= 20 && heard.dbfs > -30 && heard.packets > 50, JSON.stringify(heard));
      return true;
    });
    await phone.hangup();
    const end = await phone.ended();
    assert.deepEqual([end.code, end.by], ['completed', 'local']);
    await suite.simulator.quiet();
    assert.deepEqual(await suite.simulator.billed(), { a: 1, b: 1 });
    assert.deepEqual(await phone.rung(), [], 'the call of the provider is no incoming call');
  });

  test('a national number is read with the country of the account', async () => {
    const phone = await suite.phone();
    const result = await phone.dial('070-000 00 01');
    assert.equal(result.code, null, result.message);
    const { legs } = await until('the number is called', async () => {
      const log = await suite.simulator.log();
      return log.b_legs > 0 && log;
    });
    assert.equal(legs.find(({ leg }) => leg === 'b').to, NUMBERS.echo);
    await phone.hangup();
    await phone.ended();
  });

  for (const [what, number, code] of [
    ['is busy', NUMBERS.busy, 'busy'], ['cannot be reached', NUMBERS.failed, 'provider_error'],
  ]) {
    test(`a number that ${what}: the call ends with ${code}`, async () => {
      const phone = await suite.phone();
      await phone.begin(number);
      await phone.reaches('client-connected');
      const end = await phone.ended();
      assert.deepEqual([end.code, end.by], [code, 'remote']);
      const { a, b } = await suite.simulator.billed();
      assert.deepEqual({ a, b }, { a: 1, b: 1 });
      assert.ok((await suite.simulator.log()).legs.every(({ leg, answered }) => leg === 'a' || !answered));
    });
  }

  test('a number that does not answer rings, and ends with no_answer', async () => {
    const phone = await suite.phone();
    await phone.begin(NUMBERS.noAnswer);
    await phone.reaches('connected');
    // The provider's own patience.
    const end = await phone.ended({ deadline: 75_000 });
    assert.deepEqual([end.code, end.by], ['no_answer', 'remote']);
    assert.deepEqual(await suite.simulator.billed(), { a: 1, b: 1 });
  });

  test('a far end that hangs up after 3 s ends the call', async () => {
    const phone = await suite.phone();
    const result = await phone.dial(NUMBERS.hangsUp);
    assert.equal(result.success, true, result.message);
    const end = await phone.ended();
    assert.deepEqual([end.code, end.by], ['completed', 'remote']);
    await suite.simulator.quiet();
    assert.deepEqual(await suite.simulator.billed(), { a: 1, b: 1 });
  });

  test('keys are tones at the far end', async () => {
    const phone = await suite.phone();
    const result = await phone.dial(NUMBERS.tones);
    assert.equal(result.success, true, result.message);
    await phone.exchanges(100);
    await phone.page.evaluate(() => globalThis.dial.call.sendDtmf('5'));
    await phone.exchanges(200);
    await phone.hangup();
    assert.equal((await phone.ended()).code, 'completed');
  });

  test('one call after another', async () => {
    const phone = await suite.phone();
    for (const round of [1, 2, 3]) {
      const result = await phone.dial(NUMBERS.echo);
      assert.equal(result.code, null, `call ${round}: ${result.message}`);
      await phone.plays(1000);
      await phone.hangup();
      await phone.ended();
      await suite.simulator.quiet();
    }
    assert.deepEqual(await suite.simulator.billed(), { a: 3, b: 3 });
  });

  test('numbers go by REST and SIP addresses by INVITE; 46elks takes no INVITE', async () => {
    const phone = await suite.phone();
    const strategies = await phone.page.evaluate((number) => [
      globalThis.phone.strategyFor(number), globalThis.phone.strategyFor('sip:echo@voip.46elks.com'),
    ], NUMBERS.echo);
    assert.deepEqual(strategies, ['rest-originate', 'sip-invite']);
    const result = await phone.dial('sip:echo@voip.46elks.com');
    assert.deepEqual([result.strategy, result.code], ['sip-invite', 'forbidden']);
    assert.deepEqual(await suite.simulator.billed(), { a: 0, b: 0 });
  });

  test('originateCall() makes the call for an application that answers it itself', async () => {
    // The phone is there, and has no dial of its own: the provider's call rings, and is answered by hand.
    const phone = await suite.phone();
    const { proxyUrl, proxyHeaders } = await suite.simulator.account();
    const call = await phone.page.evaluate(async ({ proxyUrl, headers, destination }) => {
      const { originateCall } = await import('/pkg/index.js');
      const call = await originateCall({ proxyUrl, headers, destination, callerId: 'main' });
      globalThis.originated = call;
      return { id: call.id, direction: call.direction, from: call.from, to: call.to };
    }, { proxyUrl, headers: proxyHeaders, destination: NUMBERS.echo });
    assert.match(call.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.deepEqual([call.direction, call.from, call.to], ['outgoing', '+46766860000', NUMBERS.echo]);
    await until('the provider\'s call rings', async () => (await phone.rung()).length === 1);
    await phone.page.evaluate(() => globalThis.incoming[0].call.answer());
    await phone.plays(1000);
    await phone.page.evaluate(() => globalThis.originated.cancel());
    await phone.page.evaluate(() => globalThis.incoming[0].call.hangup());
    await suite.simulator.quiet();
    assert.deepEqual(await suite.simulator.billed(), { a: 1, b: 1 });
  });

  test('originateCall() that is cancelled leaves nothing', async () => {
    const phone = await suite.phone();
    const { proxyUrl, proxyHeaders } = await suite.simulator.account();
    await phone.page.evaluate(async ({ proxyUrl, headers, destination }) => {
      const { originateCall } = await import('/pkg/index.js');
      const call = await originateCall({ proxyUrl, headers, destination });
      await call.cancel();
    }, { proxyUrl, headers: proxyHeaders, destination: NUMBERS.echo });
    const rung = await until('the call has rung or was withdrawn', async () => (await phone.rung())[0]);
    // The provider cannot be told to stop; answered now, it hangs up.
    if (rung.state === 'ringing') await phone.page.evaluate(() => globalThis.incoming[0].call.answer().catch(() => {}));
    await suite.simulator.quiet({ deadline: 30_000 });
    assert.equal((await suite.simulator.billed()).b, 0);
  });
});
