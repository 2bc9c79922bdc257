import { check } from './check.mjs';

check(await import('wasm-softphone'));
