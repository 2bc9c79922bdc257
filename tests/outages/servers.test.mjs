/**
 * Servers that go away while people talk, ring, register and hold. The package, JsSIP and SIP.js meet the same outages at
 * the same time; what the package does is required, what the others do is measured.
 * Uses fixed ports: run it in a network namespace of its own.
 */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { Party, connect, servePages, talk } from '../interop/party.mjs';
import { Network, WEBSOCKET_URL } from '../stack/network.mjs';
import { launchBrowser } from '../support/browser.mjs';
import { until } from '../support/until.mjs';
import { NAMES, USERS, registeredAt, said, toneOf } from './parties.mjs';
import { Table } from './table.mjs';

const ALL = Object.keys(USERS);
/** A browser says in the console that a connection failed. */
const EXPECTED = [/WebSocket connection to/];

/** What this package must keep to, milliseconds. */
const REGISTERED_WITHIN = 5000;
/** Of the audio, seconds: less than the shortest outage. */
const LOST_WITHIN = 1;
/** The others are given up on after this long: JsSIP tries again at most 30 s later, SIP.js has given up by then. */
const PATIENCE = 32_000;
/** The BYE of the others arrives by then, or never. */
const HANGUP_PATIENCE = 12_000;

/** Seconds until it is so, or null if it is not by then. */
async function within(deadline, what, condition, since = Date.now()) {
  try {
    await until(what, condition, { deadline });
    return (Date.now() - since) / 1000;
  } catch {
    return null;
  }
}

const note = async (party, since) => (await said(party, since)).join('\n');

/** Seconds from `since` to the 200 for a REGISTER. */
async function registered(party, since, deadline) {
  let at = null;
  await within(deadline, 'registered', async () => (at = await registeredAt(party, since)) !== null);
  return at === null ? null : (at - since) / 1000;
}

/** TCP connections to a server on this machine that are up, whether it has taken them or not. */
function connectionsTo(url) {
  const port = Number(new URL(url).port).toString(16).toUpperCase().padStart(4, '0');
  const established = new RegExp(`^ *\\d+: [0-9A-F]+:[0-9A-F]+ [0-9A-F]+:${port} 01 `, 'gm');
  return [...readFileSync('/proc/net/tcp', 'utf8').matchAll(established)].length;
}

describe('outages', { timeout: 840_000 }, () => {
  const table = new Table('servers');
  let server;
  let browser;
  let network;
  let parties = [];

  before(async () => {
    [server, browser] = await Promise.all([servePages(), launchBrowser()]);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
    await table.write();
  });
  afterEach(async () => {
    const ours = parties.filter(({ library }) => library === 'ours');
    const others = parties.filter(({ library }) => library !== 'ours');
    parties = [];
    await Promise.all(others.map((party) => party.context.close()));
    for (const party of ours) {
      await party.clear();
      await party.close();
    }
  });

  async function open(kind, user, options = {}) {
    const party = await Party.open(browser, server.url, kind, { user, tone: toneOf(user), expected: EXPECTED, ...options });
    parties.push(party);
    return party;
  }

  /** A call up with each of these libraries at both ends: what is known of each. */
  async function talking(kinds, options) {
    return Promise.all(kinds.map(async (kind) => {
      const [caller, callee] = await Promise.all([open(kind, USERS[kind][0], options), open(kind, USERS[kind][1], options)]);
      const [outgoing, incoming] = await connect(caller, callee);
      await talk(outgoing, incoming);
      await Promise.all([outgoing.meter(), incoming.meter()]);
      return { kind, caller, callee, outgoing, incoming, both: [outgoing, incoming] };
    }));
  }

  const active = async (calls) => (await Promise.all(calls.map((call) => call.report()))).every(({ state }) => state === 'active');

  /** Both calls are up and both sides hear each other, with packets each way. */
  async function goesOn({ both, outgoing, incoming }, deadline) {
    const heard = await within(deadline, 'audio both ways', async () => {
      if (!(await active(both))) throw new Error('the call is over');
      await talk(outgoing, incoming);
      return true;
    });
    if (heard === null || !(await active(both))) return false;
    return Promise.all(both.map((call) => call.exchanges(20))).then(() => true, () => false);
  }

  const lost = ({ both }) => Promise.all(both.map((call) => call.lost()));

  /** One side hangs up: seconds until both have ended; how the other came to know is for the caller to judge. */
  async function hangUp(pair, who, deadline) {
    const [first, second] = who === 'caller' ? pair.both : pair.both.toReversed();
    const since = Date.now();
    // Of the others it is only measured.
    await first.do('hangup').catch((error) => {
      if (pair.kind === 'ours') throw error;
    });
    const ended = await within(deadline, 'both ended', async () => (await Promise.all(pair.both.map((call) => call.report()))).every(({ state }) => state === 'ended'), since);
    const wire = await second.party.wire(since);
    return { ended, reason: (await second.report()).ended?.code, byBye: wire.some(({ sent, first: line }) => !sent && line.startsWith('BYE ')) };
  }

  /** In one outage of the server every library has a call. */
  async function serverOutage(seconds, kinds, { gruu, hangsUp }) {
    // Without GRUU no BYE arrives after the outage: the other end ends by its own graces, made short.
    const pairs = await talking(kinds, gruu ? {} : { mediaGrace: 5000, signallingGrace: 5000 });
    const killed = Date.now();
    await network.killRegistrar();
    const counts = await Promise.all(pairs.map(({ both }) => Promise.all(both.map((call) => call.packets()))));
    await delay(seconds * 1000);
    const during = await Promise.all(pairs.map(async ({ both }, pair) => {
      const now = await Promise.all(both.map((call) => call.packets()));
      return now.every(({ received }, side) => received - counts[pair][side].received > seconds * 25);
    }));
    await network.startRegistrar();
    const returned = Date.now();
    const outcomes = await Promise.all(pairs.map(async (pair, index) => {
      const patience = pair.kind === 'ours' ? REGISTERED_WITHIN : PATIENCE;
      const times = await Promise.all([pair.caller, pair.callee].map((party) => registered(party, killed, patience)));
      const outcome = {
        kind: pair.kind,
        registered: times.map((time) => time === null ? null : Math.max(0, time - (returned - killed) / 1000)),
        during: during[index],
        goesOn: await goesOn(pair, 8000),
      };
      outcome.lost = await lost(pair).catch(() => undefined);
      if (outcome.goesOn) Object.assign(outcome, await hangUp(pair, hangsUp, pair.kind === 'ours' ? 60_000 : HANGUP_PATIENCE));
      table.add(`server gone for ${((returned - killed) / 1000).toFixed(1)} s${gruu ? '' : ', no GRUU'}`, NAMES[pair.kind], outcome);
      return { ...outcome, trace: pair.kind === 'ours' ? `${await note(pair.caller, killed)}\n---\n${await note(pair.callee, killed)}` : '' };
    }));
    const ours = outcomes.find(({ kind }) => kind === 'ours');
    assert.ok(ours.during, 'no audio while the server was away');
    assert.ok(ours.goesOn, `the call is over\n${ours.trace}`);
    assert.ok(Math.max(...ours.lost) < LOST_WITHIN, `audio lost: ${ours.lost} s`);
    assert.ok(ours.registered.every((time) => time !== null), `not registered again: ${ours.registered}\n${ours.trace}`);
    assert.notEqual(ours.ended, null, `the other end does not end\n${ours.trace}`);
    assert.ok(ours.reason, 'the other end does not say why');
    if (gruu) assert.ok(ours.byBye && ours.ended < 5, `ended after ${ours.ended} s, BYE: ${ours.byBye}\n${ours.trace}`);
  }

  /** What became of calls in an outage: up with audio both ways, or over for a reason that has a name. Never between. */
  async function settled(calls, deadline, since) {
    await until('the calls are up, or over for a reason', async () => {
      const reports = await Promise.all(calls.map((call) => call.report()));
      return reports.every(({ state }) => state === 'active') || reports.every(({ state, ended }) => state === 'ended' && ended?.code);
    }, { deadline }).catch(async (error) => {
      const reports = await Promise.all(calls.map((call) => call.report()));
      const traces = await Promise.all(calls.map(({ party }) => note(party, since)));
      throw new Error(`${error.message}\n${JSON.stringify(reports)}\n${traces.join('\n---\n')}`);
    });
    const reports = await Promise.all(calls.map((call) => call.report()));
    if (reports[0].state === 'active') await talk(...calls);
    return reports.map(({ state, ended }) => (state === 'active' ? 'yes' : ended.code)).join(' / ');
  }

  for (const [what, gruu] of [['with GRUU', true], ['without GRUU', false]]) {
    describe(what, () => {
      before(async () => {
        network = await Network.start(...(gruu ? [] : ['NO_GRUU']));
      });
      after(() => network?.stop());

      test('the server is gone for 1 s', () => serverOutage(1, ALL, { gruu, hangsUp: 'caller' }));
      test('the server is gone for 20 s', () => serverOutage(20, ALL, { gruu, hangsUp: 'callee' }));

      test('the server is gone for 5 s, a telephone at the other end', async () => {
        const desk = await network.telephone({ user: '2001', sipPort: 5080, controlPort: 4444, rtpPorts: '20000-20998', tone: 440, answers: 'auto' });
        try {
          const us = await open('ours', '1001');
          await us.dial('sip:2001@pbx.test');
          const call = await us.call(0, 'active');
          await call.hears(440);
          await call.meter();
          const killed = Date.now();
          await network.killRegistrar();
          await delay(5000);
          await network.startRegistrar();
          const returned = Date.now();
          const time = await registered(us, killed, REGISTERED_WITHIN);
          assert.notEqual(time, null, await note(us, killed));
          await call.hears(440);
          const silent = await call.lost();
          const since = Date.now();
          await desk.command('hangup');
          const ended = await within(PATIENCE, 'ended', async () => (await call.report()).state === 'ended', since);
          table.add(`server gone for 5 s${gruu ? '' : ', no GRUU'}, the far end a telephone that hangs up`, NAMES.ours, { goesOn: true, lost: silent, registered: time - (returned - killed) / 1000, ended });
          assert.ok(ended !== null && ended < 5, `ended after ${ended} s\n${await note(us, killed)}`);
        } finally {
          await desk.stop();
        }
      });

      for (const hanging of ['answered', 'given up']) {
        test(`the server is gone for 1 s while it rings; then the call is ${hanging}`, async () => {
          const [caller, callee] = await Promise.all(USERS.ours.map((user) => open('ours', user)));
          await caller.dial(callee.uri);
          const [incoming, outgoing] = await Promise.all([callee.call(0, 'ringing'), caller.call(0, 'ringing')]);
          const killed = Date.now();
          await network.killRegistrar();
          await delay(1000);
          await network.startRegistrar();
          for (const party of [caller, callee]) assert.notEqual(await registered(party, killed, REGISTERED_WITHIN), null);
          if (hanging === 'given up') {
            await outgoing.do('hangup');
          } else {
            // What rings is answered: the call from before, which goes on when the caller makes it anew, or the new one, if the first
            // was found to be over.
            const codes = [];
            await until('the call is answered', async () => {
              const ringing = (await callee.report()).findLastIndex(({ state }) => state === 'ringing');
              if (ringing >= 0) {
                callee.page.evaluate((index) => globalThis.party.run('answer', index).then(() => null, (error) => error.code), ringing).then((code) => codes.push(code), (error) => codes.push(error.message));
              }
              return (await outgoing.report()).state === 'active';
            }, { deadline: 15_000, every: 200 }).catch(async (error) => {
              throw new Error(`${error.message}\n${codes}\n${await note(caller, killed)}\n---\n${await note(callee, killed)}`);
            });
          }
          const latest = { report: async () => (await callee.report()).at(-1), party: callee, tone: callee.tone, hears: async (tone) => (await callee.call((await callee.report()).length - 1, 'active')).hears(tone) };
          // Without GRUU nothing reaches the call that rings from before: given up, it may ring until it is too old.
          const seen = hanging === 'answered' || gruu ? [outgoing, latest] : [outgoing];
          const outcome = await settled(seen, PATIENCE, killed);
          assert.equal(outcome, seen.map(() => (hanging === 'answered' ? 'yes' : 'cancelled')).join(' / '));
          table.add(`server gone for 1 s while it rings, then ${hanging}${gruu ? '' : ', no GRUU'}`, NAMES.ours, { goesOn: outcome, ended: (Date.now() - killed) / 1000 });
        });
      }
    });
  }

  describe('in the middle of a transaction', () => {
    before(async () => {
      network = await Network.start();
    });
    after(() => network?.stop());

    test('the server dies with the first REGISTER in its hands: that is said, and the next try is taken', async () => {
      network.freezeRegistrar();
      const opening = open('ours', '1001').then(() => null, (error) => error);
      await until('the connection is asked for', () => connectionsTo(WEBSOCKET_URL) > 0);
      await network.killRegistrar();
      assert.match(String(await opening), /SoftphoneError: The SIP server could not be reached/);
      await network.startRegistrar();
      await open('ours', '1001');
    });

    test('the server dies with the REGISTER of a refresh in its hands', async () => {
      // The registrar grants no less than 10 s.
      const us = await open('ours', '1001', { registerExpires: 10 });
      network.freezeRegistrar();
      const begun = Date.now();
      await until('the refresh is sent', async () => (await us.wire(begun)).some(({ sent, first }) => sent && first.startsWith('REGISTER ')));
      const killed = Date.now();
      await network.killRegistrar();
      await network.startRegistrar();
      const returned = Date.now();
      // From when it died: it may be registered before the server is known to be back, and refreshes 5 s later.
      const time = await registered(us, killed, REGISTERED_WITHIN);
      table.add('server killed while registering', NAMES.ours, { registered: time === null ? null : Math.max(0, time - (returned - killed) / 1000) });
      assert.notEqual(time, null, await note(us, begun));
    });

    test('the server dies with the re-INVITE of a hold in its hands', async () => {
      const [pair] = await talking(['ours']);
      const { outgoing, incoming, caller } = pair;
      network.freezeRegistrar();
      const killed = Date.now();
      const holding = outgoing.do('hold').then(() => null, (error) => error.message);
      await until('the re-INVITE is sent', async () => (await caller.wire(killed)).some(({ sent, first }) => sent && first.startsWith('INVITE ')));
      await network.killRegistrar();
      await delay(1000);
      await network.startRegistrar();
      const error = await Promise.race([holding, delay(30_000, 'hold() stays pending', { ref: false })]);
      const trace = async () => `${await note(caller, killed)}\n---\n${await note(pair.callee, killed)}`;
      assert.notEqual(error, 'hold() stays pending', await trace());
      if (error === null) {
        await outgoing.is({ localHold: true }, 20_000);
        await incoming.is({ remoteHold: true }, 20_000).catch(async (cause) => {
          throw new Error(`${cause.message}\n${await trace()}`);
        });
        await outgoing.do('unhold');
      }
      const took = (Date.now() - killed) / 1000;
      assert.ok(await goesOn(pair, 20_000), await trace());
      const { ended, byBye } = await hangUp(pair, 'caller', 10_000);
      table.add('server killed during the re-INVITE of a hold', NAMES.ours, { goesOn: error ?? `yes, held, and talking again ${took.toFixed(1)} s later`, ended });
      assert.ok(ended !== null && byBye, await trace());
    });
  });

  describe('the media relay', () => {
    let desk;
    before(async () => {
      network = await Network.start();
      desk = await network.telephone({ user: '2001', sipPort: 5080, controlPort: 4444, rtpPorts: '20000-20998', tone: 440, answers: 'auto' });
    });
    after(() => network?.stop());

    test('it is killed, and another takes its place', async () => {
      const us = await open('ours', '1001');
      await us.dial('sip:2001@pbx.test');
      const call = await us.call(0, 'active');
      await call.hears(440);
      await call.meter();
      const since = Date.now();
      await network.killMediaRelay();
      await network.startMediaRelay();
      await call.hearsNothing();
      const heard = await within(40_000, 'hears the telephone again', () => call.hears(440, 0).then(() => true), since);
      const silent = await call.lost();
      const { state, ended } = await call.report();
      table.add('media relay killed and started again', NAMES.ours, { goesOn: heard === null ? `no: ${ended?.code ?? state}` : 'yes', lost: silent });
      assert.notEqual(heard, null, `${JSON.stringify({ state, ended })}\n${await note(us, since)}`);
      assert.ok(silent < 20, `audio lost: ${silent} s`);
      await call.do('hangup');
      await desk.event('CALL_CLOSED');
    });
  });
});
