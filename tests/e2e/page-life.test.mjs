/** The end of a page: closed, reloaded or left, with what a phone says in that moment, and what it leaves at the registrar. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Suite } from '../support/suite.mjs';
import { until } from '../support/until.mjs';
import { PhonePage, phoneProfile } from './phone-page.mjs';

const EXPECTED = [/404/];
// The other side hears of the end at once, not when something has run out.
const AT_ONCE_MS = 2_000;

describe('the end of a page', { timeout: 240_000 }, () => {
  const suite = new Suite();

  async function profile(user, options) {
    const tones = user === 'alice' ? { tone: 1000, hears: 440 } : { tone: 440, hears: 1000 };
    return suite.keep(await phoneProfile(suite.browser, { user, ...tones, ...options }));
  }
  const open = async (user, options) => PhonePage.open(await profile(user, options), suite.url, EXPECTED);

  /** Bob answers, or not. */
  async function bobs(answers = true) {
    const bob = await open('bob');
    await bob.run((phone, call, answers) => {
      globalThis.ends = [];
      phone.on('call', ({ call, state }) => {
        if (state === 'ended') globalThis.ends.push({ ...call.endReason, at: Date.now() });
      });
      if (answers) phone.on('incoming', ({ call }) => call.answer());
    }, answers);
    return bob;
  }
  const end = async (bob) => (await until('the call ends at the other side', () => bob.run(() => globalThis.ends.length > 0 && globalThis.ends)))[0];
  const leave = {
    closed: ({ page }) => page.close(),
    reloaded: ({ page }) => page.reload(),
    left: ({ page }) => page.goto('about:blank'),
    'left for another site': ({ page }) => page.goto(suite.url.replace('127.0.0.1', 'localhost') + '/demo.json#elsewhere'),
  };
  /** Whether the registrar knows a phone of Alice. */
  const dialAlice = (bob) => bob.run(async (phone) => {
    const result = await phone.dial('sip:alice@sandbox.test', { timeout: 1_000 });
    return result.error && `${result.error.sipStatus ?? result.error.code}`;
  });

  for (const [how, go] of Object.entries(leave)) {
    test(`in a call, the page is ${how}: the other side is hung up on, and nothing is registered any more`, async () => {
      const [alice, bob] = [await open('alice'), await bobs()];
      assert.equal(await alice.run(async (phone) => (await phone.dial('sip:bob@sandbox.test')).error?.code), undefined);
      const began = Date.now();
      await go(alice);
      const { at, ...reason } = await end(bob);
      assert.deepEqual(reason, { code: 'completed', by: 'remote' });
      assert.ok(at - began < AT_ONCE_MS, `${at - began} ms`);
      if (how !== 'reloaded') assert.equal(await dialAlice(bob), '480');
    });
  }

  test('a call that rings here is refused, one that rings there is cancelled', async () => {
    const [alice, bob] = [await open('alice'), await bobs(false)];
    await alice.run((phone) => void phone.dial('sip:bob@sandbox.test'));
    await until('it rings', async () => (await bob.calls())[0]?.state === 'ringing');
    await alice.page.reload();
    assert.equal((await end(bob)).code, 'cancelled');
    await alice.ready();
    const began = Date.now();
    const dialled = bob.run(async (phone) => (await phone.dial('sip:alice@sandbox.test')).error.sipStatus);
    await until('it rings', async () => (await alice.calls())[0]?.state === 'ringing');
    await alice.page.close();
    assert.equal(await dialled, 480);
    assert.ok(Date.now() - began < 2 * AT_ONCE_MS);
  });

  test('with `hangupOnUnload: false` nothing is said', async () => {
    const [alice, bob] = [await open('alice', { config: { hangupOnUnload: false } }), await bobs()];
    await alice.run((phone) => phone.dial('sip:bob@sandbox.test').then(() => {}));
    await alice.page.close();
    await until('the audio stops', async () => Date.now() - ((await bob.hearing())?.last ?? 0) > 1_000);
    assert.equal((await bob.calls()).length, 1);
    await bob.run((phone, call) => call.hangup());
  });

  test('a page that the browser keeps says nothing, and goes on when it is shown again', async () => {
    const [alice, bob] = [await open('alice'), await bobs()];
    await alice.run((phone) => phone.dial('sip:bob@sandbox.test').then(() => {}));
    const shown = (type) => alice.page.evaluate((type) => void dispatchEvent(new PageTransitionEvent(type, { persisted: true })), type);
    const sent = () => alice.run(() => globalThis.run.log.filter((text) => /^sent\r?\n(BYE|REGISTER)/.test(text)).length);
    const before = await sent();
    await shown('pagehide');
    assert.equal(await sent(), before);
    await shown('pageshow');
    assert.deepEqual((await alice.calls()).map(({ state }) => state), ['active']);
    // It has a phone: both ways.
    await alice.run((phone, call) => call.hangup());
    assert.equal((await end(bob)).by, 'remote');
    const rings = bob.run((phone) => void phone.dial('sip:alice@sandbox.test'));
    await until('it rings', async () => (await alice.calls())[0]?.state === 'ringing');
    await rings;
  });

  // ---- what the registrar has

  /** The instances that the registrar has listed in its last answer to this page. */
  const instances = (phone) =>
    phone.run(() => {
      const answer = globalThis.run.log.findLast((text) => /^received\r?\nSIP\/2.0 200/.test(text) && /^CSeq: \d+ REGISTER/im.test(text));
      return [...answer.matchAll(/\+sip\.instance="<([^>]+)>"/g)].map(([, id]) => id);
    });

  test('reload after reload leaves one contact, goodbye or not', async () => {
    for (const hangupOnUnload of [true, false]) {
      const alice = await open('alice', { config: { hangupOnUnload } });
      const [first, ...others] = await instances(alice);
      assert.deepEqual(others, []);
      for (let count = 0; count < 4; count += 1) {
        await alice.page.reload();
        await alice.ready();
        assert.deepEqual(await instances(alice), [first], `${hangupOnUnload} ${count}`);
      }
      await alice.page.close();
    }
  });

  test('each tab has an instance of its own, and keeps it', async () => {
    const made = await profile('alice', { config: { hangupOnUnload: false } });
    const tab = () => PhonePage.open(made, suite.url, EXPECTED);
    const [one, two] = [await tab(), await tab()];
    const both = await instances(two);
    assert.equal(new Set(both).size, 2);
    const bob = await bobs();
    const dialled = bob.run(async (phone) => (await phone.dial('sip:alice@sandbox.test')).error?.code);
    for (const phone of [one, two]) await until('it rings in both', async () => (await phone.calls())[0]?.state === 'ringing');
    await two.run((phone, call) => call.answer());
    assert.equal(await dialled, undefined);
    await two.run((phone, call) => call.hangup());
    for (const phone of [one, two, one]) {
      await phone.page.reload();
      await phone.ready();
      assert.deepEqual(new Set(await instances(phone)), new Set(both));
    }
    // What a tab that is gone has left is taken by the next.
    await one.page.close();
    assert.deepEqual(new Set(await instances(await tab())), new Set(both));
    // Several phones in one page too, each the same when it comes back.
    const twins = await two.run(async () => {
      const { DialStrategy } = await import('/pkg/index.js');
      const twin = new DialStrategy({
        servers: `ws://${location.host}/sip`, uri: 'sip:alice@sandbox.test', credentials: { username: 'alice', password: 'alice-secret' }, debug: true,
      });
      const ids = [];
      const read = (text) => {
        const [, id] = /^sent\r?\nREGISTER[^]*\+sip\.instance="<([^>]+)>"/.exec(text) ?? [];
        if (id && ids.at(-1) !== id) ids.push(id);
      };
      twin.on('log', ({ text }) => read(text));
      await twin.connect();
      await twin.disconnect();
      await twin.connect();
      await twin.disconnect();
      twin.free();
      return ids;
    });
    assert.equal(twins.length, 1);
    assert.ok(!both.includes(twins[0]), JSON.stringify({ twins, both }));
  });

  test('without storage or locks a phone registers all the same', async () => {
    for (const lacks of ['locks', 'localStorage']) {
      const made = await profile('alice');
      await made.addInitScript((lacks) => {
        const what = lacks === 'locks' ? [Navigator.prototype, 'locks'] : [globalThis, 'localStorage'];
        Object.defineProperty(...what, {
          configurable: true,
          get() {
            throw new DOMException('no', 'SecurityError');
          },
        });
      }, lacks);
      const alice = await PhonePage.open(made, suite.url, EXPECTED);
      assert.equal(await alice.run((phone) => phone.registration), 'registered', lacks);
      await alice.page.close();
    }
  });
});
