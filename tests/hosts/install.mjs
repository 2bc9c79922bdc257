/**
 * Installs what the lock files here say, each into its folder of target/hosts. Run outside of the network namespace of the
 * tests; a folder whose lock file has not changed since is left as it is. `HOSTS=all`: the older versions too.
 */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { FOLDERS, HERE } from './host.mjs';
import { installs } from './table.mjs';

for (const name of installs()) {
  const folder = join(FOLDERS, name);
  const files = ['package.json', 'package-lock.json'].map((file) => join(HERE, name, file));
  const hash = createHash('sha256');
  for (const file of files) hash.update(await readFile(file));
  const wanted = hash.digest('hex');
  // Inside node_modules: the stamp goes with the folder.
  const stamp = join(folder, 'node_modules', '.stamp');
  if ((await readFile(stamp, 'utf8').catch(() => '')) === wanted) continue;
  console.log(`npm ci (${name})`);
  await mkdir(folder, { recursive: true });
  for (const file of files) await cp(file, join(folder, file.slice(join(HERE, name).length)));
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const { status, error } = spawnSync(npm, args, { cwd: folder, stdio: 'inherit', shell: process.platform === 'win32' });
  if (error) throw error;
  if (status !== 0) throw new Error(`npm ci of ${name}: exit status ${status}`);
  await writeFile(stamp, wanted);
}
