/** A tab that nobody looks at: throttled as browsers do it, and frozen, for longer than a registration lasts. */

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { TabbedBrowser } from '../support/background.mjs';
import { freePort, Sandbox } from '../support/sandbox.mjs';
import { until } from '../support/until.mjs';

const EXPIRES = 12;

describe('a tab in the background', { timeout: 240_000 }, () => {
  let sandbox;
  let browser;
  let tab;
  let front;

  before(async () => {
    sandbox = new Sandbox(await freePort());
    await sandbox.start();
  });
  after(() => sandbox?.kill());
  beforeEach(async () => {
    browser = await TabbedBrowser.launch({ intensive: 1 });
    tab = await browser.open(`${sandbox.url}/demo.json`);
    await phone(tab, 'alice');
    front = await browser.open(`${sandbox.url}/demo.json`);
    await phone(front, 'bob');
    await until('alice is hidden', () => tab.evaluate(() => document.hidden));
  });
  afterEach(() => browser?.close());

  const phone = (tab, user) =>
    tab.evaluate(
      async ({ user, expires }) => {
        const { default: init, DialStrategy } = await import('/pkg/index.js');
        await init();
        const phone = new DialStrategy({
          servers: `ws://${location.host}/sip`,
          uri: `sip:${user}@sandbox.test`,
          credentials: { username: user, password: `${user}-secret` },
          iceServers: [],
          registerExpires: expires,
        });
        // What the page's own timers do, which nothing here should depend on.
        const run = { states: [], incoming: 0, late: 0, frozen: 0, sockets: 0 };
        globalThis.WebSocket = class extends WebSocket {
          constructor(...args) {
            super(...args);
            run.sockets += 1;
          }
        };
        Object.assign(globalThis, { phone, run });
        phone.on('registration', ({ state }) => run.states.push([state, Date.now()]));
        phone.on('incoming', ({ call }) => {
          run.incoming += 1;
          call.answer();
        });
        document.addEventListener('freeze', () => (run.frozen += 1));
        document.addEventListener('resume', () => (run.thawed = Date.now()));
        run.last = performance.now();
        const tick = () => {
          run.late = Math.max(run.late, Math.round(performance.now() - run.last - 200));
          run.last = performance.now();
          setTimeout(tick, 200);
        };
        tick();
        await phone.connect();
      },
      { user, expires: EXPIRES },
    );

  /** Bob calls; alice's page answers; audio flows both ways. */
  async function takesACall() {
    assert.equal(await front.evaluate(() => globalThis.phone.dial('sip:alice@sandbox.test', { timeout: 8000 }).then(({ error }) => error?.code ?? 'answered')), 'answered');
    await until('audio flows', () =>
      front.evaluate(async () => {
        const stats = await globalThis.phone.calls[0].stats();
        return stats.bytesReceived > 2000 && stats.bytesSent > 2000;
      }),
    );
  }
  const hangUp = () => front.evaluate(() => globalThis.phone.calls[0].hangup());
  const expired = () => [...sandbox.output.matchAll(/alice registration expired/g)].length;

  test('throttled for three times as long as the registration: it stays registered and takes a call', async (t) => {
    // Time itself is the subject here.
    await delay(3 * EXPIRES * 1000);
    const run = await tab.evaluate(() => globalThis.run);
    t.diagnostic(`the page's own timers were up to ${run.late} ms late`);
    // A page with a socket is woken once a second.
    assert.ok(run.late > 500, `the page is throttled: ${run.late} ms`);
    assert.deepEqual([run.frozen, run.states.filter(([state]) => state !== 'registered' && state !== 'registering')], [0, []]);
    assert.equal(expired(), 0, sandbox.output);
    await takesACall();
    await hangUp();
    assert.equal(await tab.evaluate(() => document.hidden), true);
  });

  test('without a connection its timers come once a minute: it is back soon after the server all the same', async (t) => {
    await sandbox.kill();
    await until('its timers are throttled', () => tab.evaluate(() => performance.now() - globalThis.run.last > 10_000), { deadline: 60_000, every: 500 });
    // It goes on trying.
    const tries = await tab.evaluate(() => globalThis.run.sockets);
    await until('three more tries', () => tab.evaluate((before) => globalThis.run.sockets - before >= 3, tries), { deadline: 20_000, every: 500 });
    const late = await tab.evaluate(() => Math.round(performance.now() - globalThis.run.last));
    await sandbox.start();
    const began = Date.now();
    await until('registered', () => tab.evaluate(() => globalThis.phone.registration === 'registered' && globalThis.phone.connection === 'connected'), { deadline: 15_000 });
    t.diagnostic(`registered ${Date.now() - began} ms after the server was back; its own timers were ${late} ms late`);
    await until('bob is registered', () => front.evaluate(() => globalThis.phone.registration === 'registered'), { deadline: 15_000 });
    await takesACall();
    await hangUp();
  });

  test('frozen for longer than the registration: registered again at once when it thaws', async (t) => {
    await tab.lifecycle('frozen');
    await until('the registrar has let it go', () => expired() === 1, { deadline: 2 * EXPIRES * 1000 });
    assert.equal(await front.evaluate(() => globalThis.phone.dial('sip:alice@sandbox.test').then(({ error }) => error?.sipStatus)), 480);
    await tab.lifecycle('active');
    await until('registered again', () => tab.evaluate(() => globalThis.run.states.some(([state, at]) => state === 'registered' && at >= globalThis.run.thawed)), { every: 5 });
    const run = await tab.evaluate(() => globalThis.run);
    const again = run.states.find(([state, at]) => state === 'registered' && at >= run.thawed)[1] - run.thawed;
    t.diagnostic(`registered ${again} ms after the thaw`);
    assert.equal(run.frozen, 1);
    assert.ok(again < 2000, `${again} ms`);
    await takesACall();
    await hangUp();
  });

  test('a call that is up when the page is frozen is up when it thaws, and was heard meanwhile', async () => {
    await takesACall();
    const before = await front.evaluate(() => globalThis.phone.calls[0].stats());
    await tab.lifecycle('frozen');
    await delay(1.5 * EXPIRES * 1000);
    const during = await front.evaluate(() => globalThis.phone.calls[0].stats());
    assert.ok(during.bytesReceived - before.bytesReceived > 10_000, 'audio goes on while the page is frozen');
    await tab.lifecycle('active');
    await until('registered', () => tab.evaluate(() => globalThis.phone.registration === 'registered'));
    for (const side of [tab, front]) {
      await until('the call is up', () => side.evaluate(() => globalThis.phone.calls.map(({ state }) => state).join() === 'active'));
    }
    // Both ways of ending it are still there.
    await tab.evaluate(() => globalThis.phone.calls[0].hold());
    await until('the other side knows', () => front.evaluate(() => globalThis.phone.calls[0].remoteHold));
    await hangUp();
    await until('it has ended here', () => tab.evaluate(() => globalThis.phone.calls.length === 0));
  });
});
