import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** Stands between pages and a server on a TCP port of loopback, and fails as networks do. */
export class TcpProxy {
  #server;
  #pairs = new Set();

  static async start(port, target, address = '127.0.0.1') {
    const proxy = new TcpProxy();
    proxy.#server = createServer((inner) => proxy.#accepted(inner, connect(target, '127.0.0.1')));
    proxy.#server.listen(port, address);
    await once(proxy.#server, 'listening');
    return proxy;
  }

  #accepted(inner, outer) {
    const pair = { inner, outer, stalled: false };
    this.#pairs.add(pair);
    for (const [from, to] of [[inner, outer], [outer, inner]]) {
      from.on('data', (data) => {
        if (!pair.stalled) to.write(data);
      });
      // A stalled one hides even the end of the other side.
      for (const event of ['error', 'close']) {
        from.on(event, () => {
          if (!pair.stalled) to.destroy();
          if (inner.destroyed && outer.destroyed) this.#pairs.delete(pair);
        });
      }
    }
  }

  /** Resets every connection; new ones are let through. */
  cut() {
    for (const { inner, outer } of this.#pairs) {
      inner.resetAndDestroy();
      outer.resetAndDestroy();
    }
  }

  /** The connections of this moment stay open, and swallow everything from now on; new ones are let through. */
  stall() {
    for (const pair of this.#pairs) pair.stalled = true;
  }

  async stop() {
    this.#server.close();
    this.cut();
    await once(this.#server, 'close');
  }
}
