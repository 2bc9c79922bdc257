/**
 * Runs the parts that are named, prints them, and with `--write` writes them to docs/performance.md. `cargo xtask bench` calls it.
 *
 *     node run.mjs [--beside DIR] [--rounds N] [--profile FILE] [--write] PART...
 */

import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { launchBrowser } from '../support/browser.mjs';
import { writePart } from '../support/document.mjs';
import { RATIOS } from './figures.mjs';
import { first } from './first.mjs';
import { libraries } from './libraries.mjs';
import { messages } from './messages.mjs';
import { page } from './page.mjs';
import { profile } from './profile.mjs';

const PARTS = { messages, first, page };
const DOCUMENT = fileURLToPath(new URL('../../docs/performance.md', import.meta.url));

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    beside: { type: 'string' },
    rounds: { type: 'string' },
    profile: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});
const all = libraries(values.beside);
const settings = values.rounds ? { rounds: Number(values.rounds) } : {};

const browser = await launchBrowser();
try {
  if (values.profile) {
    await profile(browser, values.profile);
  } else {
    const processors = cpus();
    const machine = `${processors[0].model.trim()}, ${processors.length} cores; ${process.platform}; Chromium ${browser.version()}, headless; ${new Date().toISOString().slice(0, 10)}.`;
    for (const part of positionals) {
      const { title, table, method } = await PARTS[part](browser, all, settings);
      console.log(`\n${title}\n\n${table}\n`);
      if (values.write) await writePart(DOCUMENT, part, `## ${title}\n\n${table}\n\n${RATIOS} ${method}\n\nMeasured on: ${machine}`);
    }
    console.log(machine);
  }
} finally {
  await browser.close();
}
