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
import { PEERS } from '../interop/peers.mjs';
import { Network, WEBSOCKET_URL } from '../stack/network.mjs';
import { launchBrowser } from '../support/browser.mjs';
import { until } from '../support/until.mjs';
import { Device, SERVER_ADDRESS, SERVER_NAME, lacksNetworks } from './roaming.mjs';
import { Table } from './table.mjs';
import { TcpProxy } from './tcp-proxy.mjs';

const NAMES = { ours: 'this package', jssip: PEERS.jssip, sipjs: PEERS.sipjs };
const USERS = { ours: ['1001', '1002'], jssip: ['1003', '1004'], sipjs: ['1005', '1006'] };
const PROXY_PORT = 8099;
/** A browser says in the console that a connection failed. */
const EXPECTED = [/WebSocket connection to/, /net::ERR_/];

/** What the package must keep to, in milliseconds: src/phone/liveness.rs; then a new connection has to be made. */
const RECONNECTED = 3000;
const FOUND_IN_CALL = 14_000;
/** Audio must be back so long after there is a path for it again. */
const HEARD_AGAIN = 10_000;
/** The others are given up on so long after the package is done. */
const PATIENCE = 5000;

describe('networks', { timeout: 400_000, skip: lacksNetworks() ?? false }, () => {
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
      tone: 600 + 200 * Number(user.slice(-1)),
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

  /** Both are heard, and packets go both ways: seconds from `since` until then; `null` if not by the deadline, or if the call has ended. */
  async function heardAgain(pair, deadline, since) {
    let after = null;
    await until('audio both ways, or the end', async () => {
      if ((await states(pair)).includes('ended')) return true;
      for (const [call, other] of [pair.both, pair.both.toReversed()]) await call.hears(other.tone, 0);
      after = (Date.now() - since) / 1000;
      return true;
    }, { deadline }).catch(() => undefined);
    if (after === null) return null;
    const counts = await Promise.all(pair.both.map((call) => call.packetsWithin(500)));
    return counts.every(({ sent, received }) => sent > 10 && received > 10) ? after : null;
  }

  /** Seconds from `since` to the 200 for a REGISTER. */
  async function registered(party, since, deadline) {
    let at = null;
    await until('registered', async () => {
      at = (await party.wire(since)).find(({ sent, first, method }) => !sent && method === 'REGISTER' && first.startsWith('SIP/2.0 200'))?.at ?? null;
      return at !== null;
    }, { deadline }).catch(() => undefined);
    return at === null ? null : (at - since) / 1000;
  }

  /** The callee hangs up: seconds until both calls have ended; `null` if one never does. */
  async function hangUp({ kind, both, incoming }, deadline) {
    const since = Date.now();
    await incoming.do('hangup').catch((error) => {
      if (kind === 'ours') throw error;
    });
    const ended = await until('both ended', async () => (await states({ both })).every((state) => state === 'ended'), { deadline }).catch(() => null);
    return ended && (Date.now() - since) / 1000;
  }

  async function trace({ caller, callee }, since) {
    const lines = async (party) => (await party.wire(since)).map(({ at, sent, first, method }) => `${at - since} ${sent ? '>' : '<'} ${first} (${method})`);
    return [await lines(caller), ['---'], await lines(callee)].flat().join('\n');
  }

  /**
   * Every library has a call when `fault` comes; it returns once it is over, or is there for good. What becomes of the calls goes into the
   * table, and that of the package is returned.
   * @param options `signalling`: the time that the caller has to be registered again, `audio`: and to be heard; none of
   * which is asked of the others
   */
  async function met(what, fault, { signalling = null, audio = HEARD_AGAIN } = {}) {
    const pairs = await talking();
    const begun = Date.now();
    await fault(pairs);
    const since = Date.now();
    const outcomes = await Promise.all(pairs.map(async (pair) => {
      const more = pair.kind === 'ours' ? 0 : PATIENCE;
      const outcome = { kind: pair.kind };
      [outcome.heard, outcome.registered] = await Promise.all([
        heardAgain(pair, audio + more, since),
        signalling === null ? undefined : registered(pair.caller, begun, since - begun + signalling + more),
      ]);
      outcome.goesOn = outcome.heard !== null;
      if (outcome.goesOn) {
        outcome.lost = await Promise.all(pair.both.map((call) => call.lost()));
        outcome.ended = await hangUp(pair, 5000);
      } else if (!(await states(pair)).includes('ended')) {
        outcome.goesOn = 'silent';
      }
      outcome.trace = pair.kind === 'ours' ? await trace(pair, begun) : '';
      table.add(what, NAMES[pair.kind], outcome);
      return outcome;
    }));
    const ours = outcomes.find(({ kind }) => kind === 'ours');
    assert.equal(ours.goesOn, true, `the call does not go on\n${ours.trace}`);
    assert.notEqual(ours.registered, null, `not registered again\n${ours.trace}`);
    assert.notEqual(ours.ended, null, `not ended at both ends\n${ours.trace}`);
    return ours;
  }

  const most = ({ lost }, seconds) => assert.ok(Math.max(...lost) < seconds, `audio lost: ${lost} s`);

  for (const [path, switches] of [['direct', []], ['relayed', ['RELAY_ALL']]]) {
    describe(`audio is ${path}`, () => {
      let network;
      before(async () => {
        network = await Network.withMediaAt(SERVER_ADDRESS, ...switches);
      });
      after(() => network?.stop());

      if (path === 'direct') {
        test('the connection is cut', async () => {
          most(await met('connection cut', () => signalling.cut(), { signalling: RECONNECTED }), 0.5);
        });

        test('the connection is half open', async () => {
          most(await met('connection half open', () => signalling.stall(), { signalling: FOUND_IN_CALL + RECONNECTED }), 0.5);
        });
      }

      test('from Wi-Fi to a mobile network, with neither between', async () => {
        most(await met(`Wi-Fi lost, then a mobile network; audio ${path}`, async (pairs) => {
          device.disconnect('wifi');
          await silence(pairs);
          device.connect('mobile');
        }, { signalling: 5000 }), 8);
      });

      test('from Wi-Fi to a mobile network that was there before', async () => {
        most(await met(`Wi-Fi lost beside a mobile network; audio ${path}`, async (pairs) => {
          device.connect('mobile');
          device.disconnect('wifi');
          await silence(pairs);
        }, { signalling: FOUND_IN_CALL + RECONNECTED }), 8);
      });

      test('no UDP for 10 s', async () => {
        most(await met(`no UDP for 10 s; audio ${path}`, async (pairs) => {
          const open = device.blockUdp();
          try {
            await Promise.all([delay(10_000), silence(pairs)]);
          } finally {
            open();
          }
        }), 10 + 5);
      });

      test('the ports of the audio are closed for good', async () => {
        let open;
        try {
          most(await met(`ports closed for good; audio ${path}`, async (pairs) => {
            const ports = (await Promise.all(pairs.map(({ caller }) => caller.page.evaluate(async () => {
              const stats = await Promise.all(globalThis.peerConnections.map((connection) => connection.getStats()));
              return stats.flatMap((reports) => [...reports.values()]).filter(({ type, protocol }) => type === 'local-candidate' && protocol === 'udp').map(({ port }) => port);
            })))).flat();
            assert.ok(ports.length >= pairs.length, `ports: ${ports}`);
            open = device.blockUdp(ports);
            await silence(pairs);
          }, { audio: 20_000 }), 15);
        } finally {
          open?.();
        }
      });
    });
  }
});
