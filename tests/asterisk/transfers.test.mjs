/**
 * Transfers, parking and pickup. Asterisk answers every leg itself: who is transferred and who is the target of an attended
 * transfer keep their calls, and Asterisk joins what is behind them.
 */

import assert from 'node:assert/strict';

import { attended } from '../interop/party.mjs';
import { until } from '../support/until.mjs';
import { connect, suite, talkAndCount } from './suite.mjs';

const TONE = 800;

suite('transfers', 'transfers, parking, pickup', ({ asterisk, phones, cell }) => {
  for (const [who, got] of [['of a call it made', false], ['of a call it got', true]]) {
    cell('blind transfer', `${who}: the one who transfers, the one who is transferred, and the target`, async () => {
      const [transferor, transferee, target] = await phones(1001, 1002, 1003);
      const [kept, moved] = got ? (await connect(transferee, transferor)).toReversed() : await connect(transferor, transferee);
      await talkAndCount(kept, moved);
      const done = kept.do('transfer', target.uri);
      const arriving = await target.call(0, 'ringing');
      await Promise.all([done, arriving.do('answer')]);
      await Promise.all([arriving.state('active'), kept.state('ended')]);
      await talkAndCount(moved, arriving);
      await moved.do('hangup');
      await arriving.state('ended');
    });

    cell('attended transfer', `${who}: the one who transfers, the one who is transferred, and the target`, async () => {
      const [transferor, transferee, target] = await phones(1001, 1002, 1003);
      let done;
      let calls;
      if (got) {
        const [moved, kept] = await connect(transferee, transferor);
        await talkAndCount(kept, moved);
        await kept.do('hold');
        const [consulting, consulted] = await connect(transferor, target);
        await talkAndCount(consulting, consulted);
        ({ done, calls } = { done: kept.do('transfer', consulting), calls: [kept, moved, consulting, consulted] });
      } else {
        ({ done, calls } = await attended(transferor, transferee, target));
      }
      const [kept, moved, consulting, consulted] = calls;
      await done;
      await Promise.all([kept.state('ended'), consulting.state('ended')]);
      await talkAndCount(moved, consulted);
      await consulted.do('hangup');
      await moved.state('ended');
    });
  }

  cell('blind transfer', 'to nobody: the call goes on', async () => {
    const [transferor, transferee] = await phones(1001, 1002);
    const [kept, moved] = await connect(transferor, transferee);
    await talkAndCount(kept, moved);
    await assert.rejects(kept.do('transfer', 'sip:9999@pbx.test'), /404|not_found|Not Found/i);
    if ((await kept.report()).localHold) await kept.do('unhold');
    await talkAndCount(kept, moved);
  });

  cell('blind transfer', 'Asterisk asks us (REFER)', async () => {
    const [ours] = await phones(1001);
    const first = await ours.calls('refer');
    const second = await ours.call(1, 'active');
    await first.state('ended');
    await second.hears(TONE);
    await second.exchanges(25);
    await until('Asterisk has heard of it', async () => /TRANSFERSTATUS SUCCESS/.test(await asterisk().log()));
  });

  cell('feature codes', 'the far end transfers us by its keys (#1)', async () => {
    const [ours, other, target] = await phones(1001, 1002, 1003);
    const [theirs, mine] = await connect(other, ours);
    await talkAndCount(mine, theirs);
    await theirs.do('dtmf', '#1', 'rtp');
    // The call may be over before the last tone is.
    const dialled = theirs.do('dtmf', '1003', 'rtp').catch(({ message }) => assert.match(message, /ended/));
    const arriving = await target.call(0, 'ringing', 20_000);
    await arriving.do('answer');
    await Promise.all([arriving.state('active'), theirs.state('ended'), dialled]);
    await talkAndCount(mine, arriving);
    await mine.do('hangup');
    await arriving.state('ended');
  });

  cell('parking', 'parked by a blind transfer, music, taken up by another', async () => {
    const [parker, parked, taker] = await phones(1001, 1002, 1003);
    const [kept, waiting] = await connect(parker, parked);
    await talkAndCount(kept, waiting);
    await kept.do('transfer', 'sip:700@pbx.test');
    await kept.state('ended');
    await until('the one who is parked hears music', async () => {
      const { level, levels: [tone] } = await waiting.heard([parker.tone]);
      return level > -60 && tone < level - 20;
    });
    const taken = await taker.calls('701');
    await talkAndCount(taken, waiting);
    await taken.do('hangup');
    await waiting.state('ended');
  });

  cell('parking', 'taken up by nobody: it comes back to the one who parked', async () => {
    const [parker, parked] = await phones(1001, 1002);
    const [kept, waiting] = await connect(parker, parked);
    await talkAndCount(kept, waiting);
    await kept.do('transfer', 'sip:700@pbx.test');
    await kept.state('ended');
    const back = await parker.call(1, 'ringing', 20_000);
    await back.do('answer');
    await back.state('active');
    await talkAndCount(back, waiting);
  });

  for (const [what, extension] of [['of one who rings', 'pick1002'], ['of whoever in the group rings', '*8']]) {
    cell('pickup', what, async () => {
      const [caller, callee, taker] = await phones(1001, 1002, 1003);
      await caller.dial(callee.uri);
      const ringing = await callee.call(0, 'ringing');
      const taken = await taker.calls(extension);
      const outgoing = await caller.call(0, 'active');
      await ringing.state('ended');
      await talkAndCount(taken, outgoing);
      await taken.do('hangup');
      await outgoing.state('ended');
    });
  }
});
