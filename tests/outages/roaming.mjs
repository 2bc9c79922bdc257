import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { browserProgram, launchBrowser } from '../support/browser.mjs';
import { until } from '../support/until.mjs';

/** Where everything is that does not move. */
export const SERVER_ADDRESS = '10.99.0.1';
/** Browsers take every name in `localhost` for loopback: a page from there may use a microphone, and plain `ws:`. */
export const SERVER_NAME = 'server.localhost';

/** The ways that there are: the interface inside, the one of the other end, and what both their addresses begin with. */
const WAYS = {
  wifi: { inside: 'wlan0', outside: 'ap0', net: '10.99.1', metric: 100 },
  mobile: { inside: 'wwan0', outside: 'cell0', net: '10.99.2', metric: 200 },
};

const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;
const run = (program, ...args) => execFileSync(program, args, { env: { ...process.env, PATH }, stdio: 'pipe' });

/** Why networks can't be made here; `null` where they can. */
export function lacksNetworks() {
  try {
    run('unshare', '--net', 'iptables', '--wait', '--list', 'INPUT', '--numeric');
    return null;
  } catch (error) {
    return `no networks can be made here: ${error.message.split('\n')[0]}`;
  }
}

/** A device in a network namespace of its own, with Wi-Fi and a mobile network, each of which leads to the servers. */
export class Device {
  #holder;
  #folder;

  static async start() {
    const device = new Device();
    device.#holder = spawn('unshare', ['--net', 'sleep', 'infinity'], { env: { ...process.env, PATH }, stdio: 'ignore' });
    await once(device.#holder, 'spawn');
    const ours = readlinkSync('/proc/self/ns/net');
    await until('the device has its namespace', () => readlinkSync(`/proc/${device.#holder.pid}/ns/net`) !== ours);
    // An interface that is not the loopback: browsers offer its address for media.
    run('ip', 'link', 'add', 'lan0', 'type', 'veth', 'peer', 'name', 'lan1');
    run('ip', 'address', 'add', `${SERVER_ADDRESS}/24`, 'dev', 'lan0');
    for (const name of ['lan0', 'lan1']) run('ip', 'link', 'set', name, 'up');
    device.#inside('ip', 'link', 'set', 'lo', 'up');
    for (const { inside, outside, net } of Object.values(WAYS)) {
      run('ip', 'link', 'add', outside, 'type', 'veth', 'peer', 'name', inside, 'netns', String(device.#holder.pid));
      run('ip', 'address', 'add', `${net}.1/24`, 'dev', outside);
      run('ip', 'link', 'set', outside, 'up');
      // Without this an interface that is up has an IPv6 address, and browsers believe that they are online.
      device.#inside('ip', 'link', 'set', inside, 'addrgenmode', 'none');
      device.#inside('ip', 'link', 'set', inside, 'up');
    }
    device.connect('wifi');
    return device;
  }

  #inside(...command) {
    return run('nsenter', `--net=/proc/${this.#holder.pid}/ns/net`, ...command);
  }

  /** The interface gets its address, and is a way to the servers. */
  connect(way) {
    const { inside, net, metric } = WAYS[way];
    this.#inside('ip', 'address', 'replace', `${net}.2/24`, 'dev', inside);
    this.#inside('ip', 'route', 'replace', 'default', 'via', `${net}.1`, 'metric', String(metric));
  }

  /** It loses it, with all routes. */
  disconnect(way) {
    this.#inside('ip', 'address', 'flush', 'dev', WAYS[way].inside);
  }

  /** From now on no UDP comes from the device or to it; or with `ports` none of these. Undone by what this returns. */
  blockUdp(ports = []) {
    const undo = [];
    for (const port of ports.length ? ports : [null]) {
      const rule = (which, ...more) => ['INPUT', '--protocol', 'udp', ...(port ? [which, String(port)] : []), ...more, '--jump', 'DROP'];
      const rules = [
        [(...command) => this.#inside(...command), rule('--dport')],
        ...Object.values(WAYS).map(({ outside }) => [run, rule('--sport', '--in-interface', outside)]),
      ];
      for (const [where, line] of rules) {
        where('iptables', '--wait', '--append', ...line);
        undo.push(() => where('iptables', '--wait', '--delete', ...line));
      }
    }
    return () => {
      for (const step of undo.splice(0)) step();
    };
  }

  /** A browser on it. */
  async browser() {
    this.#folder = mkdtempSync(join(tmpdir(), 'wasm-softphone-device-'));
    const executablePath = join(this.#folder, 'chromium');
    writeFileSync(executablePath, `#!/bin/sh\nPATH="$PATH:/usr/sbin:/sbin"\nexec nsenter --net=/proc/${this.#holder.pid}/ns/net '${browserProgram()}' "$@"\n`, { mode: 0o755 });
    return launchBrowser({ executablePath, loopback: false, args: [`--host-resolver-rules=MAP ${SERVER_NAME} ${SERVER_ADDRESS}`] });
  }

  stop() {
    // The namespace goes with its last process, and the interfaces with the namespace.
    this.#holder.kill('SIGKILL');
    run('ip', 'link', 'delete', 'lan0');
    if (this.#folder) rmSync(this.#folder, { recursive: true, force: true });
  }
}
