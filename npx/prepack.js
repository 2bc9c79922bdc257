// What the tarball takes from elsewhere in the checkout: the demo page and the licences.

import { cpSync } from 'node:fs';

for (const name of ['www', 'LICENSE-APACHE', 'LICENSE-MIT']) {
  cpSync(new URL(`../${name}`, import.meta.url), new URL(name, import.meta.url), { recursive: true });
}
