import { ready, start } from 'phone';

// A page that can be called, and nothing else. `registered` is what the measurement waits for.
const none = { happened() {}, read() {}, rings() {} };
await ready();
await start(none);
globalThis.registered.resolve(performance.now());
