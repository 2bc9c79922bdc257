const { check } = require('./check.mjs');

check(require('wasm-softphone'));
