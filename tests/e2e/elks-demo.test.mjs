/** The demo page with an account of 46elks, as a person uses it. */

import assert from 'node:assert/strict';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { NUMBERS } from '../support/elks.mjs';
import { until } from '../support/until.mjs';
import { inspect } from './axe.mjs';
import { ElksSuite } from './elks-suite.mjs';

describe('the demo page with 46elks', { timeout: 180_000 }, () => {
  const suite = new ElksSuite();

  test('choose 46elks, dial, hear the echo, hang up', async () => {
    const pictures = await mkdtemp(join(tmpdir(), 'wasm-softphone-demo-'));
    const demo = await suite.demo({ tone: 1200 });
    const { page } = demo;
    // Away from 46elks and back, as somebody who comes with a SIP account would.
    await page.getByRole('radio', { name: 'Alice' }).check();
    await page.getByText('Registered · alice').waitFor();
    assert.equal(await page.getByRole('region', { name: '46elks simulator' }).isVisible(), false);
    const group = page.getByRole('group', { name: /46elks/ });
    await group.getByRole('radio').first().check();
    await page.getByText('Registered · 4600100100').waitFor();
    await demo.destination.fill(NUMBERS.echo);
    assert.match(await page.locator('#route').textContent(), /by REST originate: .*provider .*\.$/);
    await demo.callButton.click();
    await demo.inCall();
    const stages = page.getByRole('list', { name: 'Progress of the call' });
    assert.equal(await stages.locator('[aria-current=step]').getAttribute('data-stage'), 'connected');
    await Promise.all([demo.hears(1200), demo.speaking('You'), demo.speaking('Them'), demo.exchanges(50)]);
    await page.screenshot({ path: join(pictures, 'echo.png'), fullPage: true });
    await demo.hangUp();
    assert.match(await demo.idle(), /^Call with \+46700000001 ended after \d+:\d\d\.$/);
    await until('the page shows what was billed', async () => {
      await page.getByRole('region', { name: '46elks simulator' }).getByRole('button', { name: 'Refresh' }).click();
      return await page.locator('#simulator-a').textContent() === '1' && await page.locator('#simulator-b').textContent() === '1';
    });
  });

  test('the numbers of the simulator are one click away; busy is told with a hint', async () => {
    const demo = await suite.demo();
    await demo.page.getByRole('button', { name: /\+46700000002/ }).click();
    const { message, hint, code } = await demo.error();
    assert.match(message, /busy/);
    assert.ok(hint.length > 0);
    assert.equal(code, 'busy');
    await demo.idle();
  });

  test('a fault is armed, told with a hint, and disarmed', async () => {
    const demo = await suite.demo({ expected: [/Failed to load resource/] });
    const { page } = demo;
    await page.getByLabel('What goes wrong with the next call').selectOption('402');
    await page.getByRole('button', { name: 'Arm', exact: true }).click();
    await page.getByText('Armed: 402').waitFor();
    await demo.call(NUMBERS.echo);
    const { message, hint, code } = await demo.error();
    assert.match(message, /credit/);
    assert.ok(hint.length > 0);
    assert.equal(code, 'provider_error');
    await demo.idle();
    // It was for one call.
    await page.getByText('Nothing is armed.').waitFor();
    await page.getByRole('button', { name: 'Arm', exact: true }).click();
    await page.getByRole('button', { name: 'Disarm' }).click();
    await page.getByText('Nothing is armed.').waitFor();
    await demo.call(NUMBERS.echo);
    await demo.inCall();
    await demo.hangUp();
    await demo.idle();
  });

  test('a stranger calls, and can be answered', async () => {
    const demo = await suite.demo();
    await demo.page.getByRole('button', { name: 'Call me' }).click();
    await demo.incoming.getByRole('heading', { name: '46701740605' }).waitFor();
    await demo.incoming.getByRole('button', { name: 'Answer' }).click();
    await demo.inCall();
    await demo.hangUp();
    await demo.idle();
  });

  test('a token that has grown old is fetched anew before the call', async () => {
    const profile = await suite.profile();
    await profile.addInitScript(() => {
      const { now } = Date;
      globalThis.later = 0;
      Date.now = () => now() + globalThis.later;
    });
    const demo = await suite.demo({ profile });
    let fetched = 0;
    demo.page.on('request', (request) => { if (request.url().endsWith('/demo.json')) fetched += 1; });
    await demo.page.evaluate(() => { globalThis.later = 11 * 60 * 1000; });
    await demo.call(NUMBERS.echo);
    await demo.inCall();
    assert.ok(fetched >= 1);
    await demo.hangUp();
    await demo.idle();
  });

  for (const colorScheme of ['light', 'dark']) {
    for (const viewport of [{ width: 1280, height: 860 }, { width: 360, height: 740 }]) {
      test(`axe finds nothing: ${colorScheme}, ${viewport.width} pixels wide`, async () => {
        const demo = await suite.demo({ colorScheme, viewport, reducedMotion: 'reduce' });
        await inspect('idle', demo);
        await suite.simulator.arm('late-invite-after-cancel', 5000);
        await demo.call(NUMBERS.echo);
        await demo.page.locator('[data-stage=ringing-client][aria-current=step]').waitFor();
        await inspect('waiting for the provider', demo);
        await demo.hangUp();
        await demo.idle();
        await suite.simulator.quiet({ atLeast: 1 });
        await demo.call(NUMBERS.busy);
        await demo.error();
        await inspect('busy', demo);
      });
    }
  }
});
