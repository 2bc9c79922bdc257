/** Calls with a real PBX that is no proxy: it answers each leg itself, and makes offers of its own. */

import assert from 'node:assert/strict';

import { until } from '../support/until.mjs';
import { connect, seconds, suite, talkAndCount } from './suite.mjs';

/** The tones that the dialplan plays. */
const TONE = 800;
const SECOND_TONE = 1200;
/** Of a fax machine that answers (ITU-T T.30). */
const CED = 2100;
/** A sequence of silence longer than this after unhold() is a fault. */
const HEARD_AGAIN_MS = 1000;

suite('calls', 'calls', ({ asterisk, phone, phones, cell }) => {
  cell('register', 'MD5', async () => {
    const ours = await phone(1001);
    assert.equal(await ours.run(() => globalThis.phone.registration), 'registered');
    assert.match(await asterisk().cli('pjsip show contacts'), /1001\/sip:/);
  });

  cell('register', 'SHA-256', async () => {
    const ours = await phone(1034);
    assert.match(await ours.message(/^sent\nREGISTER[^]*\nAuthorization:/), /algorithm=SHA-256/);
  });

  cell('call', 'audio both ways, the caller hangs up', async () => {
    const [caller, callee] = await phones(1001, 1002);
    await caller.dial(callee.uri);
    const incoming = await callee.call(0, 'ringing');
    const outgoing = await caller.call(0, 'ringing');
    const [heard, heardBack, answered] = await Promise.all([
      outgoing.whenHeard(callee.tone), incoming.whenHeard(caller.tone), callee.run(() => Date.now()), incoming.do('answer'),
    ]);
    await talkAndCount(outgoing, incoming);
    await outgoing.do('hangup');
    await Promise.all([outgoing.state('ended'), incoming.state('ended')]);
    assert.deepEqual((await incoming.report()).ended.code, 'completed');
    return `heard ${seconds(heard - answered)} and ${seconds(heardBack - answered)} after the answer`;
  });

  cell('call', 'audio both ways, the callee hangs up', async () => {
    const [caller, callee] = await phones(1001, 1002);
    const [outgoing, incoming] = await connect(caller, callee);
    await talkAndCount(outgoing, incoming);
    await incoming.do('hangup');
    await Promise.all([outgoing.state('ended'), incoming.state('ended')]);
    const { code, by, q850 } = (await outgoing.report()).ended;
    assert.deepEqual({ code, by, q850 }, { code: 'completed', by: 'remote', q850: 16 });
  });

  cell('call', 'the caller gives up while it rings', async () => {
    const [caller, callee] = await phones(1001, 1002);
    await caller.dial(callee.uri);
    const incoming = await callee.call(0, 'ringing');
    const outgoing = await caller.call(0, 'ringing');
    await outgoing.do('hangup');
    await incoming.state('ended');
    assert.equal((await incoming.report()).ended.code, 'cancelled');
  });

  for (const [codec, user] of [['PCMU, its packets past Asterisk (re-INVITE)', 1031], ['PCMU, its packets past Asterisk (UPDATE)', 1032], ['PCMA', 1033]]) {
    cell('call', codec, async () => {
      const [caller, callee] = await Promise.all([phone(user), phone(user === 1031 ? 1032 : 1031)]);
      const [outgoing, incoming] = await connect(caller, callee);
      await talkAndCount(outgoing, incoming);
      await incoming.do('hangup');
      await outgoing.state('ended');
    });
  }

  cell('call', 'an offer within the call, with one codec', async () => {
    const ours = await phone(1001);
    const call = await ours.calls('offer_again');
    await call.hears(TONE);
    await ours.message(/^received\nINVITE/);
    await ours.message(/^sent\nSIP\/2\.0 200[^]*CSeq: \d+ INVITE[^]*m=audio/);
    await call.exchanges(50);
    await call.hears(TONE);
  });

  cell('call', 'an UPDATE within the call', async () => {
    const ours = await phone(1001);
    const call = await ours.calls('update');
    await ours.message(/^received\nUPDATE/);
    await ours.message(/^sent\nSIP\/2\.0 200[^]*CSeq: \d+ UPDATE/);
    await call.exchanges(50);
    await call.hears(TONE);
  });

  cell('early media', '183, heard before the answer', async () => {
    const ours = await phone(1001);
    const call = await ours.calls('early', 'ringing');
    await call.hears(TONE);
    assert.notEqual((await call.report()).state, 'active');
    await call.state('active');
    const heard = await call.whenHeard(SECOND_TONE);
    const [answered] = (await ours.wire()).filter(({ sent, first, method }) => !sent && method === 'INVITE' && /^SIP\/2.0 200/.test(first));
    await call.exchanges(25);
    assert.ok((await call.report()).states.includes('early-media'));
    return `heard ${seconds(heard - answered.at)} after the answer`;
  });

  cell('early media', '180, then 183', async () => {
    const ours = await phone(1001);
    const call = await ours.calls('early_after_ringing', 'ringing');
    await call.hears(TONE);
    await call.state('active');
    await call.hears(SECOND_TONE);
  });

  cell('early media', 'before a refusal', async () => {
    const ours = await phone(1001);
    const call = await ours.calls('early_refused', 'ringing');
    await call.hears(TONE);
    assert.equal((await ours.dialed()).code, 'busy');
  });

  for (const [who, calls] of [['of a call it made', false], ['of a call it got', true]]) {
    cell('hold', `music meanwhile, ${who}`, async () => {
      const [holder, held] = await phones(1001, 1002);
      const both = calls ? (await connect(held, holder)).toReversed() : await connect(holder, held);
      const [holding, waiting] = both;
      await talkAndCount(holding, waiting);
      const lasted = [];
      for (let round = 0; round < 2; round += 1) {
        await holding.do('hold');
        await holding.is({ localHold: true });
        await holding.hearsNothing();
        // Music, and not the tone of the one who holds.
        await until('the one who waits hears music', async () => {
          const { frequency, level, levels: [tone] } = await waiting.heard([holder.tone]);
          return level > -60 && tone < level - 20 && Math.abs(frequency - holder.tone) > 20;
        });
        assert.equal((await waiting.report()).state, 'active');
        const heard = waiting.whenHeard(holder.tone);
        const since = await holder.run(() => Date.now());
        await holding.do('unhold');
        lasted.push((await heard) - since);
        await talkAndCount(holding, waiting);
      }
      assert.ok(Math.max(...lasted) < HEARD_AGAIN_MS, `heard again ${lasted.join(', ')} ms after unhold()`);
      return `heard again after ${seconds(Math.max(...lasted))}`;
    });
  }

  cell('hold', 'by both sides, one within the other', async () => {
    const [one, other] = await phones(1001, 1002);
    const [outgoing, incoming] = await connect(one, other);
    await talkAndCount(outgoing, incoming);
    await outgoing.do('hold');
    await incoming.do('hold');
    await outgoing.do('unhold');
    await outgoing.is({ localHold: false });
    await incoming.do('unhold');
    await talkAndCount(outgoing, incoming);
  });

  cell('DTMF', 'RFC 4733, to Asterisk', async () => {
    const ours = await phone(1001);
    const call = await ours.calls('digits');
    await until('audio flows', async () => (await call.packets()).sent > 25);
    await call.do('dtmf', '15#', 'rtp');
    await until('Asterisk has read the digits', async () => /DIGITS 15 OF 1001/.test(await asterisk().log()));
  });

  cell('DTMF', 'RFC 4733, from Asterisk', async () => {
    const ours = await phone(1001);
    const call = await ours.calls('press5');
    await call.hearsDtmf('5', 8000);
  });

  cell('DTMF', 'RFC 4733, through Asterisk', async () => {
    const [caller, callee] = await phones(1001, 1002);
    const [outgoing, incoming] = await connect(caller, callee);
    await talkAndCount(outgoing, incoming);
    for (const [from, to] of [[outgoing, incoming], [incoming, outgoing]]) {
      const heard = to.hearsDtmf('9', 8000);
      await from.do('dtmf', '9', 'rtp');
      await heard;
    }
  });

  cell('DTMF', 'INFO, to Asterisk', async () => {
    const ours = await phone(1021);
    const call = await ours.calls('digits');
    await until('audio flows', async () => (await call.packets()).sent > 25);
    await call.do('dtmf', '95#', 'info');
    await until('Asterisk has read the digits', async () => /DIGITS 95 OF 1021/.test(await asterisk().log()));
  });

  cell('DTMF', 'INFO, from Asterisk', async () => {
    const ours = await phone(1021);
    const call = await ours.calls('press5');
    await call.is({ dtmf: '5' });
  });

  for (const [how, user] of [['required', 1011], ['supported', 1012], ['not supported', 1013]]) {
    cell('100rel', `${how}, we call`, async () => {
      const ours = await phone(user);
      const call = await ours.calls('early', 'ringing');
      await call.hears(TONE);
      await call.state('active');
      await call.hears(SECOND_TONE);
      await call.exchanges(25);
      assert.equal((await ours.messages(/^sent\nPRACK/)).length > 0, how !== 'not supported');
    });

    cell('100rel', `${how}, we are called`, async () => {
      const [caller, callee] = await phones(1001, user);
      const [outgoing, incoming] = await connect(caller, callee);
      await talkAndCount(outgoing, incoming);
      if (how === 'required') assert.ok((await callee.messages(/^received\nPRACK/)).length > 0);
      await outgoing.do('hangup');
      await incoming.state('ended');
    });
  }

  for (const sessionTimers of [true, false]) {
    for (const [how, user] of [['always', 1014], ['required', 1015], ['never', 1016]]) {
      cell('session timers', `${how}, with \`sessionTimers: ${sessionTimers}\``, async () => {
        const [ours, other] = await Promise.all([phone(user, { sessionTimers }), phone(1001)]);
        for (const [caller, callee] of [[ours, other], [other, ours]]) {
          const calls = await connect(caller, callee);
          await talkAndCount(...calls);
          await calls[0].do('hangup');
          await calls[1].state('ended');
        }
      });
    }
  }

  cell('connected line', 'before the answer', async () => {
    const ours = await phone(1001);
    const call = await ours.calls('line_ringing', 'ringing');
    await shows(call, 'First Name', '4710');
    await call.state('active');
    await call.hears(TONE);
  });

  for (const [how, user] of [['re-INVITE', 1001], ['UPDATE', 1024], ['Remote-Party-ID', 1025]]) {
    cell('connected line', `after the answer, by ${how}`, async () => {
      const ours = await phone(user);
      const call = await ours.calls('line_answered');
      await shows(call, 'Changed Name', '4711');
      await call.hears(TONE);
      await call.exchanges(25);
    });
  }

  cell('connected line', 'right behind the answer', async () => {
    const ours = await phone(1001);
    const call = await ours.calls('line_at_once');
    await shows(call, 'Changed Name', '4711');
    await call.hears(TONE);
  });

  cell('caller', 'name and number of the one who calls', async () => {
    const [caller, callee] = await phones(1001, 1002);
    await caller.dial(callee.uri);
    await shows(await callee.call(0, 'ringing'), 'User 1001', '1001');
  });

  cell('caller', 'whose number is suppressed', async () => {
    const [caller, callee] = await phones(1001, 1002);
    await caller.dial('sip:suppressed1002@pbx.test');
    const { uri, private: hidden } = await (await callee.call(0, 'ringing')).get('remote');
    assert.ok(hidden && !/1001/.test(uri), `${uri} ${hidden}`);
  });

  cell('video', 'offered by JsSIP beside the audio: refused, the call is one of audio', async () => {
    const [caller, ours] = await Promise.all([phone(1023, { library: 'jssip' }), phone(1022)]);
    await caller.run(offerVideo);
    await caller.dial(ours.uri);
    const incoming = await ours.call(0, 'ringing');
    assert.match(await ours.message(/^received\nINVITE/), /^m=video [1-9]/m);
    await incoming.do('answer');
    await talkAndCount(await caller.call(0, 'active'), incoming);
    assert.match(await ours.message(/^sent\nSIP\/2\.0 200[^]*CSeq: \d+ INVITE[^]*m=audio/), /^m=video 0 /m);
  });

  cell('T.38', 'the switch to fax is refused, and the call goes on', async () => {
    const ours = await phone(1026);
    const call = await ours.calls('fax');
    await ours.message(/^received\nINVITE[^]*\nm=image /);
    await ours.message(/^sent\nSIP\/2\.0 488[^]*CSeq: \d+ INVITE/);
    await call.hears(CED);
    await call.exchanges(25);
    assert.equal((await call.report()).state, 'active');
    await call.do('hangup');
  });

  for (const [what, work, code] of [
    ['the callee declines', (call) => call.do('hangup'), 'declined'],
    ['the callee is busy', (call) => call.party.run(([index]) => globalThis.party.calls[index].handle.reject({ status: 486 }), [call.index]), 'busy'],
  ]) {
    cell('outcome', what, async () => {
      const [caller, callee] = await phones(1001, 1002);
      await caller.dial(callee.uri);
      await work(await callee.call(0, 'ringing'));
      const dialed = await caller.dialed();
      assert.equal(dialed.code, code);
      return `${dialed.sipStatus}: \`${dialed.code}\``;
    });
  }

  for (const [what, extension, code] of [
    ['busy (17)', 'cause17', 'busy'],
    ['no answer (19)', 'cause19', 'no_answer'],
    ['declined (21)', 'cause21', 'declined'],
    ['a number that is not assigned (1)', 'cause01', 'not_found'],
    ['a number that does not exist', '9999', 'not_found'],
    ['congestion (34)', 'cause34', 'server_error'],
  ]) {
    cell('outcome', what, async () => {
      const ours = await phone(1001);
      await ours.dial(`sip:${extension}@pbx.test`);
      const dialed = await ours.dialed();
      assert.equal(dialed.code, code);
      return `${dialed.sipStatus}: \`${dialed.code}\``;
    });
  }

  for (const cause of [16, 31]) {
    cell('outcome', `hung up with cause ${cause}`, async () => {
      const ours = await phone(1001);
      const call = await ours.calls(`later${cause}`);
      await call.state('ended');
      const { code, by, q850 } = (await call.report()).ended;
      assert.deepEqual({ code, by, q850 }, { code: 'completed', by: 'remote', q850: cause });
    });
  }
});

/** From now on this page has a camera, and uses it. Runs in the page. */
function offerVideo() {
  const microphone = navigator.mediaDevices.getUserMedia;
  navigator.mediaDevices.getUserMedia = async () => {
    const stream = await microphone();
    const { canvas } = Object.assign(document.createElement('canvas'), { width: 64, height: 64 }).getContext('2d');
    stream.addTrack(canvas.captureStream().getTracks()[0]);
    return stream;
  };
}

/** Who is at the other end, as the screen shows it. */
function shows(call, name, user) {
  return until(`${call.name} shows ${name}`, async () => {
    const remote = await call.get('remote');
    assert.equal(remote.assertedDisplayName ?? remote.displayName, name, JSON.stringify(remote));
    return new RegExp(`^sips?:${user}@`).test(remote.assertedIdentity ?? remote.uri);
  });
}
