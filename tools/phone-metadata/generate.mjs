// Regenerates the numbering plans of src/dial/plans.rs from libphonenumber's metadata, and the fixture
// tests/fixtures/phone-numbers.tsv from the answers of Google's own implementation.
//
//   cd tools/phone-metadata && npm ci && npm run generate
//
// The full metadata (patterns of every number block) is some 80 kB; a dialler needs far less: the calling code,
// the prefixes, and which lengths can start with which digit. That is what is kept; the test
// tests/destination_reference.rs measures what it costs.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const root = new URL('../../', import.meta.url);
const metadata = require('libphonenumber-js/metadata.max.json');
const google = require('google-libphonenumber');
const version = (name) => JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;

// ---- a regular expression as the set of (length, first digit) of what it matches

/** Parses the subset of regular expressions that the metadata uses; calls back for each construct. */
function walk(pattern, { digit, alternate, concat, empty }) {
  let at = 0;
  const alternatives = () => {
    let result = sequence();
    while (pattern[at] === '|') {
      at++;
      result = alternate(result, sequence());
    }
    return result;
  };
  const sequence = () => {
    let result = empty();
    while (at < pattern.length && pattern[at] !== '|' && pattern[at] !== ')') result = concat(result, repeated());
    return result;
  };
  const repeated = () => {
    const one = atom();
    let [low, high] = [1, 1];
    if (pattern[at] === '?') {
      at++;
      low = 0;
    } else if (pattern[at] === '{') {
      const [all, from, to] = /^\{(\d+)(?:,(\d+))?\}/.exec(pattern.slice(at));
      at += all.length;
      [low, high] = [Number(from), Number(to ?? from)];
    }
    let result, power = empty();
    for (let n = 0; n <= high; n++) {
      if (n >= low) result = result ? alternate(result, power) : power;
      power = concat(power, one);
    }
    return result;
  };
  const atom = () => {
    const c = pattern[at++];
    if (c === '(') {
      if (pattern.startsWith('?:', at)) at += 2;
      const inner = alternatives();
      if (pattern[at++] !== ')') throw new Error(`unclosed group in ${pattern}`);
      return inner;
    }
    if (c === '\\' && pattern[at] === 'd') {
      at++;
      return digit('0123456789');
    }
    if (c === '[') {
      const end = pattern.indexOf(']', at);
      const text = pattern.slice(at, end).replace(/\\d/g, '0-9')
        .replace(/(\d)-(\d)/g, (_, a, b) => '0123456789'.slice(Number(a), Number(b) + 1));
      at = end + 1;
      return digit(text);
    }
    if (/\d/.test(c)) return digit(c);
    throw new Error(`${c} in ${pattern} is not understood`);
  };
  const result = alternatives();
  if (at !== pattern.length) throw new Error(`trailing text in ${pattern}`);
  return result;
}

const bits = (digits) => [...digits].reduce((mask, d) => mask | (1 << Number(d)), 0);

/** Map of length to the mask of first digits. */
const shape = (pattern) => walk(pattern, {
  empty: () => new Map([[0, 0]]),
  digit: (set) => new Map([[1, bits(set)]]),
  alternate: (a, b) => union(a, b),
  concat: (a, b) => {
    const out = new Map();
    for (const [la, ma] of a) {
      for (const [lb, mb] of b) out.set(la + lb, (out.get(la + lb) ?? 0) | (la ? ma : mb));
    }
    return out;
  },
});
const union = (a, b) => {
  const out = new Map(a);
  for (const [length, mask] of b) out.set(length, (out.get(length) ?? 0) | mask);
  return out;
};

/** Every string that the pattern matches. */
const language = (pattern) => [...new Set(walk(pattern, {
  empty: () => [''],
  digit: (set) => [...set],
  alternate: (a, b) => [...a, ...b],
  concat: (a, b) => a.flatMap((x) => b.map((y) => x + y)),
}))];

// ---- the table

const mask32 = (mask) => mask.toString(32).padStart(2, '0');

/** Prefixes as text: `00`, or runs of equally long neighbours, `000-039`. Carrier codes of six digits are left out. */
function prefixes(pattern) {
  const all = language(pattern).filter((p) => p.length > 0 && p.length <= 5).sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  const runs = [];
  for (const p of all) {
    const last = runs.at(-1);
    if (last && last[1].length === p.length && Number(last[1]) + 1 === Number(p)) last[1] = p;
    else runs.push([p, p]);
  }
  return runs.map(([a, b]) => (a === b ? a : `${a}-${b}`)).join();
}

const plans = new Map();
const plan = (code, trunk, idd) => {
  const key = [code, trunk, idd].join();
  if (!plans.has(key)) plans.set(key, { code, trunk, idd, shape: new Map(), regions: [] });
  return plans.get(key);
};
// libphonenumber expresses these trunk prefixes as patterns.
const TRUNKS = { BY: '80,8,0', LT: '0,8' };
for (const [region, row] of Object.entries(metadata.countries).sort()) {
  const [code, idd, pattern, lengths, , national, , parsing, transform] = row;
  const entry = plan(code, TRUNKS[region] ?? (national || ''), prefixes(idd));
  const own = shape(pattern);
  for (const length of own.keys()) if (!lengths.includes(length)) own.delete(length);
  entry.shape = union(entry.shape, own);
  // "([2-9]\d{6})$|1" with "246$1": a local number that lacks the area code.
  const local = /^\(\[([\d-]+)\]\\d\{(\d+)\}\)\$/.exec(parsing || '') ?? /^\((\d)\\d\{(\d+)\}\)\$/.exec(parsing || '');
  let suffix = '';
  if (local && /^\d+\$1$/.test(transform)) {
    const [[length, mask]] = shape(`[${local[1]}]\\d{${local[2]}}`);
    suffix = length.toString(32) + mask32(mask) + transform.replace('$1', '');
  }
  entry.regions.push(region + suffix);
}
for (const [code, row] of Object.entries(metadata.nonGeographic)) {
  const entry = plan(code, '', '');
  entry.shape = shape(row[2]);
}
const lines = [...plans.values()].sort((a, b) => (a.code < b.code ? -1 : 1)).map(({ code, trunk, idd, shape, regions }) => {
  const viable = [...shape].filter(([l]) => l).sort(([a], [b]) => a - b).map(([l, m]) => l.toString(32) + mask32(m)).join('');
  return [code, viable, trunk === '0' ? '' : trunk || '-', idd === '00' ? '' : idd || '-', ...regions].join(' ');
});
const table = lines.join('\n');
// The lookup by calling code takes the first that fits.
if (new Set([...plans.values()].map(({ code }) => code)).size !== lines.length) throw new Error('a calling code with two plans');
writeFileSync(new URL('src/dial/plans.rs', root), `//! Numbering plans of the world. GENERATED by tools/phone-metadata from the metadata of libphonenumber
//! (Apache-2.0, The Libphonenumber Authors) as published in libphonenumber-js ${version('libphonenumber-js')}; do not edit.

/// One line a plan, fields parted by a space:
/// calling code; what a national number looks like, three characters for each length (length and mask of possible
/// first digits, base 32); trunk prefixes (empty: \`0\`, \`-\`: none); international prefixes (empty: \`00\`);
/// then the countries, ISO 3166-1 alpha-2, each with length, mask and area code of its short local numbers, if any.
pub(super) const PLANS: &str = "\\
${table}";
`);
console.log(`${lines.length} plans, ${Object.keys(metadata.countries).length} countries, ${table.length} bytes`);

// ---- the reference

const util = google.PhoneNumberUtil.getInstance();
const short = google.ShortNumberInfo.getInstance();
const { E164, NATIONAL, INTERNATIONAL, RFC3966 } = google.PhoneNumberFormat;
const expected = (input, region) => {
  try {
    const number = util.parse(input, region);
    return util.isPossibleNumber(number) ? util.format(number, E164) : '-';
  } catch {
    return '-';
  }
};
let state = 2463534242;
const random = (below) => {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
};
const rows = new Set();
const seen = new Set();
const add = (kind, region, input) => {
  const key = `${region}\t${input}`;
  if (!seen.has(key)) rows.add([kind, region, input, expected(input, region)].join('\t'));
  seen.add(key);
};
const regions = Object.keys(metadata.countries).sort();
for (const region of regions) {
  const numbers = new Map();
  for (const type of [0, 1, 3, 4, 5, 6, 7, 8, 9, 10]) {
    const number = util.getExampleNumberForType(region, type);
    if (number) numbers.set(util.format(number, E164), number);
  }
  for (const number of numbers.values()) {
    add('national', region, util.format(number, NATIONAL));
    add('digits', region, util.format(number, NATIONAL).replace(/\D/g, ''));
    add('significant', region, util.getNationalSignificantNumber(number));
  }
  const [[e164, number]] = numbers;
  add('international', region, util.format(number, INTERNATIONAL));
  add('tel', region, util.format(number, RFC3966));
  add('no-plus', region, e164.slice(1));
  const abroad = regions[random(regions.length)];
  const foreign = util.getExampleNumber(abroad);
  if (foreign) add('abroad', region, util.formatOutOfCountryCallingNumber(foreign, region));
  const national = util.format(number, NATIONAL);
  add('short', region, util.getNationalSignificantNumber(number).slice(0, 3));
  add('long', region, `${national}0123456`);
  for (const emergency of ['112', '911', '999', '000', '110', '100', '190', '1122', '1220', '1300', '9999']) {
    if (short.isEmergencyNumber(emergency, region)) rows.add(['emergency', region, emergency, '-'].join('\t'));
  }
}
for (const code of Object.keys(metadata.nonGeographic)) {
  const number = util.getExampleNumberForNonGeoEntity(Number(code));
  add('international', 'SE', util.format(number, INTERNATIONAL));
}
const fixture = `# GENERATED by tools/phone-metadata with google-libphonenumber ${version('google-libphonenumber')}; do not edit.
# kind, country, input, E.164 (- where it is no possible number)
${[...rows].join('\n')}
`;
writeFileSync(new URL('tests/fixtures/phone-numbers.tsv', root), fixture);
console.log(`${rows.size} fixture rows, ${fixture.length} bytes`);
