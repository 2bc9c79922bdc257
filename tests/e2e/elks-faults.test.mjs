/** Whatever the provider does wrong, a dial ends in an outcome, and no leg is paid for twice. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { NUMBERS } from '../support/elks.mjs';
import { ElksSuite } from './elks-suite.mjs';

/** `code` is that of the dial's error; without one, the call comes about and ends as `completed`. */
const FAULTS = [
  { fault: '401', code: 'provider_error', billed: { a: 0, b: 0 } },
  { fault: '403', code: 'provider_error', billed: { a: 0, b: 0 } },
  { fault: '402', code: 'provider_error', billed: { a: 0, b: 0 } },
  { fault: '429', code: 'provider_error', hint: /again in \d+ second/, billed: { a: 0, b: 0 } },
  { fault: '500', code: 'provider_error', billed: { a: 0, b: 0 } },
  { fault: 'html-502-body', code: 'provider_error', billed: { a: 0, b: 0 } },
  { fault: 'truncated-json', code: 'provider_error', billed: { a: 0, b: 0 } },
  { fault: 'response-lost', billed: { a: 1, b: 1 } },
  { fault: 'invite-before-response', billed: { a: 1, b: 1 } },
  { fault: 'no-invite', code: 'bridge_missing', billed: { a: 0, b: 0 } },
  { fault: 'dup-voice-start', billed: { a: 1, b: 1 } },
  { fault: 'voice-start-other-callid', code: 'unverified_bridge', billed: { a: 1, b: 0 } },
  { fault: 'voice-start-slow', code: 'unverified_bridge', billed: { a: 1, b: 0 } },
  { fault: 'hangup-hook-dup', billed: { a: 1, b: 1 } },
  { fault: 'hangup-hook-late', billed: { a: 1, b: 1 } },
  { fault: 'hangup-hook-before-voice-start', code: 'provider_error', billed: { a: 1, b: 0 } },
  { fault: 'two-registrations', billed: { a: 1, b: 1 } },
  { fault: 'unknown-state', billed: { a: 1, b: 1 } },
];

describe('faults of the provider', { timeout: 600_000 }, () => {
  const suite = new ElksSuite();

  for (const { fault, code, hint, billed } of FAULTS) {
    test(`${fault}: ${code ?? 'the call comes about'}`, async () => {
      const phone = await suite.phone();
      await suite.simulator.arm(fault);
      const result = await phone.dial(NUMBERS.echo);
      assert.equal(result.code, code ?? null, result.message);
      if (code) {
        assert.match(result.hint, hint ?? /./, 'there is no hint');
        await phone.untouched();
      } else {
        await phone.plays(1000);
        await phone.hangup();
        assert.equal((await phone.ended()).code, 'completed');
      }
      await suite.simulator.quiet({ deadline: 40_000 });
      const { a, b } = await suite.simulator.billed();
      assert.deepEqual({ a, b }, billed);
      assert.ok(a <= 1 && b <= 1);
      assert.deepEqual(await phone.rung(), []);
    });
  }
});
