/**
 * The package and other implementations as the two ends of a call, through Kamailio. Uses fixed ports: run it in a
 * network namespace of its own.
 */

import assert from 'node:assert/strict';
import { after, afterEach, before, describe } from 'node:test';

import { telephoneHears } from '../stack/browser-phone.mjs';
import { Network } from '../stack/network.mjs';
import { launchBrowser } from '../support/browser.mjs';
import { until } from '../support/until.mjs';
import { Party, connect, servePages, talk } from './party.mjs';
import { PEERS } from './peers.mjs';
import { Table } from './table.mjs';

const WE_CALL = 'we call';
const WE_ARE_CALLED = 'we are called';
const WE_TRANSFER = 'we transfer';
const WE_ARE_TRANSFERRED = 'we are transferred';
const WE_ARE_TARGET = 'we are the target';
const BY_US = 'by us';
const BY_PEER = 'by the peer';

/** What `work` brings, or at once the failure of what it depends on. */
function unless(failure, work) {
  return Promise.race([work, failure.then(() => work)]);
}

describe('interoperability', { timeout: 420_000 }, () => {
  const table = new Table(PEERS);
  let network;
  let server;
  let browser;
  let us;

  before(async () => {
    [network, server, browser] = await Promise.all([Network.start(), servePages(), launchBrowser()]);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
    await network?.stop();
    if (!process.execArgv.some((arg) => arg.startsWith('--test-name-pattern'))) await table.write();
  });

  const open = (library, user, tone) => Party.open(browser, server.url, library, { user, tone });

  for (const kind of ['jssip', 'sipjs']) {
    describe(PEERS[kind], () => {
      let peer;
      let other;
      before(async () => {
        [us, peer, other] = await Promise.all([open('ours', '1001', 1000), open(kind, '1002', 1400), open(kind, '1003', 1800)]);
      });
      after(() => Promise.all([us, peer, other].map((party) => party?.close())));
      afterEach(() => Promise.all([us, peer, other].map((party) => party.clear())));

      const cell = (feature, direction, check) => table.cell(kind, feature, direction, check);

      for (const [direction, caller, callee] of [[WE_CALL, () => us, () => peer], [WE_ARE_CALLED, () => peer, () => us]]) {
        cell('call, audio both ways, the caller hangs up', direction, async () => {
          const [outgoing, incoming] = await connect(caller(), callee());
          await Promise.all([talk(outgoing, incoming), outgoing.exchanges(50), incoming.exchanges(50)]);
          await outgoing.do('hangup');
          await Promise.all([outgoing.state('ended'), incoming.state('ended')]);
        });

        cell('call, the callee hangs up', direction, async () => {
          const [outgoing, incoming] = await connect(caller(), callee());
          await talk(outgoing, incoming);
          await incoming.do('hangup');
          await Promise.all([outgoing.state('ended'), incoming.state('ended')]);
        });

        cell('the caller gives up while it rings', direction, async () => {
          await caller().dial(callee().uri);
          const incoming = await callee().call(callee().before, 'ringing');
          const outgoing = await caller().call(caller().before, 'ringing');
          await outgoing.do('hangup');
          await Promise.all([outgoing.state('ended'), incoming.state('ended')]);
        });

        cell('the callee refuses', direction, async () => {
          await caller().dial(callee().uri);
          const incoming = await callee().call(callee().before, 'ringing');
          await incoming.do('hangup');
          const outgoing = await caller().call(caller().before, 'ended');
          await Promise.all([outgoing.state('ended'), incoming.state('ended')]);
        });
      }

      for (const [direction, holder, held] of [[BY_US, () => us, () => peer], [BY_PEER, () => peer, () => us]]) {
        for (const [who, caller, callee] of [['of a call it made', holder, held], ['of a call it got', held, holder]]) {
          cell(`hold and unhold, ${who}`, direction, async () => {
            const calls = await connect(caller(), callee());
            const [holding, waiting] = caller() === holder() ? calls : calls.toReversed();
            await talk(holding, waiting);
            for (let round = 0; round < 2; round += 1) {
              await holding.do('hold');
              await holding.is({ localHold: true });
              if (held() === us) await waiting.is({ remoteHold: true });
              await Promise.all([holding.hearsNothing(), waiting.hearsNothing()]);
              await holding.do('unhold');
              await holding.is({ localHold: false });
              if (held() === us) await waiting.is({ remoteHold: false });
              await talk(holding, waiting);
            }
          });
        }
      }

      cell('hold by both sides at once', 'both', async () => {
        const [ours, theirs] = await connect(us, peer);
        await talk(ours, theirs);
        await ours.do('hold');
        await theirs.do('hold');
        await ours.is({ localHold: true, remoteHold: true });
        await Promise.all([ours.hearsNothing(), theirs.hearsNothing()]);
        await ours.do('unhold');
        await ours.is({ localHold: false });
        await Promise.all([ours.hearsNothing(), theirs.hearsNothing()]);
        await theirs.do('unhold');
        await ours.is({ remoteHold: false });
        await talk(ours, theirs);
      });

      for (const [direction, sender, receiver] of [[BY_US, () => us, () => peer], [BY_PEER, () => peer, () => us]]) {
        cell('DTMF in the audio (RFC 4733)', direction, async () => {
          const [outgoing, incoming] = await connect(sender(), receiver());
          await talk(outgoing, incoming);
          for (const tone of '15') {
            const heard = incoming.hearsDtmf(tone);
            await outgoing.do('dtmf', tone, 'rtp');
            await heard;
          }
          await incoming.hears(outgoing.tone);
        });

        cell('DTMF by INFO', direction, async () => {
          const [outgoing, incoming] = await connect(sender(), receiver());
          await outgoing.do('dtmf', '15#', 'info');
          await incoming.is({ dtmf: '15#' });
        });
      }

      // The roles by party: transferor, transferee, target.
      for (const [role, roles] of [
        [WE_TRANSFER, () => [us, peer, other]],
        [WE_ARE_TRANSFERRED, () => [peer, us, other]],
        [WE_ARE_TARGET, () => [peer, other, us]],
      ]) {
        for (const [who, transfereeCalls] of [['of a call that the transferor made', false], ['of a call that the transferor got', true]]) {
          cell(`blind transfer, ${who}`, role, async () => {
            const [transferor, transferee, target] = roles();
            const calls = await (transfereeCalls ? connect(transferee, transferor) : connect(transferor, transferee));
            const [kept, moved] = transfereeCalls ? calls.toReversed() : calls;
            await talk(kept, moved);
            const done = kept.do('transfer', target.uri);
            const arriving = await unless(done, target.call(target.before, 'ringing'));
            await arriving.do('answer');
            const leaving = await unless(done, transferee.call(transferee.before + 1, 'active'));
            await done;
            await talk(leaving, arriving);
            await Promise.all([kept.state('ended'), moved.state('ended')]);
            await arriving.do('hangup');
            await leaving.state('ended');
          });
        }

        if (role !== WE_ARE_TARGET) cell('blind transfer to nobody: the call goes on', role, async () => {
          const [transferor, transferee] = roles();
          const [kept, moved] = await connect(transferor, transferee);
          await talk(kept, moved);
          await assert.rejects(kept.do('transfer', 'sip:9999@pbx.test'), /404|not_found|Not Found/i);
          assert.equal((await kept.report()).state, 'active');
          if ((await kept.report()).localHold) await kept.do('unhold');
          await talk(kept, moved);
        });

        cell('attended transfer', role, async () => {
          const [transferor, transferee, target] = roles();
          const [kept, moved] = await connect(transferor, transferee);
          await talk(kept, moved);
          await kept.do('hold');
          const [consulting, consulted] = await connect(transferor, target);
          await talk(consulting, consulted);
          const done = kept.do('transfer', consulting);
          const arriving = await unless(done, target.call(target.before + 1, 'active'));
          const leaving = await unless(done, transferee.call(transferee.before + 1, 'active'));
          await done;
          await talk(leaving, arriving);
          await Promise.all([kept, moved, consulting, consulted].map((call) => call.state('ended')));
          await leaving.do('hangup');
          await arriving.state('ended');
        });
      }
    });
  }

  describe(PEERS.baresip, () => {
    let desk; // answers by itself
    let handset; // is answered by hand
    before(async () => {
      [us, desk, handset] = await Promise.all([
        open('ours', '1001', 1000),
        network.telephone({ user: '2001', sipPort: 5080, controlPort: 4444, rtpPorts: '20000-20998', tone: 440, answers: 'auto' }),
        network.telephone({ user: '2002', sipPort: 5090, controlPort: 4446, rtpPorts: '22000-22998', tone: 660, answers: 'auto' }),
      ]);
    });
    after(() => us?.close());
    afterEach(async () => {
      await us.clear();
      for (const telephone of [desk, handset]) {
        await until(`telephone ${telephone.user} is idle`, async () => /^\s*--- (No active calls|Active calls \(0\))/m.test(await telephone.command('listcalls')));
        telephone.forget();
        await telephone.forgetRecordings();
      }
    });

    const cell = (feature, direction, check) => table.cell('baresip', feature, direction, check);

    /** Our call with the desk telephone, up and with audio both ways. */
    async function callTheDesk() {
      await us.dial('sip:2001@pbx.test');
      const call = await us.call(us.before, 'active');
      await Promise.all([call.hears(440), telephoneHears(desk, us.tone), call.exchanges(50)]);
      return call;
    }

    async function theDeskCalls() {
      await desk.command('dial', us.uri);
      const call = await us.call(us.before, 'ringing');
      await call.do('answer');
      await Promise.all([call.hears(440), telephoneHears(desk, us.tone), call.exchanges(50)]);
      return call;
    }

    for (const [direction, begin, callerHangsUp] of [[WE_CALL, callTheDesk, true], [WE_ARE_CALLED, theDeskCalls, false]]) {
      cell('call, audio both ways, the caller hangs up', direction, async () => {
        const call = await begin();
        await (callerHangsUp ? call.do('hangup') : desk.command('hangup'));
        await Promise.all([call.state('ended'), desk.event('CALL_CLOSED')]);
      });
      cell('call, the callee hangs up', direction, async () => {
        const call = await begin();
        await (callerHangsUp ? desk.command('hangup') : call.do('hangup'));
        await Promise.all([call.state('ended'), desk.event('CALL_CLOSED')]);
      });
    }

    for (const [who, begin] of [['of a call it made', callTheDesk], ['of a call it got', theDeskCalls]]) {
      cell(`hold and unhold, ${who}`, BY_US, async () => {
        const call = await begin();
        await call.do('hold');
        await call.is({ localHold: true });
        await call.hearsNothing();
        await until('no packet goes or comes', async () => {
          const { sent, received } = await call.packetsWithin(300);
          return sent === 0 && received === 0;
        });
        await call.do('unhold');
        await call.is({ localHold: false });
        await desk.forgetRecordings();
        const before = await call.packets();
        await call.hears(440);
        await call.exchanges(Math.max(before.sent, before.received) + 25);
      });
    }
    for (const [who, begin] of [['of a call it made', theDeskCalls], ['of a call it got', callTheDesk]]) {
      cell(`hold and unhold, ${who}`, BY_PEER, async () => {
        const call = await begin();
        await desk.command('hold');
        await call.is({ remoteHold: true });
        await call.hearsNothing();
        await until('we send nothing', async () => (await call.packetsWithin(300)).sent === 0);
        await desk.command('resume');
        await call.is({ remoteHold: false });
        const before = await call.packets();
        await call.hears(440);
        await call.exchanges(Math.max(before.sent, before.received) + 25);
      });
    }

    cell('DTMF in the audio (RFC 4733)', BY_US, async () => {
      const call = await callTheDesk();
      await call.do('dtmf', '15#', 'rtp');
      await until('the telephone has seen 1, 5 and #', () => {
        const keys = desk.events.filter(({ type }) => type === 'CALL_DTMF_START').map(({ param }) => param);
        return keys.join('') === '15#';
      });
    });

    cell('blind transfer, of a call that the transferor made', WE_TRANSFER, async () => {
      const call = await callTheDesk();
      await call.do('transfer', 'sip:2002@pbx.test');
      await call.state('ended');
      await Promise.all([telephoneHears(handset, 440), telephoneHears(desk, 660)]);
      await handset.command('hangup');
      await desk.event('CALL_CLOSED');
    });

    cell('blind transfer, of a call that the transferor got', WE_ARE_TRANSFERRED, async () => {
      const call = await theDeskCalls();
      await desk.command('transfer', 'sip:2002@pbx.test');
      const leaving = await us.call(us.before + 1, 'active');
      await Promise.all([leaving.hears(660), telephoneHears(handset, us.tone), call.state('ended')]);
    });
  });
});
