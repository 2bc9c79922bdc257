/** What is measured, and how it gets into a page: bundled and minified, each in the same way. */

import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { copyFile, mkdtemp, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const folder = (path) => fileURLToPath(new URL(path, import.meta.url));
const version = (name) => createRequire(import.meta.url)(`${name}/package.json`).version;

/** The package of this checkout, or the one that `PACKAGE_DIR` names. */
const PACKAGE = resolve(process.env.PACKAGE_DIR ?? folder('../../pkg'));
/** By the name that the glue looks for. */
export const MODULE = 'wasm_softphone_bg.wasm';
const TIMER = 'timer.js';

/** The libraries: ours first, against which the others are held. `beside`: another build of the package. */
export function libraries(beside) {
  return [
    { name: 'ours', title: 'this package', adapter: 'ours', package: PACKAGE },
    ...(beside ? [{ name: 'before', title: 'before', adapter: 'ours', package: resolve(beside) }] : []),
    { name: 'jssip', title: `JsSIP ${version('jssip')}`, adapter: 'jssip' },
    { name: 'sipjs', title: `SIP.js ${version('sip.js')}`, adapter: 'sipjs' },
  ];
}

/**
 * Bundles each library into a folder of its own, which is returned: `phone.js`, the adapter of `page/` with all that it can
 * do, or `app.js`, a page that registers and can be called. A profile wants the names: `minify: false`.
 */
export async function bundle(all, entry, { minify = true } = {}) {
  const root = await mkdtemp(join(tmpdir(), 'wasm-softphone-bench-'));
  process.once('exit', () => rmSync(root, { recursive: true, force: true }));
  for (const library of all) {
    const adapter = folder(`page/${library.adapter}.js`);
    const out = join(root, library.name);
    await build({
      entryPoints: { [entry]: entry === 'app' ? folder('page/app.js') : adapter },
      alias: { phone: adapter, ...(library.package && { 'wasm-softphone': join(library.package, 'index.js') }) },
      outdir: out,
      bundle: true,
      minify,
      // What is loaded on demand stays in a file of its own.
      splitting: true,
      format: 'esm',
      target: 'es2022',
      define: { global: 'globalThis' },
      logLevel: 'warning',
    });
    if (library.package) {
      // The glue looks for them beside itself.
      for (const file of [MODULE, TIMER]) await copyFile(join(library.package, file), join(out, file));
      const code = await readFile(join(out, `${entry}.js`), 'utf8');
      assert.ok(code.includes(MODULE), 'the bundler has put the glue into another file');
    }
  }
  return root;
}
