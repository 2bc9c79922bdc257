/** The examples of the README work as pasted: in the console of the demo page, which is where it says so. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';

import { Suite } from '../support/suite.mjs';
import { until } from '../support/until.mjs';
import { DemoPage, newProfile } from './demo-page.mjs';

const README = new URL('../../README.md', import.meta.url);

describe('the README', { timeout: 60_000 }, () => {
  const suite = new Suite();

  test('its examples call: by SIP, and then through 46elks', async () => {
    const examples = (await readFile(README, 'utf8')).matchAll(/^```js\n(.*?)^```$/gms);
    const [bySip, byRest] = [...examples].map(([, example]) => example);
    const demo = await DemoPage.open(await newProfile(suite.browser), suite.url, { account: 'alice' });
    const said = [];
    demo.page.on('console', (message) => said.push(message.text()));
    // As the console does it: a script with top-level await.
    const console = await demo.page.context().newCDPSession(demo.page);
    const paste = async (expression) => {
      const { exceptionDetails } = await console.send('Runtime.evaluate', { expression, replMode: true, awaitPromise: true });
      assert.equal(exceptionDetails, undefined);
    };
    await paste(bySip);
    assert.ok(said.includes('connected'), `stages: ${said}`);
    await until('the call is over', () => said.some((text) => text.startsWith('over: ')), { deadline: 15_000 });
    assert.equal(said.at(-1), 'over: completed');
    said.length = 0;
    await paste(byRest);
    assert.deepEqual(said, ['preparing', 'requesting', 'ringing-client', 'client-connected', 'ringing', 'connected']);
    await paste('await call.hangup()');
    demo.unblemished();
  });
});
