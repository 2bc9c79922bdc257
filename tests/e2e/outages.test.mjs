/** What the page makes of servers that refuse, and of servers that are not there. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { launchBrowser } from '../support/browser.mjs';
import { freePort, Sandbox } from '../support/sandbox.mjs';
import { DemoPage, newProfile } from './demo-page.mjs';

// A browser complains in its console about sockets that can't be opened; nothing can keep it from that.
const OUTAGE = [/WebSocket connection to .* failed/, /net::ERR_/];

describe('when things go wrong', { timeout: 180_000 }, () => {
  let browser;
  let sandbox;

  before(async () => {
    browser = await launchBrowser();
    sandbox = new Sandbox(await freePort());
    await sandbox.start();
  });
  after(async () => {
    await browser?.close();
    await sandbox?.kill();
  });

  test('a wrong password is an error with a hint', async () => {
    const profile = await newProfile(browser);
    const alice = await DemoPage.open(profile, sandbox.url, { account: 'alice' });
    const { page } = alice;
    await page.getByRole('radio', { name: 'Custom…' }).check();
    await page.getByLabel('Server').fill(`ws://127.0.0.1:${sandbox.port}/sip`);
    await page.getByLabel('Address', { exact: true }).fill('sip:alice@sandbox.test');
    await page.getByLabel('User name').fill('alice');
    await page.getByLabel('Password').fill('not-the-password');
    await page.getByRole('button', { name: 'Use this account' }).click();
    const { message, hint, code } = await alice.error();
    assert.match(code, /^auth_failed/);
    assert.ok(message.length > 0);
    assert.match(hint, /password/i);
    await page.getByText('Registration failed · alice').waitFor();
    assert.ok(!(await page.locator('body').textContent()).includes('not-the-password'));
    await page.getByLabel('Password').fill('alice-secret');
    await page.getByRole('button', { name: 'Use this account' }).click();
    await page.getByText('Registered · alice').waitFor();
    assert.equal(await alice.alert.isVisible(), false);
    alice.unblemished();
    await profile.close();
  });

  test('settings that can\'t be used are refused by name', async () => {
    const profile = await newProfile(browser);
    const alice = await DemoPage.open(profile, sandbox.url, { account: 'alice' });
    const { page } = alice;
    await page.getByRole('radio', { name: 'Custom…' }).check();
    await page.getByLabel('Server').fill('http://127.0.0.1/');
    await page.getByLabel('Address', { exact: true }).fill('sip:alice@sandbox.test');
    await page.getByRole('button', { name: 'Use this account' }).click();
    const { message, code } = await alice.error();
    assert.equal(code, 'invalid_config');
    assert.match(message, /servers/i);
    await page.getByText('Registered · alice').waitFor();
    alice.unblemished();
    await profile.close();
  });

  test('the server dies: reconnecting, and back when it is back', async () => {
    const profile = await newProfile(browser);
    const alice = await DemoPage.open(profile, sandbox.url, { account: 'alice', expected: OUTAGE });
    await sandbox.kill();
    await alice.page.getByText('Reconnecting · alice').waitFor();
    assert.equal(await alice.callButton.isDisabled(), true);
    await sandbox.start();
    await alice.page.getByText('Registered · alice').waitFor({ timeout: 30_000 });
    await alice.call('600');
    await alice.inCall();
    await alice.exchanges(10);
    await alice.hangUp();
    await alice.idle();
    alice.unblemished();
    await profile.close();
  });

  test('a server that is not there is an error with a hint', async () => {
    const profile = await newProfile(browser);
    const alice = await DemoPage.open(profile, sandbox.url, { account: 'alice', expected: OUTAGE });
    const { page } = alice;
    await page.getByRole('radio', { name: 'Custom…' }).check();
    await page.getByLabel('Server').fill(`ws://127.0.0.1:${await freePort()}/sip`);
    await page.getByLabel('Address', { exact: true }).fill('sip:alice@sandbox.test');
    await page.getByRole('button', { name: 'Use this account' }).click();
    const { hint, code } = await alice.error();
    assert.equal(code, 'transport');
    assert.ok(hint.length > 0);
    alice.unblemished();
    await profile.close();
  });

  test('without a microphone the call fails with what to do', async () => {
    const profile = await browser.newContext();
    await profile.addInitScript(() => {
      navigator.mediaDevices.getUserMedia = async () => {
        throw new DOMException('Permission denied', 'NotAllowedError');
      };
    });
    const alice = await DemoPage.open(profile, sandbox.url, { account: 'alice' });
    await alice.call('600');
    const { hint, code } = await alice.error();
    assert.equal(code, 'media_denied');
    assert.match(hint, /microphone/i);
    alice.unblemished();
    await profile.close();
  });
});
