import * as softphone from 'wasm-softphone';
import { expect, test } from 'vitest';

import { check } from './check.mjs';

test('a phone is made and checked', async () => {
  await check(softphone);
  expect(softphone.Call.name).toBe('Call');
});
