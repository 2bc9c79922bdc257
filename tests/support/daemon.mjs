import { spawn } from 'node:child_process';
import { once } from 'node:events';

const running = new Set();
const OUTPUT_KEPT = 64 * 1024;

// The last resort; tests stop what they start.
process.on('exit', () => {
  for (const daemon of running) daemon.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => process.exit(1));
}

/** A program that runs until it is stopped, in a process group of its own, so that its children go with it. */
export class Daemon {
  #child;
  #ended;
  #output = '';

  constructor(program, args, options = {}) {
    this.name = program.split('/').at(-1);
    this.#child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, ...options });
    running.add(this);
    this.#ended = new Promise((resolve) => {
      this.#child.once('error', (error) => {
        this.#keep(`${error.message}\n`);
        resolve();
      });
      this.#child.once('close', () => resolve());
    });
    this.#ended.then(() => running.delete(this));
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => this.#keep(text));
    }
  }

  /** The end of what it has printed. */
  get output() {
    return this.#output;
  }

  get alive() {
    return running.has(this) && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Throws when it has ended by itself. */
  check() {
    if (!this.alive) throw new DaemonEnded(`${this.name} has ended (${this.#child.exitCode ?? this.#child.signalCode}):\n${this.#output}`);
  }

  kill(signal) {
    try {
      process.kill(-this.#child.pid, signal);
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  }

  async stop(signal = 'SIGTERM') {
    if (!running.has(this)) return;
    this.kill(signal);
    const hard = setTimeout(() => this.kill('SIGKILL'), 3000);
    await this.#ended;
    clearTimeout(hard);
  }

  /** Waits until it has printed something that matches. */
  async printed(pattern, deadline = 10_000) {
    const end = AbortSignal.timeout(deadline);
    for (;;) {
      const match = pattern.exec(this.#output);
      if (match) return match;
      this.check();
      try {
        await Promise.race([once(this.#child.stdout, 'data', { signal: end }), once(this.#child.stderr, 'data', { signal: end }), this.#ended]);
      } catch {
        throw new Error(`${this.name} has not printed ${pattern} within ${deadline} ms:\n${this.#output}`);
      }
    }
  }

  #keep(text) {
    this.#output = (this.#output + text).slice(-OUTPUT_KEPT);
  }
}

export class DaemonEnded extends Error {}
