/** Several tabs with one registration: who has the phone, what the others can do, and who comes after. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Suite } from '../support/suite.mjs';
import { until } from '../support/until.mjs';
import { PhonePage, phoneProfile } from './phone-page.mjs';

const ALICE_HZ = 1000;
const BOB_HZ = 440;
const EXPECTED = [/404/];

describe('several tabs', { timeout: 180_000 }, () => {
  const suite = new Suite();

  async function aliceProfile(config = { resume: true }) {
    return suite.keep(await phoneProfile(suite.browser, { user: 'alice', tone: ALICE_HZ, hears: BOB_HZ, tabs: true, config }));
  }

  async function bobs() {
    const made = suite.keep(await phoneProfile(suite.browser, { user: 'bob', tone: BOB_HZ, hears: ALICE_HZ }));
    const bob = await PhonePage.open(made, suite.url, EXPECTED);
    await bob.run((phone) => {
      phone.on('incoming', ({ call }) => call.answer());
    });
    return bob;
  }

  const open = (profile) => PhonePage.open(profile, suite.url, EXPECTED);
  const role = (tab) => tab.run((tabs) => tabs.role);
  const hears = (tab) => until('the other side is heard', async () => Date.now() - ((await tab.hearing())?.last ?? 0) < 200);
  const state = (tab, wanted) =>
    until(`the call is ${wanted}`, async () => {
      const [call] = await tab.calls();
      return call?.state === wanted && call;
    });
  const idle = (tab) => until('no call is left', async () => (await tab.calls()).length === 0);

  /** The first has the phone, the second follows. */
  async function pair(config) {
    const profile = await aliceProfile(config);
    const first = await open(profile);
    const second = await open(profile);
    assert.deepEqual([await role(first), await role(second)], ['owner', 'follower']);
    return [first, second, profile];
  }

  const connections = (tab) => tab.page.evaluate(() => globalThis.peerConnections.length);

  test('one has the phone; the other sees its calls and controls them', async () => {
    const [first, second] = await pair();
    const bob = await bobs();
    assert.equal(await second.run((tabs) => `${tabs.connection} ${tabs.registration} ${tabs.phone}`), 'connected registered null');
    await bob.run((phone) => {
      globalThis.tones = '';
      phone.on('call', ({ call, state }) => state === 'active' && call.on('dtmf', ({ tone }) => (globalThis.tones += tone)));
      phone.dial('sip:alice@sandbox.test');
    });
    // It rings in both, once.
    for (const tab of [first, second]) {
      await state(tab, 'ringing');
      assert.equal(await tab.run(() => globalThis.run.incoming), 1);
    }
    await second.run((tabs, call) => call.answer());
    for (const tab of [first, second]) await state(tab, 'active');
    await Promise.all([hears(first), hears(bob)]);
    assert.deepEqual([await connections(first), await connections(second)], [1, 0], 'the audio is where the phone is');
    const [here, there] = [(await first.calls())[0], (await second.calls())[0]];
    assert.deepEqual(there, here);

    await second.run((tabs, call) => call.mute());
    assert.equal((await first.calls())[0].muted, true);
    await until('the follower knows', async () => (await second.calls())[0].muted);
    await until('it is silent', async () => Date.now() - (await bob.hearing()).last > 400);
    await second.run((tabs, call) => call.unmute());
    await hears(bob);
    await second.run((tabs, call) => call.hold());
    await until('both know of the hold', async () => (await first.calls())[0].localHold && (await second.calls())[0].localHold);
    assert.equal((await bob.calls())[0].remoteHold, true);
    await second.run((tabs, call) => call.unhold());
    await second.run((tabs, call) => call.sendDtmf('12', { method: 'info' }));
    assert.equal(await bob.run(() => globalThis.tones), '12');
    // What the call itself refuses, it refuses here.
    assert.equal(await second.run((tabs, call) => call.sendDtmf('x').catch((error) => `${error.name} ${error.code}`)), 'SoftphoneError invalid_config');
    assert.equal(await second.run((tabs, call) => call.answer().catch((error) => error.code)), 'invalid_state');

    const ended = await second.run(
      (tabs, call) =>
        new Promise((resolve) => {
          call.on('ended', resolve);
          call.hangup();
        }),
    );
    assert.deepEqual(ended, { code: 'completed', by: 'local' });
    for (const tab of [first, second, bob]) await idle(tab);

    // And the other way about.
    const dialled = await second.run(async (tabs) => {
      const { success, callId, error } = await tabs.dial('sip:bob@sandbox.test', { timeout: 10_000 });
      return { success, callId, code: error?.code };
    });
    assert.equal(dialled.success, true, dialled.code);
    assert.equal((await state(first, 'active')).id, dialled.callId);
    await Promise.all([hears(first), hears(bob)]);
    await first.run((tabs, call) => call.hangup());
    for (const tab of [first, second, bob]) await idle(tab);
    assert.equal(await second.run(async (tabs) => (await tabs.dial('bob@sandbox.test')).error.code), 'invalid_destination');
    assert.deepEqual([first.problems, second.problems, bob.problems], [[], [], []]);
  });

  test('the one with the phone closes: the other takes over and rings for the next call', async (t) => {
    const [first, second] = await pair({});
    const bob = await bobs();
    const closed = Date.now();
    await first.page.close();
    await until('the other has the phone', async () => (await role(second)) === 'owner');
    await until('it is registered', () => second.run((tabs) => tabs.registration === 'registered'));
    t.diagnostic(`registered ${Date.now() - closed} ms after the other tab was closed`);
    await bob.run((phone) => {
      phone.dial('sip:alice@sandbox.test');
    });
    await state(second, 'ringing');
    await second.run((tabs, call) => call.answer());
    await Promise.all([hears(second), hears(bob)]);
    await second.run((tabs, call) => call.hangup());
    await idle(bob);
    // One binding: the caller has rung one phone.
    assert.equal(await second.run(() => globalThis.run.incoming), 1);
  });

  test('a call goes on in the tab that takes over, and the registrar has one binding', async (t) => {
    const [first, second, profile] = await pair();
    const bob = await bobs();
    const third = await open(profile);
    assert.equal(await role(third), 'follower');
    await second.run((tabs) => tabs.dial('sip:bob@sandbox.test').then(() => {}));
    await Promise.all([hears(first), hears(bob)]);
    const before = await state(second, 'active');
    await second.run((tabs, call) => {
      globalThis.kept = call;
    });
    const instance = (tab) => tab.run(() => globalThis.run.log.map((line) => /urn:uuid:[0-9a-f-]+/.exec(line)?.[0]).find(Boolean));
    const registered = await instance(first);
    const closed = Date.now();
    await first.page.close();
    await until('it is active here', async () => (await role(second)) === 'owner' && (await second.calls())[0]?.state === 'active');
    await Promise.all([hears(second), hears(bob)]);
    const { first: heard } = await second.hearing();
    const { gap } = await bob.hearing();
    t.diagnostic(`audio lost by closing the tab of a call: ${((heard - closed) / 1000).toFixed(2)} s here, ${(gap / 1000).toFixed(2)} s at the other side`);
    assert.ok(heard - closed < 5000 && gap < 5000, 'audio was away for too long');
    const [after] = await second.calls();
    assert.deepEqual(after, before);
    assert.equal(await second.run((tabs, call) => call === globalThis.kept && call.call !== null), true, 'it is the same object');
    assert.equal(await instance(second), registered);
    await until('the third follows the second', async () => (await third.calls())[0]?.state === 'active');
    await third.run((tabs, call) => call.hangup());
    for (const tab of [second, third, bob]) await idle(tab);
  });

  test('a call goes on in another tab when the one that has it crashes', async (t) => {
    const [first, second] = await pair();
    const bob = await bobs();
    await first.run((tabs) => tabs.dial('sip:bob@sandbox.test').then(() => {}));
    await Promise.all([hears(first), hears(bob)]);
    const before = await state(second, 'active');
    const crashed = Date.now();
    await assert.rejects(first.page.goto('chrome://crash'), /crash/i);
    await until('it is active here', async () => (await role(second)) === 'owner' && (await second.calls())[0]?.state === 'active');
    await Promise.all([hears(second), hears(bob)]);
    t.diagnostic(`audio lost by a crash of the tab of a call: ${(((await second.hearing()).first - crashed) / 1000).toFixed(2)} s here, ${((await bob.hearing()).gap / 1000).toFixed(2)} s at the other side`);
    assert.equal((await second.calls())[0].id, before.id);
    await second.run((tabs, call) => call.hangup());
    for (const tab of [second, bob]) await idle(tab);
  });

  test('a reload of the tab with the phone moves it, and what was kept for the reload is not used', async () => {
    const [first, second] = await pair();
    const bob = await bobs();
    await first.run((tabs) => tabs.dial('sip:bob@sandbox.test').then(() => {}));
    await Promise.all([hears(first), hears(bob)]);
    await first.page.reload();
    await first.ready();
    await until('the call is active in the other', async () => (await role(second)) === 'owner' && (await second.calls())[0]?.state === 'active');
    await Promise.all([hears(second), hears(bob)]);
    assert.equal(await role(first), 'follower');
    await state(first, 'active');
    const kept = await first.page.evaluate(() => Object.keys(sessionStorage).filter((name) => name.startsWith('wasm-softphone:calls:')));
    assert.deepEqual(kept, []);
    assert.equal(await connections(first), 0);
    // Back again: the second leaves, and the call goes to the first.
    await second.run((tabs) => tabs.leave());
    await until('the call is back', async () => (await role(first)) === 'owner' && (await first.calls())[0]?.state === 'active');
    await Promise.all([hears(first), hears(bob)]);
    assert.deepEqual(await second.calls(), []);
    assert.equal(await second.run((tabs) => tabs.join().catch((error) => error.code)), 'invalid_state');
    // The last one to leave ends it.
    await first.run((tabs) => tabs.leave());
    await idle(bob);
  });

  test('alone, a reload takes the call up', async () => {
    const tab = await open(await aliceProfile());
    const bob = await bobs();
    await tab.run((tabs) => tabs.dial('sip:bob@sandbox.test').then(() => {}));
    await Promise.all([hears(tab), hears(bob)]);
    const [before] = await tab.calls();
    await until('the record is kept', () => tab.page.evaluate(() => Object.keys(sessionStorage).some((name) => name.includes(':calls:'))));
    await tab.page.reload();
    await tab.ready();
    assert.equal((await state(tab, 'active')).id, before.id);
    await Promise.all([hears(tab), hears(bob)]);
    await tab.run((tabs, call) => call.hangup());
    await idle(bob);
  });

  test('nothing secret is on the channel, and nothing strange is obeyed', async () => {
    const profile = await aliceProfile();
    const owner = await open(profile);
    // Any script of the origin can listen and speak.
    const listener = owner.page;
    await listener.evaluate(() => {
      globalThis.overheard = [];
      globalThis.channel = new BroadcastChannel('wasm-softphone:tabs:sip:alice@sandbox.test');
      globalThis.channel.onmessage = ({ data }) => globalThis.overheard.push(data);
    });
    const second = await open(profile);
    assert.deepEqual([await role(owner), await role(second)], ['owner', 'follower']);
    const bob = await bobs();
    await second.run((tabs) => tabs.dial('sip:bob@sandbox.test').then(() => {}));
    await Promise.all([hears(owner), hears(bob)]);
    const overheard = await listener.evaluate(() => globalThis.overheard);
    const kinds = new Set(overheard.map(({ kind }) => kind));
    for (const kind of ['hello', 'state', 'command', 'result']) assert.ok(kinds.has(kind), `${kind} is missing: ${[...kinds]}`);
    assert.ok(overheard.some(({ record }) => record?.startsWith('wasm-softphone-calls/1')));
    const text = JSON.stringify(overheard);
    const log = (await owner.run(() => globalThis.run.log)).join('\n');
    const nonces = [...log.matchAll(/nonce="([^"]+)"/g)].map(([, nonce]) => nonce);
    for (const secret of ['alice-secret', 'password', 'credentials', 'Digest', 'ice-pwd', 'fingerprint', ...nonces]) {
      assert.ok(!text.includes(secret), `"${secret}" is on the channel`);
    }

    await listener.evaluate((overheard) => {
      const state = overheard.findLast(({ kind }) => kind === 'state');
      const [call] = state.calls;
      const command = { version: 1, from: 'stranger', to: state.from, kind: 'command', number: 1, call: call.id, args: [] };
      for (const message of [
        null, 'hello', 7, [], {}, { version: 2 }, { version: 1 }, { version: 1, from: 5, kind: 'state' },
        { ...command, method: 'free' }, { ...command, method: 'constructor' }, { ...command, method: 'transfer', args: ['sip:mallory@sandbox.test'] },
        { ...command, method: 'on', args: ['state', null] }, { ...command, method: 'hangup', args: 'x' }, { ...command, method: 'hangup', number: 'x' },
        { ...command, method: 'hangup', call: 'unknown' }, { ...command, method: 'sendDtmf', args: [{}] },
        { ...state, from: 'stranger', calls: 'none' }, { ...state, from: 'stranger', calls: [{}] }, { ...state, from: 'stranger', connection: 'odd' },
        { ...state, from: 'stranger', calls: [{ ...call, id: 'x'.repeat(10_000) }] },
        { version: 1, from: 'stranger', kind: 'result', number: 1, error: { code: 'fatal' } },
      ]) {
        globalThis.channel.postMessage(message);
      }
    }, overheard);
    await until('strangers are answered', () => listener.evaluate(() => globalThis.overheard.filter(({ to }) => to === 'stranger').length >= 2));
    const answers = await listener.evaluate(() => globalThis.overheard.filter(({ to }) => to === 'stranger').map(({ error }) => error?.code));
    assert.deepEqual(answers, ['ended', 'invalid_config'], 'only what is a command is answered');
    for (const tab of [owner, second]) assert.equal((await state(tab, 'active')).state, 'active');
    await Promise.all([hears(owner), hears(bob)]);
    await owner.run((tabs, call) => call.hangup());
    for (const tab of [owner, second, bob]) await idle(tab);
    assert.deepEqual([owner.problems, second.problems], [[], []]);
  });

  test('who cannot register says so in the tab that has the phone', async () => {
    const profile = await aliceProfile({ credentials: { username: 'alice', password: 'wrong' } });
    await assert.rejects(open(profile), /auth_failed/);
  });
});
