/** Only the call that was dialled is answered by itself; whoever else calls rings, hears nothing and is told nothing. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { NUMBERS, STRANGER } from '../support/elks.mjs';
import { until } from '../support/until.mjs';
import { ElksSuite } from './elks-suite.mjs';

const OWN = '+4600100100';
const CALLER_ID = '+46766860000';
/** Milliseconds until the provider's call comes, for what happens before. */
const LATE = 6000;

describe('the call that answers itself', { timeout: 300_000 }, () => {
  const suite = new ElksSuite();

  test('a stranger\'s call during the dial rings, and is not answered', async () => {
    const phone = await suite.phone();
    await suite.simulator.arm('late-invite-after-cancel', LATE);
    await phone.begin(NUMBERS.echo);
    await phone.reaches('ringing-client');
    await suite.simulator.incoming(STRANGER, OWN);
    await until('it rings', async () => (await phone.rung()).length === 1);
    const [{ from }] = await phone.rung();
    assert.match(from, new RegExp(`\\${STRANGER}`));
    await phone.hangup();
    assert.equal((await phone.outcome()).code, 'aborted');
    const [{ state }] = await phone.rung();
    assert.equal(state, 'ringing', 'the end of the dial is no answer to the stranger');
    await phone.untouched();
    await phone.page.evaluate(() => globalThis.incoming[0].call.reject());
    // Both sides of the stranger's call, and the provider's, which comes too late.
    const { legs } = await suite.simulator.quiet({ atLeast: 3 });
    assert.ok(legs.every(({ answered }) => !answered), JSON.stringify(legs));
  });

  test('a stranger who calls in the window of a dial that comes about keeps ringing', async () => {
    const phone = await suite.phone();
    await suite.simulator.arm('stranger-call-in-window');
    const result = await phone.dial(NUMBERS.echo);
    assert.equal(result.code, null, result.message);
    await phone.plays(1000);
    const rung = await phone.rung();
    assert.equal(rung.length, 1);
    assert.equal(rung[0].state, 'ringing');
    await phone.hangup();
    await phone.ended();
    await phone.page.evaluate(() => globalThis.incoming[0].call.reject());
    await suite.simulator.quiet();
    assert.deepEqual(await suite.simulator.billed(), { a: 1, b: 1 });
  });

  test('our own number, spoofed: it hears nothing and is not heard', async () => {
    const phone = await suite.phone();
    await suite.simulator.arm('spoofed-own-number-in-window');
    await phone.begin(NUMBERS.echo);
    const result = await phone.outcome();
    const { legs } = await suite.simulator.quiet({ deadline: 30_000 });
    assert.equal(result.code, 'unverified_bridge', result.message);
    await phone.untouched();
    const [{ heard }] = legs.filter(({ leg }) => leg === 'stranger');
    assert.equal(heard.packets, 0, 'the caller has heard something');
    assert.equal((await suite.simulator.billed()).b, 0);
  });

  test('our own number, spoofed, while the provider\'s call is still to come', async () => {
    const phone = await suite.phone();
    await suite.simulator.arm('late-invite-after-cancel', LATE);
    await phone.begin(NUMBERS.echo);
    await phone.reaches('ringing-client');
    await suite.simulator.incoming(CALLER_ID, OWN);
    await phone.reaches('client-connected');
    await until('the caller is loud', async () => (await phone.audio()).received > 50);
    const result = await phone.outcome();
    assert.equal(result.code, 'unverified_bridge', result.message);
    await phone.untouched();
    const { legs } = await suite.simulator.quiet({ deadline: 30_000, atLeast: 3 });
    for (const { heard } of legs) assert.ok(!heard || heard.packets === 0, 'the caller has heard something');
    assert.equal((await suite.simulator.billed()).b, 0);
  });

  test('without a dial our own number rings like any other', async () => {
    const phone = await suite.phone();
    await suite.simulator.incoming(CALLER_ID, OWN);
    await until('it rings', async () => (await phone.rung())[0]?.state === 'ringing');
    await phone.untouched();
    await phone.page.evaluate(() => globalThis.incoming[0].call.reject());
    await suite.simulator.quiet();
  });

  test('of two tabs one is armed; the other is told so, and can dial afterwards', async () => {
    const profile = await suite.profile();
    const refused = await suite.phone({ profile });
    // The provider calls the one that has registered last.
    const armed = await suite.phone({ profile });
    await suite.simulator.arm('late-invite-after-cancel', LATE);
    await armed.begin(NUMBERS.echo);
    await armed.reaches('ringing-client');
    const refusal = await refused.dial(NUMBERS.echo);
    assert.equal(refusal.code, 'already_dialing');
    assert.match(refusal.message, /tab/);
    await armed.hangup();
    await armed.outcome();
    await suite.simulator.quiet({ atLeast: 1 });
    await suite.simulator.reset();
    await refused.page.evaluate(async () => {
      await globalThis.phone.disconnect();
      await globalThis.phone.connect();
    });
    const result = await refused.dial(NUMBERS.echo);
    assert.equal(result.code, null, result.message);
    await refused.plays(1000);
    await armed.untouched();
    await refused.hangup();
    await refused.ended();
    await suite.simulator.quiet();
    assert.deepEqual(await suite.simulator.billed(), { a: 1, b: 1 });
  });

  test('both tabs ring: the one that has dialled answers, the other never does', async () => {
    await suite.simulator.configure({ reg: 'fork' });
    const profile = await suite.profile();
    const other = await suite.phone({ profile });
    const phone = await suite.phone({ profile });
    const result = await phone.dial(NUMBERS.echo);
    assert.equal(result.code, null, result.message);
    await phone.plays(1000);
    await until('the other tab has stopped ringing', async () => (await other.rung()).every(({ state }) => state === 'ended'));
    await other.untouched();
    assert.deepEqual(await phone.rung(), []);
    await phone.hangup();
    await phone.ended();
    await suite.simulator.quiet();
    assert.deepEqual(await suite.simulator.billed(), { a: 1, b: 1 });
  });
});
