/** Medians, ratios and tables. */

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
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

/**
 * Rows of medians: `samples[row][library]` is a list in the order of the rounds, or `null` where a library can't. A ratio is
 * the median of those of each round: what slows the machine down slows down what is measured next to it too.
 */
export function compare(all, rows, unit) {
  const head = [unit, ...all.map(({ title }) => title), ...all.slice(1).map(({ title }) => `${title} : ours`)];
  return table(head, rows.map(([title, samples]) => {
    const ours = samples[all[0].name];
    const cell = ({ name }) => (samples[name] ? digits(median(samples[name])) : '-');
    const ratio = ({ name }) => (samples[name] && ours ? `${digits(median(samples[name].map((value, round) => value / ours[round])))} x` : '-');
    return [title, ...all.map(cell), ...all.slice(1).map(ratio)];
  }));
}

/** Those that come first change from round to round. */
export const inTurn = (all, round) => all.map((_, at) => all[(at + round) % all.length]);
