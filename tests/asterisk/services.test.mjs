/** What a PBX does beside joining two calls: conferences, queues, mailboxes, lamps, several phones of one user. */

import assert from 'node:assert/strict';

import { until } from '../support/until.mjs';
import { suite, talkAndCount } from './suite.mjs';

const TONE = 800;
const AUDIBLE = -60;

suite('services', 'services', ({ asterisk, phone, phones, cell }) => {
  cell('conference', 'three in a ConfBridge, each hears both others', async () => {
    const members = await phones(1001, 1002, 1003);
    const calls = await Promise.all(members.map((member) => member.calls('room')));
    for (const call of calls) {
      const others = members.filter(({ tone }) => tone !== call.tone).map(({ tone }) => tone);
      await until(`${call.name} hears ${others.join(' and ')} Hz`, async () => (await call.heard(others))?.levels.every((level) => level > AUDIBLE));
      await call.exchanges(25);
    }
    await calls[0].do('hangup');
    await until('the two who stay hear one tone each', async () => {
      const { levels: [gone, there] } = await calls[1].heard([members[0].tone, members[2].tone]);
      return gone < AUDIBLE && there > AUDIBLE;
    });
  });

  cell('queue', 'music until a member answers', async () => {
    const [caller, member] = await phones(1001, 1003);
    const waiting = await caller.calls('queue');
    await until('the caller hears music', async () => (await waiting.heard())?.level > AUDIBLE);
    const arriving = await member.call(0, 'ringing');
    await arriving.do('answer');
    await arriving.state('active');
    await talkAndCount(waiting, arriving);
    await arriving.do('hangup');
    await waiting.state('ended');
  });

  const summary = (messages) => until('a summary says that one waits', async () => (await messages()).find(({ waiting }) => waiting));

  cell('message waiting', 'subscribed', async () => {
    const [ours, caller] = await phones(1004, 1001);
    await ours.run(() => {
      globalThis.summaries = [];
      const subscription = globalThis.phone.subscribe('sip:1004@pbx.test', 'message-summary');
      subscription.on('notify', ({ body }) => globalThis.summaries.push(globalThis.events.parseMessageSummary(body)));
    });
    await until('a summary has come', () => ours.run(() => globalThis.summaries.length));
    await leaveMessage(asterisk(), caller, 1004);
    assert.equal((await summary(() => ours.run(() => globalThis.summaries))).messages.voice.new, 1);
  });

  cell('message waiting', 'without a subscription', async () => {
    const [ours, caller] = await phones(1017, 1001);
    await ours.run(() => {
      globalThis.summaries = [];
      globalThis.phone.on('messageSummary', ({ body }) => globalThis.summaries.push(globalThis.events.parseMessageSummary(body)));
    });
    await leaveMessage(asterisk(), caller, 1017);
    assert.equal((await summary(() => ours.run(() => globalThis.summaries))).messages.voice.new, 1);
    assert.equal((await ours.messages(/^sent\nSIP\/2\.0 [3-6][^]*CSeq: \d+ NOTIFY/)).length, 0);
  });

  cell('lamps', 'dialog-info: ringing, talking, on hold, over', async () => {
    const [watcher, watched, caller] = await phones(1001, 1002, 1003);
    await watcher.run(() => {
      globalThis.lamps = [];
      globalThis.events.watchDialogs(globalThis.phone, 'sip:1002@pbx.test', ({ state }) => globalThis.lamps.push(state));
    });
    const lamp = (wanted) => until(`the lamp is ${wanted}`, async () => (await watcher.run(() => globalThis.lamps.at(-1))) === wanted);
    await lamp('idle');
    const outgoing = caller.calls('1002');
    const incoming = await watched.call(0, 'ringing');
    await lamp('ringing');
    await incoming.do('answer');
    await lamp('busy');
    // Asterisk says so of the one who is held.
    const holding = await outgoing;
    await holding.do('hold');
    await lamp('held');
    await holding.do('unhold');
    await lamp('busy');
    await incoming.do('hangup');
    await lamp('idle');
  });

  cell('presence', 'PIDF: open, and on the phone', async () => {
    const [watcher, watched] = await phones(1001, 1002);
    await watcher.run(() => {
      globalThis.presence = [];
      const subscription = globalThis.phone.subscribe('sip:1002@pbx.test', 'presence');
      subscription.on('notify', ({ body }) => globalThis.presence.push(globalThis.events.parsePresence(body)));
    });
    const says = (what, found) => until(`presence says ${what}`, async () => found((await watcher.run(() => globalThis.presence)).at(-1)));
    await says('open', ({ open, note, tuples }) => open && /Ready/.test(note ?? tuples[0].note));
    const call = await watched.calls('tone');
    await says('on the phone', ({ note, tuples }) => /On the phone/.test(note ?? tuples[0].note));
    await call.do('hangup');
    await says('open again', ({ note, tuples }) => /Ready/.test(note ?? tuples[0].note));
  });

  cell('several contacts', 'all ring, one answers, the others are told', async () => {
    const [caller, one, other] = [await phone(1001), await phone(1006, { instanceId: 'urn:uuid:00000000-0000-4000-8000-000000000001' }), await phone(1006, { instanceId: 'urn:uuid:00000000-0000-4000-8000-000000000002' })];
    await caller.dial(one.uri);
    const [ringing, elsewhere] = await Promise.all([one.call(0, 'ringing'), other.call(0, 'ringing')]);
    await ringing.do('answer');
    const outgoing = await caller.call(0, 'active');
    await elsewhere.state('ended');
    assert.equal((await elsewhere.report()).ended.code, 'answered_elsewhere');
    await talkAndCount(outgoing, ringing);
    await ringing.do('hangup');
    await outgoing.state('ended');
  });

  cell('intercom', 'answered by itself, as Call-Info asks', async () => {
    const [caller, callee] = await Promise.all([phone(1001), phone(1005, { autoAnswer: ['*'] })]);
    await caller.dial('sip:auto1005@pbx.test');
    const incoming = await callee.call(0, 'active');
    const outgoing = await caller.call(0, 'active');
    await talkAndCount(outgoing, incoming);
    assert.equal((await incoming.get('headers'))['X-Customer'], '4711');
  });

  cell('keep-alive', 'an OPTIONS of ours is answered', async () => {
    const ours = await phone(1001);
    await ours.run(() => globalThis.phone.sendOptions('sip:1001@pbx.test'));
  });

  cell('moved', '302 of the dialplan', async () => {
    const ours = await phone(1001, { redirects: 1 });
    const call = await ours.calls('moved');
    await call.hears(TONE);
    await call.exchanges(25);
  });
});

/** Says something into a mailbox, after the beep. */
async function leaveMessage(asterisk, caller, user) {
  const recordings = async () => (await asterisk.log()).split('Recording the message').length;
  const before = await recordings();
  const call = await caller.calls(`vm${user}`);
  await until('the recording has begun', async () => (await recordings()) > before);
  const { sent } = await call.packets();
  await until('something has been said', async () => (await call.packets()).sent > sent + 50);
  await call.do('hangup');
  await call.state('ended');
}
