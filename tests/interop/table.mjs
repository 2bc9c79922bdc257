import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { FAULTS, NOT_OFFERED } from './peers.mjs';

const DOCUMENT = fileURLToPath(new URL('../../docs/interop.md', import.meta.url));
const HEAD = `# Interoperability

Written by \`cargo xtask test interop\`: what happened when this package met each of these through Kamailio 5.6 (and
rtpengine 10.5 where the other side speaks plain RTP). "We" is this package in Chromium. Audio is a tone of its own for
each party, and is measured by its frequency at the far end. A "fail" that is the other side's fault is explained
below; any other would have failed the suite.
`;

/** The results of the tests, and the document that is made of them. */
export class Table {
  #peers;
  #cells = new Map();
  #rows = [];

  /** @param peers names of the columns by their key */
  constructor(peers) {
    this.#peers = peers;
  }

  /** A cell that a test fills. Where the peer is known to be at fault the test must fail, or the list is out of date. */
  cell(peer, feature, direction, check) {
    const row = `${feature} | ${direction}`;
    if (!this.#rows.includes(row)) this.#rows.push(row);
    const key = `${peer}: ${row}`;
    const name = `${this.#peers[peer]}: ${feature}, ${direction}`;
    const missing = NOT_OFFERED[key];
    if (missing) {
      this.#cells.set(key, { text: 'not offered', note: missing });
      return;
    }
    test(name, async (context) => {
      let failure = null;
      try {
        await check(context);
      } catch (error) {
        failure = error;
      }
      const fault = FAULTS[key];
      if (fault) {
        this.#cells.set(key, { text: failure ? 'fail' : 'pass', note: fault });
        assert.ok(failure, `this passes now: take "${key}" out of the known faults`);
        return;
      }
      this.#cells.set(key, { text: failure ? '**fail**' : 'pass' });
      if (failure) throw failure;
    });
  }

  /** The rows of one feature together, in the order of the tests. */
  #sorted() {
    const features = [...new Set(this.#rows.map((row) => row.split(' | ')[0]))];
    return features.flatMap((feature) => this.#rows.filter((row) => row.startsWith(`${feature} | `)));
  }

  /** Writes the document, once every cell has a result. */
  async write() {
    const notes = [];
    const shown = (peer, row) => {
      const cell = this.#cells.get(`${peer}: ${row}`);
      if (!cell) return '–';
      if (!cell.note) return cell.text;
      if (!notes.includes(cell.note)) notes.push(cell.note);
      return `${cell.text} (${notes.indexOf(cell.note) + 1})`;
    };
    const peers = Object.keys(this.#peers);
    const lines = [
      `| feature | direction | ${peers.map((peer) => this.#peers[peer]).join(' | ')} |`,
      `|---|---|${peers.map(() => '---|').join('')}`,
      ...this.#sorted().map((row) => `| ${row} | ${peers.map((peer) => shown(peer, row)).join(' | ')} |`),
    ];
    const explained = notes.map((note, index) => `${index + 1}. ${note}`);
    await writeFile(DOCUMENT, [HEAD, ...lines, '', '–: not tried', ...(explained.length ? ['', ...explained] : []), ''].join('\n'));
  }
}
