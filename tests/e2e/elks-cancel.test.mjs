/** A call by REST can be given up in every phase, in every way, and never leaves a leg ringing or a paid call up. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { NUMBERS } from '../support/elks.mjs';
import { until } from '../support/until.mjs';
import { ElksSuite } from './elks-suite.mjs';

// Requests that are cut off by the page's end, or held by the test.
const CUT = [/net::ERR_/, /Failed to load resource/];

/** Milliseconds until the provider calls, for the phases before that. */
const LATE = 4000;

/** Holds what matches, until the page is gone. */
async function hold(page, method, path, { after = false } = {}) {
  await page.route((url) => path.test(url.pathname), async (route) => {
    if (route.request().method() !== method) return route.fallback();
    // `after`: the proxy gets it, and its answer is lost on the way.
    if (after) await route.fetch();
    return undefined;
  });
}

/** Where a dial can be stopped, and what has been paid for by then. */
const PHASES = [
  {
    name: 'while the request is on its way',
    prepare: (suite, phone) => hold(phone.page, 'PUT', /\/v1\/calls\//),
    stage: 'requesting',
    billed: { a: 0, b: 0 },
  },
  {
    name: 'while the answer to the request is on its way',
    prepare: async (suite, phone) => {
      await suite.simulator.arm('late-invite-after-cancel', LATE);
      await hold(phone.page, 'PUT', /\/v1\/calls\//, { after: true });
    },
    stage: 'requesting',
    also: async (suite) => until('the provider has the call', async () => (await suite.simulator.log()).requests.length > 0),
    billed: { a: 1, b: 0 },
  },
  {
    name: 'before the provider calls',
    prepare: (suite) => suite.simulator.arm('late-invite-after-cancel', LATE),
    stage: 'ringing-client',
    billed: { a: 1, b: 0 },
  },
  {
    name: 'answered, before the proof',
    // Without a claim the proxy proves nothing.
    prepare: (suite, phone) => hold(phone.page, 'POST', /\/claim$/),
    stage: 'client-connected',
    answered: true,
    billed: { a: 1, b: 0 },
  },
  {
    name: 'while the number rings',
    number: NUMBERS.noAnswer,
    prepare: async () => {},
    stage: 'connected',
    answered: true,
    also: async (suite) => until('the number rings', async () => (await suite.simulator.billed()).b === 1),
    billed: { a: 1, b: 1 },
  },
  {
    name: 'in the conversation',
    prepare: async () => {},
    stage: 'connected',
    answered: true,
    also: (suite, phone) => phone.plays(1000),
    billed: { a: 1, b: 1 },
  },
];

/** Ways to give a dial up, and the code of its result where it had none yet. */
const WAYS = [
  { name: 'hangup()', act: (phone) => phone.hangup(), code: 'aborted' },
  { name: 'AbortSignal', act: (phone) => phone.abort(), code: 'aborted', dialOnly: true },
  { name: 'timeout', options: { timeout: 1500 }, act: async () => {}, code: 'timeout', dialOnly: true },
  { name: 'leaving the page', act: (phone) => phone.page.reload(), gone: true },
  { name: 'the tab closes', act: (phone) => phone.page.close(), gone: true },
];

describe('giving up a call through 46elks', { timeout: 600_000 }, () => {
  const suite = new ElksSuite();

  for (const phase of PHASES) {
    const ways = WAYS.filter(({ dialOnly }) => !(dialOnly && phase.stage === 'connected'));
    for (const way of ways) {
      test(`${phase.name}: ${way.name}`, async () => {
        const phone = await suite.phone({ expected: CUT });
        await phase.prepare(suite, phone);
        await phone.begin(phase.number ?? NUMBERS.echo, way.options);
        await phone.reaches(phase.stage);
        await phase.also?.(suite, phone);
        await way.act(phone);
        if (!way.gone) {
          const result = await phone.outcome({ deadline: 10_000 });
          const end = await phone.ended({ deadline: 10_000 });
          if (phase.stage === 'connected') {
            assert.deepEqual([result.success, end.code, end.by], [true, 'completed', 'local']);
          } else {
            assert.equal(result.code, way.code, result.message);
            await phone.untouched();
          }
          assert.deepEqual(await phone.rung(), []);
        }
        const { legs } = await suite.simulator.quiet({ deadline: 30_000, atLeast: phase.billed.a + phase.billed.b });
        assert.deepEqual(await suite.simulator.billed(), phase.billed);
        assert.ok(legs.every(({ answered }) => !answered || phase.answered), 'a leg was answered');

        // And the number is free for the next call.
        await suite.simulator.reset();
        const next = await suite.phone();
        const result = await next.dial(NUMBERS.echo);
        assert.equal(result.code, null, result.message);
        await next.hangup();
        await next.ended();
      });
    }
  }

  test('a dial that is given up at once makes way for the next', async () => {
    const phone = await suite.phone();
    const codes = await phone.page.evaluate(async (to) => {
      const found = [];
      for (let dials = 0; dials < 3; dials += 1) {
        const abort = new AbortController();
        const dial = globalThis.phone.dial(to, { signal: abort.signal });
        abort.abort();
        found.push((await dial).error.code);
      }
      const { call, error } = await globalThis.phone.dial(to);
      await call?.hangup();
      return [...found, error?.code ?? null];
    }, NUMBERS.echo);
    assert.deepEqual(codes, ['aborted', 'aborted', 'aborted', null]);
    await suite.simulator.quiet({ deadline: 30_000, atLeast: 1 });
    assert.equal((await suite.simulator.billed()).a, 1);
  });

  test('a call of the provider that comes after the dial was given up is refused, and does not ring', async () => {
    const phone = await suite.phone();
    await suite.simulator.arm('late-invite-after-cancel', 3000);
    await phone.begin(NUMBERS.echo);
    await phone.reaches('ringing-client');
    await phone.hangup();
    assert.equal((await phone.outcome()).code, 'aborted');
    const { legs } = await suite.simulator.quiet({ deadline: 30_000, atLeast: 1 });
    assert.deepEqual(legs.map(({ leg, answered }) => [leg, answered]), [['a', false]]);
    assert.deepEqual(await phone.rung(), []);
    await phone.untouched();
  });
});
