/**
 * The package and other implementations as the two ends of a call, through Kamailio. Uses fixed ports: run it in a
 * network namespace of its own.
 */

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { Network } from '../stack/network.mjs';
import { launchBrowser } from '../support/browser.mjs';
import { Party, attended, connect, servePages, talk } from './party.mjs';
import { PEERS } from './peers.mjs';
import { Table } from './table.mjs';
import { TelephoneParty } from './telephone.mjs';

const WE_CALL = 'we call';
const WE_ARE_CALLED = 'we are called';
const WE_TRANSFER = 'we transfer';
const WE_ARE_TRANSFERRED = 'we are transferred';
const WE_ARE_TARGET = 'we are the target';
const PEER_IS_TARGET = 'we transfer and are transferred';
const PEER_IS_TRANSFERRED = 'we transfer and are the target';
const PEER_TRANSFERS = 'we are transferred and the target';
const BY_US = 'by us';
const BY_PEER = 'by the peer';

/** What `work` brings, or at once the failure of what it depends on. */
function unless(failure, work) {
  return Promise.race([work, failure.then(() => work)]);
}

describe('interoperability', { timeout: 600_000 }, () => {
  const table = new Table();
  let network;
  let server;
  let browser;

  before(async () => {
    [network, server, browser] = await Promise.all([Network.start(), servePages(), launchBrowser()]);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
    await network?.stop();
    table.check();
    if (!process.execArgv.some((arg) => arg.startsWith('--test-name-pattern'))) await table.write();
  });

  const page = (library, user, tone, more) => Party.open(browser, server.url, library, { user, tone, ...more });

  /** A telephone; it takes the next port too. */
  async function telephone(user, tone, sipPort, rtpPorts) {
    const started = await network.telephone({ user, sipPort, controlPort: sipPort + 1000, rtpPorts, tone, answers: 'manual', calls: 4 });
    return new TelephoneParty(started, tone);
  }

  /** Two of a kind. */
  const pair = (kind) => Promise.all(
    kind === 'baresip'
      ? [telephone('2001', 440, 5080, '20000-20998'), telephone('2002', 660, 5090, '22000-22998')]
      : [page(kind, '1002', 1400), page(kind, '1003', 1800)],
  );

  for (const kind of Object.keys(PEERS)) {
    describe(PEERS[kind], () => {
      let us;
      let second; // another of us
      let peer;
      let other;
      before(async () => {
        [us, second, [peer, other]] = await Promise.all([page('ours', '1001', 1000), page('ours', '1004', 1200), pair(kind)]);
      });
      after(() => Promise.all([us, second, peer, other].map((party) => party?.close())));
      afterEach(() => Promise.all([us, second, peer, other].map((party) => party.clear())));

      const cell = (feature, direction, check) => table.cell(kind, feature, direction, () => ({ us, second, peer, other }), check);
      /** The one of these calls whose packets are counted. */
      const ours = (...calls) => calls.find(({ party }) => party === us);

      for (const [direction, caller, callee] of [[WE_CALL, () => us, () => peer], [WE_ARE_CALLED, () => peer, () => us]]) {
        cell('call, audio both ways, the caller hangs up', direction, async () => {
          const [outgoing, incoming] = await connect(caller(), callee());
          await Promise.all([talk(outgoing, incoming), ours(outgoing, incoming).exchanges(50)]);
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
            await Promise.all([talk(holding, waiting), ours(...calls).exchanges(25)]);
            for (let round = 0; round < 2; round += 1) {
              await holding.do('hold');
              await holding.is({ localHold: true });
              if (held() === us) await waiting.is({ remoteHold: true });
              await Promise.all([holding.hearsNothing(), waiting.hearsNothing()]);
              // Who holds sends silence, so that the clock of its stream goes on.
              if (holder() === us) assert.ok(await holding.sendsSilence());
              await (holder() === us ? holding.noPackets('received') : waiting.noPackets('sent'));
              await holding.do('unhold');
              await holding.is({ localHold: false });
              if (held() === us) await waiting.is({ remoteHold: false });
              await Promise.all([talk(holding, waiting), ours(...calls).exchanges(25)]);
            }
          });
        }
      }

      cell('hold by both sides, one within the other', 'both', async () => {
        const [mine, theirs] = await connect(us, peer);
        await Promise.all([talk(mine, theirs), mine.exchanges(25)]);
        await mine.do('hold');
        await theirs.do('hold');
        await mine.is({ localHold: true, remoteHold: true });
        await Promise.all([mine.hearsNothing(), theirs.hearsNothing()]);
        await mine.noPackets('received');
        await mine.do('unhold');
        await mine.is({ localHold: false });
        await mine.hearsNothing();
        // JsSIP answers `sendrecv` to our offer of both directions although it holds.
        if (peer.library !== 'jssip') {
          await theirs.hearsNothing();
          await mine.noPackets('sent');
        }
        await theirs.do('unhold');
        await mine.is({ remoteHold: false });
        await Promise.all([talk(mine, theirs), mine.exchanges(25)]);
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
      }

      for (const [role, roles] of [
        [WE_TRANSFER, () => [us, peer, other]],
        [WE_ARE_TRANSFERRED, () => [peer, us, other]],
        [WE_ARE_TARGET, () => [peer, other, us]],
        [PEER_IS_TARGET, () => [us, second, peer]],
        [PEER_IS_TRANSFERRED, () => [us, peer, second]],
        [PEER_TRANSFERS, () => [peer, us, second]],
      ]) {
        cell('attended transfer', role, async () => {
          const [transferor, transferee, target] = roles();
          const { done, calls } = await attended(transferor, transferee, target);
          const arriving = await unless(done, target.call(target.before + 1, 'active'));
          const leaving = await unless(done, transferee.call(transferee.before + 1, 'active'));
          await done;
          await talk(leaving, arriving);
          await Promise.all(calls.map((call) => call.state('ended')));
          await leaving.do('hangup');
          await arriving.state('ended');
        });
      }
    });
  }

  test(`${PEERS.sipjs} without a GRUU: it transfers to an address that no server knows, and the call goes on`, async () => {
    const parties = await Promise.all([
      page('ours', '1001', 1000), page('sipjs', '1002', 1400, { gruu: false }), page('sipjs', '1003', 1800, { gruu: false }),
    ]);
    const [us, peer, other] = parties;
    const { done, calls } = await attended(peer, us, other);
    await assert.rejects(done, /transfer: 478/);
    const [kept, moved] = calls;
    await kept.do('unhold');
    await moved.is({ state: 'active', localHold: false, remoteHold: false });
    await talk(kept, moved);
    await Promise.all(parties.map((party) => party.clear()));
    await Promise.all(parties.map((party) => party.close()));
  });
});
