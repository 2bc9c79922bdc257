// The package with the module in it as a text: nothing is fetched. Larger where the server compresses with brotli.
import init from './index.js';
import { embedded } from './embedded.js';

export * from './index.js';

/** As `init()` of `wasm-softphone`; without a source it loads the module that is in here. */
export default (source) => init(source ?? embedded());
