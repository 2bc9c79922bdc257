import { setTimeout as delay } from 'node:timers/promises';

/**
 * Asks again and again until `condition` brings something truthy, and returns that.
 * An error that it throws counts as "not yet"; the last one becomes the cause when time is up.
 */
export async function until(what, condition, { deadline = 10_000, every = 20 } = {}) {
  const end = performance.now() + deadline;
  let cause;
  let last;
  for (;;) {
    try {
      last = await condition();
      if (last) return last;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= end) {
      throw new Error(`not within ${deadline} ms: ${what}${cause ? `: ${cause.message}` : ` (last: ${JSON.stringify(last)})`}`, { cause });
    }
    await delay(every);
  }
}
