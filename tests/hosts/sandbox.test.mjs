/** The sandbox that needs no Rust, from its tarball: two tabs call each other, the echo answers, what is busy is busy. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { after, before, describe, test } from 'node:test';

import { keepPeerConnections, received, toneMicrophone } from '../support/audio.mjs';
import { launchBrowser, watchPage } from '../support/browser.mjs';
import { until } from '../support/until.mjs';
import { Host, pack } from './host.mjs';

const ALICE = 440;
const BOB = 880;

describe('wasm-softphone-sandbox', { timeout: 180_000 }, () => {
  let browser;
  let sandbox;

  before(async () => {
    const [tarball, ours] = await Promise.all([pack(), pack('npx')]);
    const host = await Host.prepare({ install: 'sandbox' }, tarball, { 'wasm-softphone-sandbox': ours });
    browser = await launchBrowser();
    sandbox = await host.serve((port) => ['wasm-softphone-sandbox', 'wasm-softphone-sandbox', '--port', port]);
  });
  after(async () => {
    await browser?.close();
    await sandbox?.close();
  });

  /** A tab with this user's phone, which answers, and says a tone of this pitch in hertz. */
  async function openPhone(user, pitch, password) {
    const context = await browser.newContext();
    await context.addInitScript(toneMicrophone, pitch);
    await context.addInitScript(keepPeerConnections);
    const page = await context.newPage();
    await page.goto(`${sandbox.url}/icon.svg`);
    const outcome = await page.evaluate(
      async ([user, password]) => {
        const { default: init, DialStrategy } = await import('/pkg/index.js');
        await init();
        const { sip } = await (await fetch('/demo.json')).json();
        const account = sip.find(({ uri }) => uri.startsWith(`sip:${user}@`));
        globalThis.phone = new DialStrategy({ ...account, ...(password && { credentials: { username: user, password } }) });
        globalThis.phone.on('incoming', ({ call }) => {
          globalThis.call = call;
          call.answer();
        });
        return globalThis.phone.connect().then(() => 'connected', ({ code }) => code);
      },
      [user, password],
    );
    return { page, outcome, close: () => context.close() };
  }

  const dial = ({ page }, address) =>
    page.evaluate(async (address) => {
      const { call, error } = await globalThis.phone.dial(address);
      globalThis.call = call;
      return error?.code ?? 'active';
    }, address);

  const hears = ({ page }, pitch) =>
    until(`${pitch} Hz are heard`, async () => {
      const tone = await received(page);
      return tone && Math.abs(tone.frequency - pitch) < 15 && tone.level > -60;
    }, { deadline: 15_000, every: 100 });

  const state = ({ page }) => page.evaluate(() => globalThis.call.state);

  test('two tabs call each other, hold and hang up', async () => {
    const [alice, bob] = await Promise.all([openPhone('alice', ALICE), openPhone('bob', BOB)]);
    assert.equal(await dial(alice, 'sip:bob@sandbox.test'), 'active');
    await Promise.all([hears(alice, BOB), hears(bob, ALICE)]);
    await bob.page.evaluate(() => globalThis.call.hold());
    await until('alice is held', () => alice.page.evaluate(() => globalThis.call.remoteHold));
    await bob.page.evaluate(() => globalThis.call.unhold());
    await Promise.all([hears(alice, BOB), hears(bob, ALICE)]);
    await alice.page.evaluate(() => globalThis.call.hangup());
    await until('bob has heard of it', async () => (await state(bob)) === 'ended');
    await Promise.all([alice.close(), bob.close()]);
    assert.match(sandbox.output, /alice calls bob/);
  });

  test('600 is an echo, also after a hold', async () => {
    const bob = await openPhone('bob', BOB);
    assert.equal(await dial(bob, 'sip:600@sandbox.test'), 'active');
    await hears(bob, BOB);
    await bob.page.evaluate(() => globalThis.call.hold());
    await bob.page.evaluate(() => globalThis.call.unhold());
    await hears(bob, BOB);
    await bob.page.evaluate(() => globalThis.call.hangup());
    await bob.close();
  });

  test('606 hangs up', async () => {
    const bob = await openPhone('bob', BOB);
    assert.equal(await dial(bob, 'sip:606@sandbox.test'), 'active');
    await until('it has hung up', async () => (await state(bob)) === 'ended');
    await bob.close();
  });

  test('who is busy, declines, or is not there', async () => {
    const bob = await openPhone('bob', BOB);
    assert.equal(await dial(bob, 'sip:602@sandbox.test'), 'busy');
    assert.equal(await dial(bob, 'sip:604@sandbox.test'), 'declined');
    assert.equal(await dial(bob, 'sip:carol@sandbox.test'), 'no_answer');
    assert.equal(await dial(bob, 'sip:nobody@sandbox.test'), 'not_found');
    await bob.close();
  });

  test('what rings can be given up', async () => {
    const bob = await openPhone('bob', BOB);
    const code = await bob.page.evaluate(async () => {
      const giveUp = new AbortController();
      const onProgress = (stage) => stage === 'ringing' && giveUp.abort();
      return (await globalThis.phone.dial('sip:603@sandbox.test', { signal: giveUp.signal, onProgress })).error.code;
    });
    assert.equal(code, 'aborted');
    await bob.close();
  });

  test('a wrong password is refused', async () => {
    const bob = await openPhone('bob', BOB, 'wrong');
    assert.equal(bob.outcome, 'auth_failed');
    await bob.close();
  });

  test('pages of other origins are refused, and who does not speak SIP', async () => {
    const upgrade = async (more) => {
      const asked = request(`${sandbox.url}/sip`, {
        headers: {
          connection: 'upgrade',
          upgrade: 'websocket',
          'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
          'sec-websocket-version': '13',
          'sec-websocket-protocol': 'sip',
          ...more,
        },
      }).end();
      const status = (response) => response.statusCode;
      const answered = once(asked, 'response').then(([response]) => status(response));
      const upgraded = once(asked, 'upgrade').then(([response, socket]) => (socket.destroy(), status(response)));
      return Promise.any([answered, upgraded]);
    };
    assert.equal(await upgrade({ origin: 'http://localhost:5173' }), 101);
    assert.equal(await upgrade({ origin: 'https://evil.example' }), 403);
    assert.equal(await upgrade({ 'sec-websocket-protocol': 'chat' }), 400);
  });

  test('the page is a phone, with the numbers that there are', async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    const problems = watchPage(page);
    await page.goto(`${sandbox.url}/`);
    await page.getByText(/^Registered · /).waitFor();
    const numbers = await page.locator('#numbers .number-digits').allInnerTexts();
    assert.deepEqual(numbers.filter((number) => /^\d/.test(number)), ['600', '602', '603', '604', '606']);
    await page.locator('#numbers').getByText('600').click();
    await page.getByRole('timer').filter({ hasText: /\d:\d\d/ }).waitFor();
    assert.deepEqual(problems, []);
    await context.close();
  });
});
