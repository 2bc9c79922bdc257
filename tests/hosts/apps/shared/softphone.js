// What every host bundles: the calls of the README, without a setting of the host and without an argument of init().
import init, { DialStrategy } from 'wasm-softphone';

/** Calls the echo, and hangs up once audio has come back. `server`: the sandbox's WebSocket. */
async function callEcho(server) {
  await init();
  const phone = new DialStrategy({
    servers: server,
    uri: 'sip:bob@sandbox.test',
    credentials: { username: 'bob', password: 'bob-secret' },
  });
  await phone.connect();
  const { call, error } = await phone.dial('sip:600@sandbox.test');
  if (error) throw error;
  const end = performance.now() + 10_000;
  for (;;) {
    const { bytesSent, bytesReceived } = await call.stats();
    if (bytesSent > 1000 && bytesReceived > 1000) break;
    if (performance.now() > end) throw new Error(`no audio: ${bytesSent} bytes sent, ${bytesReceived} received`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await call.hangup();
  await phone.disconnect();
  phone.free();
}

/** The test sets `softphoneServer` before the page loads, and reads `softphoneOutcome`. */
export function run() {
  globalThis.softphoneOutcome ??= callEcho(globalThis.softphoneServer).then(
    () => 'audio both ways',
    ({ name, code, message, hint, stack }) => ({ name, code, message, hint, stack }),
  );
}
