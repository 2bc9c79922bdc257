// `wasm-softphone` with the WebAssembly module in it: nothing is fetched.
export * from './index.js';
export { default } from './index.js';
