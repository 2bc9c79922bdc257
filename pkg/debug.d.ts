// `wasm-softphone/inline` with the names of its functions in every stack: for debugging.
export * from './index.js';
export { default } from './index.js';
