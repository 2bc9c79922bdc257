/** A PBX that is gone for a while, a page that is: what the user notices of it. */

import assert from 'node:assert/strict';

import { until } from '../support/until.mjs';
import { connect, seconds, suite, talkAndCount } from './suite.mjs';

const TONE = 800;
/** Asterisk takes WebSockets before it is booted and loses what comes then: that is not waited for as for an answer. */
const BACK_MS = 20_000;

suite('outages', 'outages', ({ asterisk, phone, phones, cell }) => {
  cell('page', 'closed in a call: the far end is told', async () => {
    const [ours, other] = await Promise.all([phone(1005, {}), phone(1002)]);
    const [mine, theirs] = await connect(ours, other);
    await talkAndCount(mine, theirs);
    const since = Date.now();
    await ours.page.close({ runBeforeUnload: false });
    await theirs.state('ended', 3000);
    const took = Date.now() - since;
    assert.ok(took < 1000, `${took} ms`);
    return `ended after ${seconds(took)}`;
  });

  cell('page', 'reloaded in a call without `resume`: the far end is told', async () => {
    const [ours, other] = await Promise.all([phone(1005, {}), phone(1002)]);
    const [mine, theirs] = await connect(ours, other);
    await talkAndCount(mine, theirs);
    await ours.page.reload();
    await theirs.state('ended', 3000);
    await ours.begin();
    assert.match(await asterisk().cli('pjsip show aor 1005'), /Contact:/);
  });

  cell('page', 'closed: nothing is registered any more', async () => {
    const ours = await phone(1005, {});
    await ours.page.close({ runBeforeUnload: false });
    await until('the contact is gone', async () => !/Contact: +1005\//.test(await asterisk().cli('pjsip show contacts')));
  });

  for (const [who, got] of [['that it made', false], ['that it got', true]]) {
    cell('page', `reloaded in a call ${who}, with \`resume\`: both hear each other again`, async () => {
      const [ours, other] = await Promise.all([phone(1001, { resume: true }), phone(1002)]);
      const [, theirs] = got ? (await connect(other, ours)).toReversed() : await connect(ours, other);
      await theirs.hears(ours.tone);
      const since = Date.now();
      await ours.page.reload();
      await ours.begin();
      const [heard, heardBack] = await Promise.all([ours.hears(other.tone, 20_000), theirs.whenHeard(ours.tone, 20_000)]);
      const mine = await ours.only();
      await talkAndCount(mine, theirs);
      await mine.do('hangup');
      await theirs.state('ended');
      return `after ${seconds(heard - since)} and ${seconds(heardBack - since)}`;
    });
  }

  cell('registration', 'refused for a while, then known again', async () => {
    const ours = await phone(1007, { registerExpires: 10 });
    await asterisk().knows(1007, false);
    const gone = Date.now();
    try {
      // Challenged, and once more with the credentials in it.
      await until('a refresh has been refused', async () => {
        const answers = (await ours.wire(gone)).filter(({ sent, method }) => !sent && method === 'REGISTER');
        return answers.filter(({ first }) => /^SIP\/2\.0 401/.test(first)).length >= 2;
      }, { deadline: 30_000 });
    } finally {
      await asterisk().knows(1007, true);
    }
    const since = Date.now();
    await until('it is registered again', async () => {
      const answers = (await ours.wire(since)).filter(({ sent, method }) => !sent && method === 'REGISTER');
      return answers.some(({ first }) => /^SIP\/2\.0 200/.test(first));
    }, { deadline: 60_000 });
    await ours.registration('registered');
    const took = Date.now() - since;
    const call = await ours.calls('tone');
    await call.hears(TONE);
    return `registered ${seconds(took)} after that`;
  });

  cell('Asterisk', 'killed and started again, while idle', async () => {
    const [ours, other] = await phones(1001, 1002);
    await asterisk().kill();
    await until('the phone has noticed', () => ours.run(() => globalThis.phone.connection !== 'connected'));
    asterisk().launch();
    await asterisk().booted();
    const since = Date.now();
    const times = await Promise.all([ours, other].map(async (one) => {
      await until(`${one.name} is known again`, async () => new RegExp(`Contact: +${one.user}/`).test(await asterisk().cli('pjsip show contacts')), { deadline: 40_000 });
      return Date.now() - since;
    }));
    assert.ok(Math.max(...times) < BACK_MS, `${times.join(', ')} ms`);
    await talkAndCount(...(await connect(ours, other)));
    return `registered ${times.map(seconds).join(' and ')} after it is up`;
  });

  cell('Asterisk', 'killed and started again, in a call', async () => {
    const [ours, other] = await phones(1001, 1002);
    const calls = await connect(ours, other);
    await talkAndCount(...calls);
    await asterisk().kill();
    await asterisk().boot();
    const since = Date.now();
    for (const call of calls) {
      await call.state('ended', 60_000);
      const { code, sipStatus } = (await call.report()).ended;
      assert.deepEqual({ code, sipStatus }, { code: 'completed', sipStatus: 481 });
    }
    const ended = Date.now() - since;
    await until('both are known again', async () => /1001\/[^]*1002\//.test(await asterisk().cli('pjsip show contacts')), { deadline: 40_000 });
    await talkAndCount(...(await connect(ours, other)));
    const again = Date.now() - since;
    assert.ok(again < BACK_MS, `${again} ms`);
    return `over ${seconds(ended)} after it is up, and the next call is up ${seconds(again)} after`;
  });
});
