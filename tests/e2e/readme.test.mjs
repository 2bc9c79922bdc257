/** The example of the README works as pasted: in the console of the demo page, which is where it says so. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';

import { launchBrowser } from '../support/browser.mjs';
import { useSandbox } from '../support/sandbox.mjs';
import { until } from '../support/until.mjs';
import { DemoPage, newProfile } from './demo-page.mjs';

const README = new URL('../../README.md', import.meta.url);

describe('the README', { timeout: 60_000 }, () => {
  let sandbox;
  let browser;

  before(async () => {
    [sandbox, browser] = await Promise.all([useSandbox(), launchBrowser()]);
  });
  after(async () => {
    await browser?.close();
    await sandbox?.stop();
  });

  test('its example calls, and hangs up', async () => {
    const [, example] = (await readFile(README, 'utf8')).match(/^```js\n(.*?)^```$/ms);
    const demo = await DemoPage.open(await newProfile(browser), sandbox.url, { account: 'alice' });
    const said = [];
    demo.page.on('console', (message) => said.push(message.text()));
    // As the console does it: a script with top-level await.
    const console = await demo.page.context().newCDPSession(demo.page);
    const { exceptionDetails } = await console.send('Runtime.evaluate', { expression: example, replMode: true, awaitPromise: true });
    assert.equal(exceptionDetails, undefined);
    assert.ok(said.includes('connected'), `stages: ${said}`);
    await until('the call is over', () => said.some((text) => text.startsWith('over: ')), { deadline: 15_000 });
    assert.equal(said.at(-1), 'over: completed');
    demo.unblemished();
  });
});
