import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Daemon } from './daemon.mjs';
import { until } from './until.mjs';

function program() {
  if (process.env.SANDBOX_BIN) return process.env.SANDBOX_BIN;
  const target = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('../../target', import.meta.url));
  const file = join(target, 'debug', process.platform === 'win32' ? 'sandbox.exe' : 'sandbox');
  if (!existsSync(file)) throw new Error(`${file} is not built: cargo build -p sandbox`);
  return file;
}

/** A sandbox of the test's own, which it may kill. */
export class Sandbox {
  #daemon = null;
  #more;

  /**
   * @param port of loopback
   * @param more arguments
   */
  constructor(port, more = []) {
    this.url = `http://127.0.0.1:${port}`;
    this.port = port;
    this.#more = more;
  }

  async start() {
    const daemon = new Daemon(program(), ['--port', String(this.port), ...this.#more], { cwd: fileURLToPath(new URL('../..', import.meta.url)) });
    this.#daemon = daemon;
    await until('the sandbox answers', async () => {
      daemon.check();
      return (await fetch(`${this.url}/demo.json`)).ok;
    });
  }

  /** As a power cut. */
  async kill() {
    await this.#daemon?.stop('SIGKILL');
  }

  get output() {
    return this.#daemon?.output ?? '';
  }
}

/** The sandbox that `SANDBOX_URL` names, or one started for this process. */
export async function useSandbox() {
  if (process.env.SANDBOX_URL) return { url: process.env.SANDBOX_URL, stop: async () => {} };
  const sandbox = new Sandbox(await freePort());
  await sandbox.start();
  return { url: sandbox.url, stop: () => sandbox.kill() };
}

/** A port of loopback that nobody listens on. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
