import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const COLUMNS = ['outage', 'who', 'the call goes on', 'audio lost, s', 'registered again after, s', 'hung up at both ends after, s'];
const shown = (value) => {
  if (value === null) return '**no**';
  if (value === undefined) return '–';
  if (Array.isArray(value)) return value.map(shown).join(' / ');
  return typeof value === 'number' ? value.toFixed(1) : String(value);
};

/** What has been measured. Where there are two values the first is the caller's. */
export class Table {
  #rows = [];
  #file;

  /** @param name of the file without ".md", in the folder of the logs */
  constructor(name = 'outages') {
    this.#file = join(process.env.TEST_LOGS ?? tmpdir(), `${name}.md`);
  }

  add(outage, who, { goesOn, lost, registered, ended }) {
    this.#rows.push([outage, who, goesOn === true ? 'yes' : goesOn === false ? '**no**' : goesOn, lost, registered, ended].map(shown));
  }

  async write() {
    const lines = [COLUMNS, COLUMNS.map(() => '---'), ...this.#rows].map((cells) => `| ${cells.join(' | ')} |`);
    const text = `${lines.join('\n')}\n`;
    await writeFile(this.#file, text);
    console.log(text);
  }
}
