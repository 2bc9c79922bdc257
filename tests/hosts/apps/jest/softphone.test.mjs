import { expect, test } from '@jest/globals';
import * as softphone from 'wasm-softphone';

import { check } from './check.mjs';

test('a phone is made and checked', async () => {
  await check(softphone);
  expect(softphone.Call.name).toBe('Call');
});
