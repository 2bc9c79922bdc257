import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { Daemon } from '../support/daemon.mjs';
import { until } from '../support/until.mjs';

export const WEBSOCKET_URL = 'ws://127.0.0.1:8088/ws';
export const DOMAIN = 'pbx.test';
export const passwordOf = (user) => `pass-word-of-${user}`;

const CONFIGURATION = fileURLToPath(new URL('conf/', import.meta.url));
const LOGS = process.env.TEST_LOGS ?? tmpdir();
const execute = promisify(execFile);

/** Of every endpoint, unless it has others. */
const ENDPOINT = {
  context: 'phones',
  subscribe_context: 'hints',
  disallow: 'all',
  allow: 'opus,ulaw,alaw',
  webrtc: 'yes',
  direct_media: 'no',
  call_group: 1,
  pickup_group: 1,
  send_pai: 'yes',
  trust_id_outbound: 'yes',
};
const ADDRESS = { max_contacts: 1, remove_existing: 'yes' };

/** Who may register, with what sets them apart. */
const ENDPOINTS = {
  1001: {},
  1002: {},
  1003: {},
  // May subscribe to what waits in its mailbox.
  1004: { address: { mailboxes: '1004@default' } },
  1005: {},
  // Several contacts.
  1006: { address: { max_contacts: 5, remove_existing: 'no' } },
  // A binding for seconds.
  1007: { address: { minimum_expiration: 10, default_expiration: 12 } },
  1011: { '100rel': 'required' },
  1012: { '100rel': 'peer_supported' },
  1013: { '100rel': 'no' },
  1014: { timers: 'always', timers_min_se: 90, timers_sess_expires: 90 },
  1015: { timers: 'required', timers_min_se: 90, timers_sess_expires: 90 },
  1016: { timers: 'no' },
  // Told of its mailbox unasked.
  1017: { mailboxes: '1017@default' },
  1021: { dtmf_mode: 'info' },
  1022: { allow: 'opus,ulaw,vp8' },
  1023: { allow: 'opus,ulaw,vp8' },
  1026: { allow: 'ulaw', t38_udptl: 'yes', t38_udptl_ec: 'redundancy' },
  1024: { connected_line_method: 'update' },
  1025: { send_pai: 'no', send_rpid: 'yes', rpid_immediate: 'yes' },
  1031: { allow: 'ulaw', direct_media: 'yes', direct_media_method: 'invite' },
  1032: { allow: 'ulaw', direct_media: 'yes', direct_media_method: 'update' },
  1033: { allow: 'alaw' },
  1034: { algorithms: 'SHA-256' },
};

/** An Asterisk on fixed ports of loopback. */
export class Asterisk {
  #root = process.env.ASTERISK_ROOT;
  #folder;
  #logs;
  #daemon = null;
  #starts = 0;
  #removed = new Set();
  #removeFolder = () => rmSync(this.#folder, { recursive: true, force: true });

  /** @param name of the folder of its logs */
  static async start(name) {
    const asterisk = new Asterisk();
    if (!asterisk.#root) throw new Error('ASTERISK_ROOT is not set: cargo xtask test asterisk');
    asterisk.#folder = await mkdtemp(join(tmpdir(), 'wasm-softphone-asterisk-'));
    asterisk.#logs = join(LOGS, name);
    process.once('exit', asterisk.#removeFolder);
    for (const folder of [asterisk.#logs, ...['etc', 'spool'].map((one) => join(asterisk.#folder, one))]) await mkdir(folder, { recursive: true });
    // What must not stand in a log.
    await writeFile(join(LOGS, 'asterisk-secrets.txt'), Object.keys(ENDPOINTS).map((user) => `${passwordOf(user)}\n`).join(''));
    for (const file of await readdir(CONFIGURATION)) {
      const text = await readFile(join(CONFIGURATION, file), 'utf8');
      const values = { RUN: asterisk.#folder, ROOT: asterisk.#root, LOGS: asterisk.#logs };
      await writeFile(join(asterisk.#folder, 'etc', file), text.replaceAll(/@(\w+)@/g, (_, key) => values[key]));
    }
    await asterisk.#writeEndpoints();
    try {
      await asterisk.boot();
    } catch (error) {
      await asterisk.stop();
      throw error;
    }
    return asterisk;
  }

  #writeEndpoints() {
    const section = (name, type, values) => [`[${name}]`, `type = ${type}`, ...Object.entries(values).map(([key, value]) => `${key} = ${value}`), ''];
    const lines = Object.entries(ENDPOINTS).filter(([user]) => !this.#removed.has(user)).flatMap(([user, { address, algorithms, ...more }]) => [
      ...section(user, 'endpoint', { ...ENDPOINT, auth: user, aors: user, callerid: `"User ${user}" <${user}>`, ...more }),
      ...section(user, 'auth', { auth_type: algorithms ? 'digest' : 'userpass', username: user, password: passwordOf(user), ...(algorithms && { supported_algorithms_uas: algorithms }) }),
      ...section(user, 'aor', { ...ADDRESS, ...address }),
    ]);
    return writeFile(join(this.#folder, 'etc', 'endpoints.conf'), lines.join('\n'));
  }

  /** By the dynamic linker of its own release: that of this machine is older. */
  #command(...args) {
    const usr = join(this.#root, 'usr');
    return [join(usr, 'lib64/ld-linux-x86-64.so.2'), [
      '--library-path', join(usr, 'lib/x86_64-linux-gnu'), join(usr, 'sbin/asterisk'), '-C', join(this.#folder, 'etc/asterisk.conf'), ...args,
    ]];
  }

  /** Starts it; returns when it takes calls. */
  async boot() {
    this.launch();
    await this.booted();
    await this.cli('pjsip set logger on');
  }

  /** Starts it, and doesn't wait. */
  launch() {
    this.#starts += 1;
    this.#daemon = new Daemon(...this.#command('-f', '-g'));
  }

  booted() {
    const daemon = this.#daemon;
    return until('Asterisk has started', async () => {
      daemon.check();
      return /fully booted/.test(await this.cli('core waitfullybooted'));
    }, { deadline: 30_000, every: 100 });
  }

  /** What its console says. */
  async cli(command) {
    const [program, args] = this.#command('-rx', command);
    const { stdout } = await execute(program, args, { timeout: 20_000 });
    return stdout;
  }

  /** As a power cut. */
  async kill() {
    await this.#daemon?.stop('SIGKILL');
    this.#daemon = null;
  }

  /** What it has logged. */
  log() {
    return readFile(join(this.#logs, 'asterisk.log'), 'utf8');
  }

  /** As if the administrator had taken this user out, or put it back. */
  async knows(user, known) {
    this.#removed[known ? 'delete' : 'add'](String(user));
    await this.#writeEndpoints();
    await this.cli('module reload res_pjsip.so');
  }

  async stop() {
    await this.#daemon?.stop();
    this.#daemon = null;
    process.off('exit', this.#removeFolder);
    this.#removeFolder();
  }

  get output() {
    return this.#daemon?.output ?? '';
  }
}
