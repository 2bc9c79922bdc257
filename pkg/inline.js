// The package with the module in it as a text: nothing is fetched. Larger where the server compresses with brotli.
import init, { DialStrategy as Phone } from './index.js';
import { embedded } from './embedded.js';

export * from './index.js';

/** As `init()` of `wasm-softphone`; without a source it loads the module that is in here. */
const load = (source) => init(source ?? embedded);
export default load;

/** Loads the module from in here when it connects. */
class DialStrategy extends Phone {
  connect() {
    // The phone waits for the same loading, and tells of its failure.
    load().catch(() => {});
    return super.connect();
  }
}
export { DialStrategy, DialStrategy as Phone };
