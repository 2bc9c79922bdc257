import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { writePart } from '../support/document.mjs';
import { LACKING, PEERS, REMARKS, SERVERS } from './peers.mjs';

const DOCUMENT = fileURLToPath(new URL('../../docs/interop.md', import.meta.url));
const HEAD = `Written by \`cargo xtask test interop\`: what happened when this package met each of these through ${SERVERS.kamailio}, and
${SERVERS.rtpengine} where the other side speaks plain RTP. "We" is this package in Chromium; in a transfer whoever is not "we"
is of the other kind. Audio is a tone of its own for each party, told by frequency and level at the far end, and counted
in packets. "no": the other side has no means for it; what it does instead is tested, and told below.
`;

/** The results of the tests, and the document that is made of them. */
export class Table {
  #cells = new Map();
  #rows = [];

  /**
   * A cell, and the test that fills it. `check` gets what `parties()` returns, as does what is tested in its place
   * where the peer lacks something.
   */
  cell(peer, feature, direction, parties, check) {
    const row = `${feature} | ${direction}`;
    if (!this.#rows.includes(row)) this.#rows.push(row);
    const key = `${peer}: ${row}`;
    const lacking = LACKING[peer][row];
    this.#cells.set(key, { text: 'not run' });
    test(`${PEERS[peer]}: ${feature}, ${direction}${lacking ? ' (what it does instead)' : ''}`, async () => {
      this.#cells.set(key, { text: '**fail**' });
      await (lacking?.instead ?? check)(parties());
      this.#cells.set(key, { text: lacking ? 'no' : 'pass', note: lacking?.why ?? REMARKS[peer][row] });
    });
  }

  /** Nothing that is known of a peer may belong to a row that is not there. */
  check() {
    for (const known of [LACKING, REMARKS]) {
      for (const [peer, rows] of Object.entries(known)) {
        for (const row of Object.keys(rows)) {
          if (!this.#cells.has(`${peer}: ${row}`)) throw new Error(`no test has the row "${row}" of ${peer}`);
        }
      }
    }
  }

  /** The rows of one feature together, in the order of the tests. */
  #sorted() {
    const features = [...new Set(this.#rows.map((row) => row.split(' | ')[0]))];
    return features.flatMap((feature) => this.#rows.filter((row) => row.startsWith(`${feature} | `)));
  }

  /** Writes its part of the document. */
  async write() {
    const peers = Object.keys(PEERS);
    const notes = [];
    const shown = (peer, row) => {
      const { text, note } = this.#cells.get(`${peer}: ${row}`) ?? { text: 'not run' };
      if (!note) return text;
      if (!notes.includes(note)) notes.push(note);
      return `${text} (${notes.indexOf(note) + 1})`;
    };
    const lines = [
      `| feature | direction | ${peers.map((peer) => PEERS[peer]).join(' | ')} |`,
      `|---|---|${peers.map(() => '---|').join('')}`,
      ...this.#sorted().map((row) => `| ${row} | ${peers.map((peer) => shown(peer, row)).join(' | ')} |`),
    ];
    const explained = notes.map((note, index) => `${index + 1}. ${note}`);
    await writePart(DOCUMENT, 'interop', [HEAD, ...lines, ...(explained.length ? ['', ...explained] : []), ''].join('\n'));
  }
}
