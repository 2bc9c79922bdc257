/** The folder of a host, in target/hosts: `cargo xtask test hosts` installs there what the lock file of the same name says. */

import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { Daemon } from '../support/daemon.mjs';
import { freePort } from '../support/sandbox.mjs';
import { until } from '../support/until.mjs';

export const HERE = fileURLToPath(new URL('.', import.meta.url));
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const FOLDERS = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'hosts');

/** What hosts write beside the application, and would take for the truth the next time. */
const LEAVINGS = ['.angular', '.next', '.nuxt', '.output', '.parcel-cache', '.svelte-kit', 'build', 'dist', 'public', 'node_modules/.cache', 'node_modules/.vite'];

const QUIET = {
  NG_CLI_ANALYTICS: 'false',
  NEXT_TELEMETRY_DISABLED: '1',
  NEXT_IGNORE_INCORRECT_LOCKFILE: '1',
  NUXT_TELEMETRY_DISABLED: '1',
  NO_COLOR: '1',
  NO_UPDATE_NOTIFIER: '1',
  BROWSER: 'none',
};

const execute = promisify(execFile);

/** `npm pack` of a folder; returns the tarball. */
export async function pack(folder = 'pkg') {
  await mkdir(FOLDERS, { recursive: true });
  const args = ['pack', '--json', '--foreground-scripts=false', '--pack-destination', FOLDERS];
  const { stdout } = await execute('npm', args, { cwd: join(ROOT, folder) });
  return join(FOLDERS, JSON.parse(stdout)[0].filename);
}

/** Unpacks a tarball into node_modules, as npm does. */
async function unpack(tarball, folder, name) {
  const unpacked = join(folder, 'node_modules', name);
  await rm(unpacked, { recursive: true, force: true });
  await mkdir(unpacked, { recursive: true });
  await execute('tar', ['-xzf', tarball, '--strip-components=1', '-C', unpacked]);
}

export class Host {
  #folder;

  constructor(folder) {
    this.#folder = folder;
  }

  /** A fresh application with the package in it; `more`: other tarballs by name. */
  static async prepare({ install, app, softphone = '.' }, tarball, more = {}) {
    const folder = join(FOLDERS, install ?? app);
    await mkdir(folder, { recursive: true });
    for (const leaving of LEAVINGS) await rm(join(folder, leaving), { recursive: true, force: true });
    if (app) {
      await cp(join(HERE, 'apps', app), folder, { recursive: true });
      await cp(join(HERE, 'apps', 'shared'), join(folder, softphone), { recursive: true });
    }
    for (const [name, file] of Object.entries({ 'wasm-softphone': tarball, ...more })) await unpack(file, folder, name);
    return new Host(folder);
  }

  path(inside) {
    return join(this.#folder, inside);
  }

  /** A package, a name in its `bin`, arguments; or one script of the host's own. */
  async #command([first, name, ...args]) {
    if (name === undefined) return [this.path(first)];
    const home = this.path(join('node_modules', first));
    const { bin } = JSON.parse(await readFile(join(home, 'package.json'), 'utf8'));
    return [join(home, typeof bin === 'string' ? bin : bin[name]), ...args];
  }

  #options(way, more) {
    const { NODE_OPTIONS, NODE_TEST_CONTEXT, ...env } = process.env;
    return { cwd: this.#folder, env: { ...env, ...QUIET, ...(way === 'production' && { NODE_ENV: 'production' }), ...more } };
  }

  /** Runs a command that ends. Returns what it has printed. */
  async run(command, way, more) {
    const options = { ...this.#options(way, more), timeout: 300_000, maxBuffer: 1 << 26 };
    try {
      const { stdout, stderr } = await execute(process.execPath, await this.#command(command), options);
      return stdout + stderr;
    } catch (error) {
      throw new Error(`${command.join(' ')}: ${error.message}\n${error.stdout}\n${error.stderr}`, { cause: error });
    }
  }

  /** Runs a command that serves, until it is closed. */
  async serve(command, way) {
    const port = await freePort();
    const options = this.#options(way, { HOST: '127.0.0.1', PORT: String(port) });
    const daemon = new Daemon(process.execPath, await this.#command(command(String(port))), options);
    const url = `http://127.0.0.1:${port}`;
    const answers = async () => {
      daemon.check();
      return (await fetch(url, { signal: AbortSignal.timeout(60_000) })).ok;
    };
    try {
      await until(`${url} answers`, answers, { deadline: 120_000, every: 100 });
    } catch (error) {
      await daemon.stop();
      throw new Error(`${error.message}\n${daemon.output}`, { cause: error });
    }
    return {
      url,
      get output() {
        return daemon.output;
      },
      close: () => daemon.stop(),
    };
  }
}
