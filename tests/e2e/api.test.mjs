/** What the package's own JavaScript adds to the module: phones before it is there, listeners, snapshots, and the time after free(). */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { keepPeerConnections, toneMicrophone } from '../support/audio.mjs';
import { watchPage } from '../support/browser.mjs';
import { Suite } from '../support/suite.mjs';

/** For `context.addInitScript`: what every test here uses. Runs in the page. */
function tools() {
  globalThis.settings = (user, more) => ({
    servers: `ws://${location.host}/sip`,
    uri: `sip:${user}@sandbox.test`,
    credentials: { username: user, password: `${user}-secret` },
    iceServers: [],
    ...more,
  });
  /** Resolves once the condition holds, and rejects after ten seconds. */
  globalThis.until = async (holds) => {
    for (const end = performance.now() + 10_000; !holds(); await new Promise(requestAnimationFrame)) {
      if (performance.now() > end) throw new Error(`never: ${holds}`);
    }
  };
  /** The code of what this throws or rejects with. */
  globalThis.codeOf = async (run) => {
    try {
      await run();
      return 'none';
    } catch (error) {
      return error.code ?? String(error);
    }
  };
}

describe('the interface', { timeout: 180_000 }, () => {
  const suite = new Suite();

  /** Runs this in a page of the sandbox's origin, where nothing has been loaded. Gives what it returns, and the sockets that it opened. */
  async function inPage(run) {
    const context = await suite.browser.newContext();
    for (const [script, argument] of [[tools], [keepPeerConnections], [toneMicrophone, 1000]]) await context.addInitScript(script, argument);
    const page = await context.newPage();
    // The browser looks for an icon.
    const problems = watchPage(page, [/404/]);
    const sockets = [];
    page.on('websocket', (socket) => sockets.push(socket));
    await page.goto(`${suite.url}/demo.json`);
    const outcome = await page.evaluate(run);
    assert.deepEqual(problems, []);
    const open = sockets.filter((socket) => !socket.isClosed()).length;
    await context.close();
    return { outcome, opened: sockets.length, open };
  }

  test('mount, unmount and mount again, as StrictMode does before the module is there, leaves one phone', async () => {
    const { outcome, opened, open } = await inPage(async () => {
      const { DialStrategy } = await import('/pkg/index.js');
      const mount = () => {
        const phone = new DialStrategy(globalThis.settings('alice'));
        const seen = [];
        phone.on('registration', ({ state }) => seen.push(state));
        const connected = globalThis.codeOf(() => phone.connect());
        return { phone, seen, connected, unmount: () => phone.free() };
      };
      const first = mount();
      const connecting = first.phone.connection;
      first.unmount();
      const second = mount();
      const codes = [await first.connected, await second.connected];
      return { connecting, codes, seen: [first.seen, second.seen], states: [first.phone.registration, second.phone.registration] };
    });
    assert.deepEqual(outcome, {
      connecting: 'connecting',
      codes: ['aborted', 'none'],
      seen: [[], ['registering', 'registered']],
      states: ['unregistered', 'registered'],
    });
    assert.deepEqual([opened, open], [1, 1]);
  });

  test('a phone made before the module is there refuses a wrong configuration when it connects, and takes a right one', async () => {
    const { outcome } = await inPage(async () => {
      const { DialStrategy, Phone, registerProvider } = await import('/pkg/index.js');
      const { codeOf } = globalThis;
      const phone = new DialStrategy({ ...globalThis.settings('alice'), displayname: 'Alice' });
      const before = {
        alias: Phone === DialStrategy,
        strategy: [phone.strategy, new DialStrategy({ providerId: '46elks' }).strategy],
        codes: [
          await codeOf(() => phone.strategyFor('600')),
          await codeOf(() => phone.sendMessage('bob', 'hello')),
          await codeOf(() => registerProvider({})),
          await codeOf(() => new DialStrategy('wss://x')),
          await codeOf(() => phone.on('ring', () => {})),
          await codeOf(() => phone.on('call', 1)),
        ],
        dial: await phone.dial('600').then(({ success, error }) => [success, error.code, phone.lastResult.success, phone.error === error]),
        call: phone.dial('600').call,
        json: JSON.parse(JSON.stringify(phone)).error.code,
      };
      await phone.disconnect();
      const refused = await phone.connect().catch((error) => error);
      phone.configure(globalThis.settings('alice'));
      await phone.connect();
      const mended = phone.registration;
      phone.free();
      const later = new DialStrategy();
      later.configure(globalThis.settings('bob'));
      await later.connect();
      const after = [later.registration, later.error];
      await later.disconnect();
      return { before, refused: [refused.code, refused.message], mended, after };
    });
    assert.deepEqual(outcome, {
      before: {
        alias: true,
        strategy: ['sip-invite', 'rest-originate'],
        codes: ['not_initialized', 'not_initialized', 'not_initialized', 'invalid_config', 'invalid_config', 'invalid_config'],
        dial: [false, 'not_initialized', false, true],
        call: null,
        json: 'not_initialized',
      },
      refused: ['invalid_config', 'displayname: there is no such option; did you mean `displayName`?'],
      mended: 'registered',
      after: ['registered', null],
    });
  });

  test('a call that is freed tells its listeners while it is still there', async () => {
    const { outcome } = await inPage(async () => {
      const { DialStrategy } = await import('/pkg/index.js');
      const phone = new DialStrategy(globalThis.settings('alice'));
      await phone.connect();
      const { call } = await phone.dial('600', { metadata: 'kept' });
      const seen = [];
      call.on('state', ({ state }) => seen.push([state, call.state, call.remote.uri]));
      phone.on('call', ({ call: told, state }) => seen.push([state, told === call, told.metadata]));
      call.free();
      await phone.disconnect();
      return seen;
    });
    assert.deepEqual(outcome, [['ended', 'ended', 'sip:600@sandbox.test'], ['ended', true, 'kept']]);
  });

  test('the event that a framework hands to a handler is no set of options', async () => {
    const { outcome } = await inPage(async () => {
      const { DialStrategy } = await import('/pkg/index.js');
      const phone = new DialStrategy(globalThis.settings('alice'));
      await phone.connect();
      // It calls back.
      const answered = new Promise((resolve) => {
        phone.on('incoming', ({ call }) => resolve(globalThis.codeOf(() => call.answer(new MouseEvent('click')))));
      });
      const { call } = await phone.dial('607');
      await call?.hangup();
      const codes = [await answered, (await phone.dial('600', { mood: 1 })).error.code];
      await phone.disconnect();
      return codes;
    });
    assert.deepEqual(outcome, ['none', 'invalid_config']);
  });

  test('a call is there at once: it can be hung up while it rings, and has metadata, times and a text', async () => {
    const { outcome } = await inPage(async () => {
      const { DialStrategy, isSoftphoneError } = await import('/pkg/index.js');
      const phone = new DialStrategy(globalThis.settings('alice'));
      await phone.connect();
      const ticket = { id: 7 };
      // It rings, and nobody answers.
      const dialing = phone.dial('603', { metadata: ticket });
      const { call } = dialing;
      const atOnce = [phone.calls[0] === call, call.direction, call.metadata === ticket, call.duration, call.endedAt];
      await globalThis.until(() => call.state === 'ringing');
      await call.hangup();
      const result = await dialing;
      const { error } = result;
      const text = JSON.parse(JSON.stringify(error));
      const unanswered = [result.success, error.code, isSoftphoneError(error), error instanceof Error, text.code, text.message === error.message];

      const answered = await phone.dial('600');
      await globalThis.until(() => answered.call.duration > 0);
      const json = JSON.parse(JSON.stringify(answered.call));
      await answered.call.hangup();
      const { startedAt, endedAt, duration } = answered.call;
      const ended = [endedAt >= startedAt, duration === endedAt - startedAt, answered.call.endReason === answered.call.endReason];
      const refused = phone.dial('112');
      const later = [refused.call, (await refused).error.code];
      const again = phone.dial('600');
      const second = phone.dial('601');
      const busy = [second.call, (await second).error.code];
      again.call.hangup();
      await again;
      await phone.disconnect();
      return { atOnce, unanswered, json: [json.state, json.remote.uri, json.muted, 'headers' in json], ended, later, busy };
    });
    assert.deepEqual(outcome, {
      atOnce: [true, 'outgoing', true, null, null],
      unanswered: [false, 'aborted', true, true, 'aborted', true],
      json: ['active', 'sip:600@sandbox.test', false, false],
      ended: [true, true, true],
      later: [null, 'invalid_destination'],
      busy: [null, 'already_dialing'],
    });
  });

  test('what an application shows stays the same object until it changes, and each change is one event', async () => {
    const { outcome } = await inPage(async () => {
      const { DialStrategy } = await import('/pkg/index.js');
      const { until } = globalThis;
      const phone = new DialStrategy(globalThis.settings('alice'));
      const told = [];
      phone.on('change', (snapshot) => told.push(snapshot));
      const idle = phone.getSnapshot();
      await phone.connect();
      const connected = [idle === phone.getSnapshot(), phone.getSnapshot() === phone.getSnapshot(), phone.calls === phone.calls, Object.isFrozen(phone.calls)];
      const { call } = await phone.dial('600');
      const { calls } = phone.getSnapshot();
      const same = [
        calls === phone.getSnapshot().calls, calls[0].call === call, phone.calls === phone.calls, call.remote === call.remote,
        call.headers === call.headers, Object.isFrozen(call.remote), Object.isFrozen(calls[0]),
      ];
      const mutes = [];
      call.on('mute', ({ muted }) => mutes.push(muted));
      call.mute();
      call.mute();
      await until(() => told.at(-1).calls[0].muted);
      call.unmute();
      await until(() => !told.at(-1).calls[0].muted);
      await call.hold();
      await until(() => told.at(-1).calls[0].localHold);
      const held = told.length;
      // One for both.
      call.metadata = 'note';
      call.mute();
      await until(() => told.length > held);
      await new Promise((resolve) => setTimeout(resolve, 0));
      const together = [told.length - held, told.at(-1).calls[0].metadata, told.at(-1).calls[0].muted];
      await call.hangup();
      await until(() => told.at(-1).calls.length === 0);
      await phone.disconnect();
      await until(() => told.at(-1).connection === 'disconnected');
      return {
        connected, same, mutes, together,
        distinct: told.every((snapshot, at) => snapshot !== told[at - 1]),
        last: told.at(-1) === phone.getSnapshot(),
        states: [...new Set(told.map(({ registration }) => registration))],
        dialling: [...new Set(told.map(({ isDialing }) => isDialing))],
      };
    });
    assert.deepEqual(outcome, {
      connected: [false, true, true, true],
      same: Array(7).fill(true),
      mutes: [true, false, true],
      together: [1, 'note', true],
      distinct: true,
      last: true,
      states: ['unregistered', 'registering', 'registered'],
      dialling: [false, true],
    });
  });

  test('listeners: once, off, and a signal', async () => {
    const { outcome } = await inPage(async () => {
      const { DialStrategy } = await import('/pkg/index.js');
      const { codeOf, until } = globalThis;
      const phone = new DialStrategy(globalThis.settings('alice'));
      const seen = [];
      const note = (name) => () => seen.push(name);
      const [off, twice, fine] = [note('off'), note('twice'), note('fine')];
      const control = new AbortController();
      phone.once('connection', note('once'));
      phone.on('connection', off);
      phone.on('connection', twice);
      phone.on('connection', twice);
      phone.on('connection', note('signal'), { signal: control.signal });
      phone.on('connection', note('aborted'), { signal: AbortSignal.abort() });
      const remove = phone.on('connection', note('removed'));
      phone.on('registration', fine, { once: true });
      phone.off('connection', off);
      phone.off('registration', off);
      remove();
      remove();
      await phone.connect();
      const first = [...seen];
      seen.length = 0;
      control.abort();
      phone.off('connection', twice);
      const dialing = phone.dial('600');
      const { call } = dialing;
      call.once('state', note('call once'));
      call.on('state', off);
      call.off('state', off);
      call.on('ended', note('call signal'), { signal: control.signal });
      await dialing;
      await call.hangup();
      await phone.disconnect();
      await until(() => phone.connection === 'disconnected');
      const bad = [
        await codeOf(() => phone.once('connection')),
        await codeOf(() => phone.on('connection', fine, { signal: 1 })),
        await codeOf(() => phone.once('ring', fine)),
      ];
      return { first, later: seen, bad };
    });
    assert.deepEqual(outcome.first.filter((name) => name === 'once' || name === 'fine'), ['once', 'fine']);
    assert.deepEqual([...new Set(outcome.first)].sort(), ['fine', 'once', 'signal', 'twice']);
    const times = (name) => outcome.first.filter((one) => one === name).length;
    assert.equal(times('twice'), 2 * times('signal'));
    assert.deepEqual(outcome.later, ['call once']);
    assert.deepEqual(outcome.bad, Array(3).fill('invalid_config'));
  });

  test('after free() nothing shows of the module: calls fail with `ended`, and properties are what they were', async () => {
    const { outcome } = await inPage(async () => {
      const { DialStrategy } = await import('/pkg/index.js');
      const { codeOf } = globalThis;
      const phone = new DialStrategy(globalThis.settings('alice'));
      await phone.connect();
      const subscription = phone.subscribe('bob', 'presence');
      const { call } = await phone.dial('600');
      const { id } = call;
      call.free();
      call.free();
      const ofCall = [
        call.id === id, call.state, call.remote.uri, call.localStream, call.endedAt >= call.startedAt, JSON.parse(JSON.stringify(call)).state,
        await codeOf(() => call.hold()), await codeOf(() => call.mute()), await codeOf(() => call.on('state', () => {})), await codeOf(() => call.hangup()),
      ];
      subscription.free();
      subscription.free();
      const ofSubscription = [subscription.state, await codeOf(() => subscription.unsubscribe()), await codeOf(() => subscription.on('state', () => {}))];
      const other = (await phone.dial('600')).call;
      phone.free();
      phone.free();
      const dialled = await phone.dial('600');
      const ofPhone = [
        phone.connection, phone.registration, phone.calls.length, phone.isDialing, phone.error, JSON.parse(JSON.stringify(phone)).connection,
        other.state, other.endedAt > 0, dialled.error.code,
        await codeOf(() => phone.connect()), await codeOf(() => phone.strategyFor('600')), await codeOf(() => phone.configure({})),
        await codeOf(() => phone.sendOptions('bob')), await codeOf(() => phone.on('call', () => {})), await codeOf(() => phone.disconnect()),
      ];
      return { ofCall, ofSubscription, ofPhone };
    });
    assert.deepEqual(outcome, {
      ofCall: [true, 'ended', 'sip:600@sandbox.test', null, true, 'ended', 'ended', 'ended', 'ended', 'none'],
      ofSubscription: ['terminated', 'none', 'ended'],
      ofPhone: [
        'disconnected', 'unregistered', 0, false, null, 'disconnected', 'ended', true, 'ended',
        'ended', 'ended', 'ended', 'ended', 'ended', 'none',
      ],
    });
  });
});
