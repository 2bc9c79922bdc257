/** The tarball in what has no browser: Node.js, test runners, and the programs that look at packages. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { before, describe, test } from 'node:test';
import { promisify } from 'node:util';

import { Host, pack } from './host.mjs';

describe('without a browser', { timeout: 600_000 }, () => {
  let tarball;

  before(async () => {
    tarball = await pack();
  });

  describe('Node.js', () => {
    let host;

    before(async () => {
      host = await Host.prepare({ app: 'node' }, tarball);
    });

    for (const script of ['import.mjs', 'require.cjs']) {
      test(script, async () => {
        assert.equal(await host.run([script]), '');
      });
    }
  });

  for (const [name, install, command] of [
    ['Vitest 4', 'vitest-4', (environment) => ['vitest', 'vitest', 'run', '--environment', environment]],
    ['Jest 30', 'jest-30', (environment) => ['jest', 'jest', '--env', environment, '--testMatch', '**/*.test.mjs']],
  ]) {
    describe(name, () => {
      let host;

      before(async () => {
        host = await Host.prepare({ install, app: install.split('-')[0] }, tarball);
      });

      for (const environment of ['node', 'jsdom', ...(name.startsWith('Vitest') ? ['happy-dom'] : [])]) {
        test(environment, async () => {
          // The only way in which Jest takes modules.
          const options = name.startsWith('Jest') ? { NODE_OPTIONS: '--experimental-vm-modules' } : {};
          assert.match(await host.run(command(environment), undefined, options), /1 passed/);
        });
      }
    });
  }

  describe('the tarball', () => {
    let host;

    before(async () => {
      host = await Host.prepare({ install: 'checks', app: 'node' }, tarball);
    });

    test('npm would publish it, and the sandbox', async () => {
      // In the test's network there is no registry, and npm would ask it whether the version is there.
      for (const file of [tarball, await pack('npx')]) {
        const { stderr } = await promisify(execFile)('npm', ['publish', '--dry-run', '--offline', '--loglevel=warn', file]);
        assert.doesNotMatch(stderr.replace(/^npm warn publish This command requires you to be logged in.*$/m, ''), /warn|error/);
      }
    });

    test('publint finds nothing', async () => {
      const said = await host.run(['publint', 'publint', 'run', tarball, '--strict']);
      assert.match(said, /All good!/);
    });

    test('attw finds the types of every entry', async () => {
      // The module has no types: what an import of it gives is the bundler's to say.
      const said = await host.run(['@arethetypeswrong/cli', 'attw', tarball, '--profile', 'esm-only', '--no-emoji', '--format', 'ascii', '--exclude-entrypoints', './wasm']);
      for (const entry of ['', '/conference', '/debug', '/events', '/inline', '/tabs']) {
        assert.match(said, new RegExp(`"wasm-softphone${entry}"\\s+node16 \\(from ESM\\): OK \\(ESM\\)\\s+bundler: OK`));
      }
    });
  });
});
