/** Medians, ratios and tables. */

export const median = (values) => quantile(values, 0.5);

function quantile(values, part) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * part;
  const [below, above] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return below + (above - below) * (at % 1);
}

/** Three digits. */
export function digits(value) {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** In Markdown, with the columns in line for whoever reads it as text. */
export function table(head, rows) {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const line = (row) => `| ${row.map((cell, column) => (column ? cell.padStart(widths[column]) : cell.padEnd(widths[column]))).join(' | ')} |`;
  const rule = `|${widths.map((width, column) => (column ? `${'-'.repeat(width + 1)}:` : '-'.repeat(width + 2))).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

/** What `compare` shows, for who reads it. */
export const RATIOS = 'The figures are medians. A ratio is to the first column: the median of the ratios of each round, and in brackets the quartiles.';

/**
 * Rows of medians: `samples[row][library]` is a list in the order of the rounds, or nothing where a library can't. The ratios
 * are those of each round, as what slows the machine down slows down what is measured next to it too.
 */
export function compare(all, rows, unit) {
  const [first, ...others] = all;
  const head = [unit, ...all.map(({ title }) => title), ...others.map(({ title }) => `${title}, ratio`)];
  return table(head, rows.map(([title, samples]) => {
    const cell = ({ name }) => (samples[name] ? digits(median(samples[name])) : '-');
    const ratio = ({ name }) => {
      if (!samples[name] || !samples[first.name]) return '-';
      const ratios = samples[name].map((value, round) => value / samples[first.name][round]);
      return `${digits(median(ratios))} (${[0.25, 0.75].map((part) => digits(quantile(ratios, part))).join('-')})`;
    };
    return [title, ...all.map(cell), ...others.map(ratio)];
  }));
}

/** Those that come first change from round to round. */
export const inTurn = (all, round) => all.map((_, at) => all[(at + round) % all.length]);
