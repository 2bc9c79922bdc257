import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core'), 'utf8');

/** axe finds nothing in the page as it is now, and nothing sticks out of the window. */
export async function inspect(state, { page }) {
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => {
    // Animations would be measured at some shade between two.
    for (const animation of document.getAnimations()) animation.cancel();
    const { violations } = await globalThis.axe.run();
    return violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map(({ html, failureSummary }) => `${html}: ${failureSummary}`) }));
  });
  assert.deepEqual(violations, [], state);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(overflow, 0, `${state}: the page is wider than the window`);
}
