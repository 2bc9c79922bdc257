/**
 * What goes away under the browser while people talk: its connection to the server, its network, the path of the audio.
 * The callers are on a device with networks of its own, which change; the callees are where the servers are. The
 * package, JsSIP and SIP.js meet the same at the same time; what the package does is required, what the others do is
 * measured. Uses fixed ports and addresses: run it in a network namespace of its own.
 */

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { Party, connect, servePages, talk } from '../interop/party.mjs';
import { Network, WEBSOCKET_URL } from '../stack/network.mjs';
import { launchBrowser } from '../support/browser.mjs';
import { until } from '../support/until.mjs';
import { NAMES, USERS, registeredAt, said, toneOf } from './parties.mjs';
import { Device, SERVER_ADDRESS, SERVER_NAME, lacksNetworks } from './roaming.mjs';
import { Table } from './table.mjs';
import { TcpProxy } from './tcp-proxy.mjs';

const PROXY_PORT = 8099;
/** A browser says in the console that a connection failed. */
const EXPECTED = [/WebSocket connection to/, /net::ERR_/];

/** What the package must keep to, in milliseconds: src/phone/liveness.rs; then a new connection has to be made. */
const RECONNECTED = 3000;
const FOUND_IN_CALL = 14_000;
/** Audio must be back so long after there is a path for it again. */
const HEARD_AGAIN = 12_000;
/** Seconds that may be lost where audio is not concerned: the machine has six browsers' audio to do. */
const UNDISTURBED = 1;
/** Seconds of audio that may be lost, those without any network among them, when the browser says that there is another. */
const ANOTHER_NETWORK = 6;
/** And when nobody says anything: the browser notices after 5 to 6 s, and 2 s later the path is another. */
const FOUND_BY_SILENCE = 11;
/** From when audio could be heard again. */
const ANOTHER_PATH = 5;
/** The others are given up on so long after the package is done. */
const PATIENCE = 5000;

// On CI what lacks is a failure, and shows as one.
describe('networks', { timeout: 400_000, skip: process.env.CI ? false : (lacksNetworks() ?? false) }, () => {
  const table = new Table('networks');
  let server;
  let pages;
  let signalling;
  let device;
  let browsers;
  let parties = [];

  before(async () => {
    device = await Device.start();
    server = await servePages();
    const port = (url) => Number(new URL(url).port);
    [browsers, pages, signalling] = await Promise.all([
      Promise.all([device.browser(), launchBrowser({ loopback: false })]),
      TcpProxy.start(port(server.url), port(server.url), SERVER_ADDRESS),
      TcpProxy.start(PROXY_PORT, port(WEBSOCKET_URL), SERVER_ADDRESS),
    ]);
  });
  after(async () => {
    await Promise.all((browsers ?? []).map((browser) => browser.close()));
    await Promise.all([pages?.stop(), signalling?.stop()]);
    await server?.close();
    device?.stop();
    await table.write();
  });
  afterEach(async () => {
    device.connect('wifi');
    device.disconnect('mobile');
    const ours = parties.filter(({ library }) => library === 'ours');
    const others = parties.filter(({ library }) => library !== 'ours');
    parties = [];
    await Promise.all(others.map((party) => party.context.close()));
    for (const party of ours) await party.clear();
    for (const party of ours) await party.close();
  });

  async function open(kind, side) {
    const user = USERS[kind][side];
    const roams = side === 0;
    const party = await Party.open(browsers[side], roams ? `http://${SERVER_NAME}:${new URL(server.url).port}` : server.url, kind, {
      user,
      tone: toneOf(user),
      expected: EXPECTED,
      ...(roams && { server: `ws://${SERVER_NAME}:${PROXY_PORT}/` }),
    });
    parties.push(party);
    return party;
  }

  /** A call of every library is up, with audio both ways. */
  function talking() {
    return Promise.all(Object.keys(USERS).map(async (kind) => {
      const [caller, callee] = await Promise.all([open(kind, 0), open(kind, 1)]);
      const [outgoing, incoming] = await connect(caller, callee);
      await talk(outgoing, incoming);
      const both = [outgoing, incoming];
      await Promise.all(both.map((call) => call.meter()));
      return { kind, caller, callee, outgoing, incoming, both };
    }));
  }

  const states = ({ both }) => Promise.all(both.map(async (call) => (await call.report()).state));
  const silence = (pairs) => Promise.all(pairs.flatMap(({ both }) => both.map((call) => call.hearsNothing())));

  /** Seconds from `since` until it is so; `null` if it is given up on before. */
  async function secondsUntil(condition, { deadline, since, over }) {
    let after = null;
    await until('so, or given up', async () => {
      if (Date.now() >= over.at) return true;
      if (!(await condition())) return false;
      after = (Date.now() - since) / 1000;
      return true;
    }, { deadline }).catch(() => undefined);
    return after;
  }

  /** Both are heard, and packets go both ways: seconds until then; `null` if not in time, or if the call has ended. */
  async function heardAgain(pair, limits) {
    let ended = false;
    const after = await secondsUntil(async () => {
      ended = (await states(pair)).includes('ended');
      if (ended) return true;
      for (const [call, other] of [pair.both, pair.both.toReversed()]) await call.hears(other.tone, 0);
      return true;
    }, limits);
    if (ended || after === null) return null;
    return Promise.all(pair.both.map((call) => call.exchanges(20))).then(() => after, () => null);
  }

  /** Seconds until the 200 for a REGISTER. */
  const registered = (party, limits) => secondsUntil(async () => (await registeredAt(party, limits.since)) !== null, limits);

  /** The callee hangs up: seconds until both calls have ended; `null` if one never does. */
  async function hangUp({ kind, both, incoming }, deadline) {
    const since = Date.now();
    await incoming.do('hangup').catch((error) => {
      if (kind === 'ours') throw error;
    });
    const ended = await until('both ended', async () => (await states({ both })).every((state) => state === 'ended'), { deadline }).catch(() => null);
    return ended && (Date.now() - since) / 1000;
  }

  /** What was said, and what goes over the line now, for a test that failed. */
  async function trace({ both }, since) {
    const sides = await Promise.all(both.map(async (call) => {
      const { state } = await call.report();
      const now = state === 'ended' ? {} : { heard: await call.heard(), packets: await call.packets() };
      return [`--- ${call.name} ${JSON.stringify({ state, ...now })}`, ...(await said(call.party, since))];
    }));
    return sides.flat().join('\n');
  }

  /**
   * Every library has a call when `fault` comes, which returns when it is over, or there for good. What becomes of the
   * calls goes into the table, and that of the package is returned, with `away`, the seconds that the fault took.
   * @param options what is asked of the package, in milliseconds from when `fault` returned: `audio`, both hear each
   * other; `signalling`, the caller is registered again
   */
  async function met(what, fault, { signalling = null, audio = HEARD_AGAIN } = {}) {
    const pairs = await talking();
    const begun = Date.now();
    await fault(pairs);
    const since = Date.now();
    const over = { at: Infinity };
    const outcomes = await Promise.all(pairs.map(async (pair) => {
      const ours = pair.kind === 'ours';
      const limits = (deadline, since) => (ours ? { deadline, since, over: { at: Infinity } } : { deadline: deadline + PATIENCE, since, over });
      const outcome = { kind: pair.kind, away: (since - begun) / 1000 };
      [outcome.heard, outcome.registered] = await Promise.all([
        heardAgain(pair, limits(audio, since)),
        signalling === null ? undefined : registered(pair.caller, limits(signalling, begun)),
      ]);
      if (ours) over.at = Date.now() + PATIENCE;
      outcome.goesOn = outcome.heard !== null;
      if (outcome.goesOn) {
        outcome.lost = await Promise.all(pair.both.map((call) => call.lost()));
        outcome.ended = await hangUp(pair, ours ? 5000 : PATIENCE);
      } else if (!(await states(pair)).includes('ended')) {
        outcome.goesOn = 'silent';
      }
      if (ours) {
        outcome.trace = await trace(pair, begun);
        outcome.offers = (await Promise.all([pair.caller, pair.callee].map((party) => party.wire(begun)))).flat().filter(({ sent, first }) => sent && first.startsWith('INVITE ')).length;
      }
      table.add(what, NAMES[pair.kind], outcome);
      return outcome;
    }));
    const ours = outcomes.find(({ kind }) => kind === 'ours');
    assert.equal(ours.goesOn, true, `the call does not go on\n${ours.trace}`);
    assert.notEqual(ours.registered, null, `not registered again\n${ours.trace}`);
    assert.notEqual(ours.ended, null, `not ended at both ends\n${ours.trace}`);
    return ours;
  }

  const most = ({ lost, trace }, seconds) => assert.ok(Math.max(...lost) < seconds, `audio lost: ${lost} s\n${trace}`);
  /** The same, and it was an offer of new candidates that brought it back. */
  const mended = (ours, seconds) => {
    most(ours, seconds);
    assert.ok(ours.offers > 0, `no offer\n${ours.trace}`);
  };

  for (const [path, switches] of [['direct', []], ['relayed', ['RELAY_ALL']]]) {
    describe(`audio is ${path}`, () => {
      let network;
      before(async () => {
        network = await Network.withMediaAt(SERVER_ADDRESS, ...switches);
      });
      after(() => network?.stop());

      test('from Wi-Fi to a mobile network, with neither between', async () => {
        mended(await met(`Wi-Fi lost, then a mobile network; audio ${path}`, async (pairs) => {
          device.disconnect('wifi');
          await silence(pairs);
          device.connect('mobile');
        }, { signalling: 5000 }), ANOTHER_NETWORK);
      });

      test('no UDP for 10 s', async () => {
        const ours = await met(`no UDP for 10 s; audio ${path}`, async (pairs) => {
          const open = device.blockUdp();
          try {
            await Promise.all([delay(10_000), silence(pairs)]);
          } finally {
            open();
          }
        });
        mended(ours, ours.away + ANOTHER_PATH);
      });

      if (path === 'relayed') return;

      test('from Wi-Fi to a mobile network that was there before, of which the browser says nothing', async () => {
        mended(await met(`Wi-Fi lost beside a mobile network; audio ${path}`, async (pairs) => {
          device.connect('mobile');
          device.disconnect('wifi');
          await silence(pairs);
        }, { signalling: FOUND_IN_CALL + RECONNECTED }), FOUND_BY_SILENCE);
      });

      test('the ports of the audio are closed for good', async () => {
        let open;
        try {
          mended(await met(`ports of the audio closed for good; audio ${path}`, async (pairs) => {
            const ports = (await Promise.all(pairs.map(({ caller }) => caller.page.evaluate(async () => {
              const stats = await Promise.all(globalThis.peerConnections.map((connection) => connection.getStats()));
              return stats.flatMap((reports) => [...reports.values()]).filter(({ type, protocol }) => type === 'local-candidate' && protocol === 'udp').map(({ port }) => port);
            })))).flat();
            assert.ok(ports.length >= pairs.length, `ports: ${ports}`);
            open = device.blockUdp(ports);
            await silence(pairs);
          }), FOUND_BY_SILENCE);
        } finally {
          open?.();
        }
      });

      test('the connection is cut', async () => {
        most(await met('connection cut', () => signalling.cut(), { signalling: RECONNECTED }), UNDISTURBED);
      });

      test('the connection is half open', async () => {
        most(await met('connection half open', () => signalling.stall(), { signalling: FOUND_IN_CALL + RECONNECTED }), UNDISTURBED);
      });
    });
  }
});
