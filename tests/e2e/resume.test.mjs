/** Calls that outlive their page: a reload during a call, what is kept meanwhile, and what is not. */

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { launchBrowser } from '../support/browser.mjs';
import { useSandbox } from '../support/sandbox.mjs';
import { until } from '../support/until.mjs';
import { PhonePage, phoneProfile } from './phone-page.mjs';

const ALICE_HZ = 1000;
const BOB_HZ = 440;

describe('a page that is reloaded', { timeout: 180_000 }, () => {
  let sandbox;
  let browser;
  let profiles = [];

  before(async () => {
    [sandbox, browser] = await Promise.all([useSandbox(), launchBrowser()]);
  });
  after(async () => {
    await browser?.close();
    await sandbox?.stop();
  });

  async function profile(user, options) {
    const tones = { alice: { tone: ALICE_HZ, hears: BOB_HZ }, bob: { tone: BOB_HZ, hears: ALICE_HZ } };
    const made = await phoneProfile(browser, { user, ...tones[user], ...options });
    profiles.push(made);
    return made;
  }

  async function closeAll() {
    await Promise.all(profiles.map((made) => made.close()));
    profiles = [];
  }

  afterEach(closeAll);

  const active = (phone) => until('the call is active', async () => {
    const calls = await phone.calls();
    return calls.length === 1 && calls[0].state === 'active' && calls[0];
  });

  /** Waits until this page hears the other's tone, as it is now. */
  const hears = (phone) => until('the other side is heard', async () => Date.now() - (await phone.hearing()).last < 200);

  /** Alice has called Bob, and both hear each other. */
  async function talking(config = { resume: true }) {
    const alice = await PhonePage.open(await profile('alice', { config }), sandbox.url, [/404/]);
    const bob = await PhonePage.open(await profile('bob'), sandbox.url, [/404/]);
    await bob.run((phone) => {
      phone.on('incoming', ({ call }) => call.answer());
    });
    const result = await alice.run(async (phone) => (await phone.dial('sip:bob@sandbox.test')).error?.code);
    assert.equal(result, undefined);
    await Promise.all([hears(alice), hears(bob)]);
    return { alice, bob };
  }

  /** What is in the stores of a page. */
  const stored = ({ page }) => page.evaluate(async () => {
    const entries = Object.entries(sessionStorage);
    const database = await new Promise((resolve, reject) => {
      const opening = indexedDB.open('wasm-softphone');
      opening.onsuccess = () => resolve(opening.result);
      opening.onerror = () => reject(opening.error);
    });
    const stores = [...database.objectStoreNames];
    let keys = [];
    if (stores.length) {
      const request = database.transaction('keys').objectStore('keys').getAll();
      keys = await new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
    }
    database.close();
    const exports = await Promise.all(keys.map((key) => crypto.subtle.exportKey('raw', key).then(() => 'exported', (error) => error.name)));
    return { entries, local: Object.keys(localStorage), cookies: document.cookie, exports, kinds: keys.map((key) => [key.constructor.name, key.extractable, key.algorithm.name, key.algorithm.length]) };
  });

  const kept = async (phone) => (await stored(phone)).entries.filter(([name]) => name.startsWith('wasm-softphone:calls:'));

  test('the call goes on, with its audio, and what was known of it', async (t) => {
    const { alice, bob } = await talking();
    const [before] = await alice.calls();
    await until('the record is kept', async () => (await kept(alice)).length > 0);
    const [last, heardByBob] = await Promise.all([alice.hearing(), bob.hearing()]);
    assert.ok(heardByBob.gap < 1000, `a gap of ${heardByBob.gap} ms before the reload`);

    await alice.page.reload();
    const connected = await alice.ready();
    const call = await active(alice);
    await Promise.all([hears(alice), hears(bob)]);
    assert.deepEqual(
      [call.id, call.direction, call.strategy, call.remote, call.startedAt],
      [before.id, 'outgoing', 'sip-invite', before.remote, before.startedAt],
    );
    const states = await alice.run(() => globalThis.run.states);
    assert.deepEqual(states.map(([, id, state]) => [id, state]), [[before.id, 'reconnecting'], [before.id, 'active']]);
    assert.equal(await alice.run(() => globalThis.run.incoming), 0, 'it does not ring');
    const lostByAlice = (await alice.hearing()).first - last.last;
    const lostByBob = (await bob.hearing()).gap;
    t.diagnostic(`audio lost by a reload: ${(lostByAlice / 1000).toFixed(2)} s here, ${(lostByBob / 1000).toFixed(2)} s at the other side; connected ${connected} ms, active ${states[1][0]} ms after the load`);
    assert.ok(lostByAlice < 5000 && lostByBob < 5000, 'audio was away for too long');
    const packets = await bob.packets();
    await until('packets flow both ways', async () => {
      const now = await bob.packets();
      return now.sent > packets.sent + 50 && now.received > packets.received + 50;
    });

    // And again, from the other end of it: it is one call like any other.
    await alice.page.reload();
    await alice.ready();
    await active(alice);
    await Promise.all([hears(alice), hears(bob)]);
    await alice.run((phone, call) => call.hangup());
    await until('the other side has no call', async () => (await bob.calls()).length === 0);
    assert.equal((await kept(alice)).length, 0, 'the record is removed at the end of the call');
    await alice.page.reload();
    await alice.ready();
    assert.deepEqual(await alice.calls(), []);
    assert.deepEqual([alice.problems, bob.problems], [[], []]);
  });

  test('a call that came in, on hold and muted, is so after the reload', async () => {
    const alice = await PhonePage.open(await profile('alice', { config: { resume: true } }), sandbox.url);
    const bob = await PhonePage.open(await profile('bob'), sandbox.url, [/404/]);
    await alice.run((phone) => {
      phone.on('incoming', ({ call }) => call.answer());
    });
    await bob.run((phone) => phone.dial('sip:alice@sandbox.test').then(() => {}));
    await Promise.all([hears(alice), hears(bob)]);
    await alice.run(async (phone, call) => {
      call.mute();
      await call.hold();
    });
    await until('bob is held', async () => (await bob.calls())[0].remoteHold);
    const silentFrom = Date.now();
    await until('it is silent', async () => Date.now() - (await bob.hearing()).last > 300);
    await alice.page.reload();
    await alice.ready();
    const call = await active(alice);
    assert.deepEqual([call.direction, call.strategy, call.localHold, call.muted], ['incoming', null, true, true]);
    assert.deepEqual((await bob.calls()).map(({ remoteHold, state }) => [remoteHold, state]), [[true, 'active']]);
    await alice.run((phone, call) => call.unhold());
    await hears(alice);
    const lastHeard = (await bob.hearing()).last;
    assert.ok(lastHeard - silentFrom < 1000, 'what is muted is not heard');
    await alice.run((phone, call) => call.unmute());
    await hears(bob);
    await alice.run((phone, call) => call.hangup());
  });

  test('nothing secret is kept, and the key can be read by nobody', async () => {
    const { alice } = await talking();
    const entries = await until('the record', async () => {
      const entries = await kept(alice);
      return entries.length === 2 && entries;
    });
    const { entries: all, local, cookies, exports, kinds } = await stored(alice);
    // The id of the phone (RFC 5626), by which its registrar knows it.
    assert.match(local.join(), /^wasm-softphone:instance:[0-9a-f]{16}:0$/);
    assert.equal(cookies, '');
    assert.deepEqual(kinds, [['CryptoKey', false, 'AES-GCM', 256]]);
    assert.deepEqual(exports, ['InvalidAccessError']);
    const [{ id }] = await alice.calls();
    const text = JSON.stringify(all);
    for (const secret of ['alice-secret', 'sip:', 'alice', 'bob', id, 'tag', 'fingerprint', 'ice-pwd']) {
      assert.ok(!text.includes(secret) && !text.includes(btoa(secret)), `"${secret}" is in sessionStorage`);
    }
    // What it is once it is opened: by this page's own key, which a test may use like anybody on this page.
    const opened = await alice.page.evaluate(async () => {
      const { RecordStore } = await import('/pkg/resume.js');
      const store = await RecordStore.open('sip:alice@sandbox.test', () => {});
      return store.take();
    });
    assert.match(opened.record, /^wasm-softphone-calls\/1\n/);
    assert.ok(opened.record.includes(id) && opened.age < 15_000);
    const sdp = await alice.page.evaluate(() => globalThis.peerConnections[0].localDescription.sdp);
    const secrets = ['ice-ufrag', 'ice-pwd', 'fingerprint'].map((name) => new RegExp(`a=${name}:(.+)`).exec(sdp)[1].trim());
    const log = (await alice.run(() => globalThis.run.log)).join('\n');
    const nonces = [...log.matchAll(/nonce="([^"]+)"/g)].map(([, nonce]) => nonce);
    for (const secret of ['alice-secret', 'Digest', 'nonce', 'a=', ...secrets, ...nonces]) {
      assert.ok(!opened.record.includes(secret), `the record holds "${secret}"`);
    }
    assert.ok(entries.every(([, value]) => value.length < 24_000));
  });

  test('without `resume` nothing is kept', async () => {
    const { alice, bob } = await talking({});
    assert.deepEqual(await kept(alice), []);
    await alice.page.reload();
    await alice.ready();
    assert.deepEqual(await alice.calls(), []);
    await until('the other side has no call', async () => (await bob.calls()).length === 0);
  });

  test('disconnect() and free() leave nothing behind', async () => {
    for (const end of ['disconnect', 'free']) {
      const { alice, bob } = await talking();
      await until('the record', async () => (await kept(alice)).length === 2);
      await alice.run((phone, call, end) => phone[end](), end);
      await until('it is removed', async () => (await kept(alice)).length === 0);
      await until('the other side has no call', async () => (await bob.calls()).length === 0);
      await closeAll();
    }
  });

  test('a record that is old or damaged is ignored, and the log says so', async () => {
    for (const what of ['expired', 'damaged', 'garbage']) {
      const { alice, bob } = await talking();
      await until('the record', async () => (await kept(alice)).length === 2);
      // Behind the page's back, as it leaves.
      await alice.page.evaluate((what) => {
        addEventListener('pagehide', () => {
          const name = Object.keys(sessionStorage).find((key) => key.startsWith('wasm-softphone:calls:') && !key.endsWith(':seen'));
          const value = sessionStorage.getItem(name);
          const spoilt = { damaged: value.slice(0, 40) + (value[40] === 'A' ? 'B' : 'A') + value.slice(41), garbage: '\u0000%%%' };
          if (what === 'expired') sessionStorage.setItem(`${name}:seen`, Date.now() - 120_000);
          else sessionStorage.setItem(name, spoilt[what]);
        });
      }, what);
      await alice.page.reload();
      await alice.ready();
      assert.deepEqual(await alice.calls(), [], what);
      const log = await alice.run(() => globalThis.run.log);
      assert.ok(log.some((line) => line.startsWith('resume: invalid_record: ')), `${what}: ${log.filter((line) => /^resume/.test(line))}`);
      assert.equal((await kept(alice)).length, 0);
      await bob.run((phone, call) => call.hangup());
      await closeAll();
    }
  });

  test('a call that ended meanwhile ends here with the reason', async () => {
    const { alice, bob } = await talking();
    await until('the record', async () => (await kept(alice)).length === 2);
    // The page is away, and the other side hangs up.
    await alice.page.goto('about:blank');
    await bob.run((phone, call) => call.hangup());
    await until('bob has no call', async () => (await bob.calls()).length === 0);
    await alice.page.goto(`${sandbox.url}/demo.json`);
    await alice.ready();
    const ended = await until('the end', () => alice.run(() => globalThis.run.states.at(-1)?.[2] === 'ended' && globalThis.run.states.map(([, , state]) => state)));
    assert.equal(ended[0], 'reconnecting');
    assert.equal((await kept(alice)).length, 0);
    assert.equal((await bob.calls()).length, 0, 'nobody is rung');
    assert.equal(await bob.run(() => globalThis.run.incoming), 1);
  });

  test('a call to a number that nobody sits at', async () => {
    const made = await phoneProfile(browser, { user: 'alice', tone: ALICE_HZ, hears: ALICE_HZ, config: { resume: true } });
    profiles.push(made);
    const alice = await PhonePage.open(made, sandbox.url, [/404/]);
    // It plays back what it hears.
    await alice.run((phone) => phone.dial('sip:600@sandbox.test').then(() => {}));
    await hears(alice);
    await alice.page.reload();
    await alice.ready();
    await active(alice);
    await hears(alice);
    await alice.run((phone, call) => call.hangup());
  });

  test('a tab that is duplicated does not take the call away', async () => {
    const { alice, bob } = await talking();
    await until('the record', async () => (await kept(alice)).length === 2);
    // sessionStorage is copied to what a page opens.
    const [copy] = await Promise.all([
      alice.page.context().waitForEvent('page'),
      alice.page.evaluate(() => {
        globalThis.opened = window.open('/demo.json');
      }),
    ]);
    const twin = Object.assign(new PhonePage(), { page: copy, problems: [] });
    await twin.ready();
    assert.deepEqual(await twin.calls(), []);
    assert.equal((await active(alice)).state, 'active');
    await Promise.all([hears(alice), hears(bob)]);
    await copy.close();
    await alice.run((phone, call) => call.hangup());
  });
});
