/** Whatever the provider does wrong, a dial ends in an outcome, and no leg is paid for twice. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { NUMBERS } from '../support/elks.mjs';
import { ElksSuite } from './elks-suite.mjs';

/**
 * `code` is that of the dial's error. Without one, the call comes about, and `ends` is how it ended. A far end that
 * fails at once (`atOnce`) may overtake the proxy's confirmation, which comes over another connection: the dial then
 * fails with the same code, and the microphone was never heard.
 */
const FAULTS = [
  { fault: '401', code: 'provider_error', billed: { a: 0, b: 0 } },
  { fault: '403-from', code: 'provider_error', billed: { a: 0, b: 0 } },
  { fault: '403-to', code: 'invalid_destination', billed: { a: 0, b: 0 } },
  { fault: '403-missing', code: 'provider_error', billed: { a: 0, b: 0 } },
  { fault: '402', code: 'provider_error', billed: { a: 0, b: 0 } },
  { fault: '429', code: 'provider_error', hint: /in 7 seconds/, billed: { a: 0, b: 0 } },
  { fault: '500', code: 'provider_error', billed: { a: 0, b: 0 } },
  { fault: 'html-502-body', code: 'provider_error', billed: { a: 0, b: 0 } },
  { fault: 'truncated-json', code: 'provider_error', billed: { a: 1, b: 0 } },
  { fault: 'response-lost', billed: { a: 1, b: 1 } },
  { fault: 'invite-before-response', billed: { a: 1, b: 1 } },
  { fault: 'no-invite', code: 'bridge_missing', billed: { a: 0, b: 0 } },
  { fault: 'late-invite-after-cancel', billed: { a: 1, b: 1 } },
  { fault: 'dup-voice-start', billed: { a: 1, b: 1 } },
  { fault: 'voice-start-other-callid', value: 'after', billed: { a: 1, b: 1 } },
  { fault: 'voice-start-other-callid', value: 'before', billed: { a: 1, b: 1 } },
  { fault: 'voice-start-other-callid', value: 'instead', code: 'provider_error', billed: { a: 1, b: 0 } },
  { fault: 'voice-start-slow', value: 2000, billed: { a: 1, b: 1 } },
  { fault: 'voice-start-slow', value: 6000, code: 'unverified_bridge', billed: { a: 1, b: 0 } },
  { fault: 'hangup-hook-dup', billed: { a: 1, b: 1 } },
  { fault: 'hangup-hook-late', billed: { a: 1, b: 1 } },
  { fault: 'hangup-hook-before-voice-start', code: 'unverified_bridge', billed: { a: 1, b: 0 } },
  // All phones of the number ring, ...
  { fault: 'two-registrations', reg: 'fork', billed: { a: 1, b: 1 } },
  // ... or only the one that came later, which nobody answers, or somebody else does.
  { fault: 'two-registrations', code: 'bridge_missing', billed: { a: 1, b: 0 } },
  { fault: 'two-registrations', value: 'answer', code: 'unverified_bridge', billed: { a: 1, b: 0 } },
  { fault: 'unknown-state', billed: { a: 1, b: 1 } },
  { fault: 'b-busy', ends: 'busy', atOnce: true, billed: { a: 1, b: 1 } },
  { fault: 'b-failed', ends: 'provider_error', atOnce: true, billed: { a: 1, b: 1 } },
];
// In the other files, as such or as what a number does.
const ELSEWHERE = ['b-noanswer', 'stranger-call-in-window', 'spoofed-own-number-in-window'];

describe('faults of the provider', { timeout: 600_000 }, () => {
  const suite = new ElksSuite();

  test('every fault of the simulator has its test', async () => {
    const tested = [...FAULTS.map(({ fault }) => fault), ...ELSEWHERE];
    assert.deepEqual([...new Set(tested)].sort(), (await suite.simulator.faults()).sort());
  });

  for (const { fault, value, reg, code, ends = 'completed', atOnce, hint, billed } of FAULTS) {
    const detail = value ?? reg;
    const name = detail === undefined ? fault : `${fault} (${detail})`;
    test(`${name}: ${code ?? `the call comes about, and ends as ${ends}`}`, async () => {
      const phone = await suite.phone();
      if (reg) await suite.simulator.configure({ reg });
      await suite.simulator.arm(fault, value);
      const result = await phone.dial(NUMBERS.echo);
      const overtaken = atOnce && result.code !== null;
      assert.equal(result.code, overtaken ? ends : code ?? null, result.message);
      if (result.code) {
        assert.match(result.hint, hint ?? /./, 'there is no hint');
        await phone.untouched();
      } else if (ends === 'completed') {
        await phone.plays(1000);
        await phone.hangup();
      }
      if (!code) assert.equal((await phone.ended()).code, ends);
      await suite.simulator.quiet({ deadline: 40_000, atLeast: billed.a + billed.b });
      const { a, b } = await suite.simulator.billed();
      assert.deepEqual({ a, b }, billed);
      assert.ok(a <= 1 && b <= 1);
      assert.deepEqual(await phone.rung(), []);
    });
  }
});
