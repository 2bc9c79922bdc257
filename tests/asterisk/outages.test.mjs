/** A PBX that is gone for a while, a page that is: what the user notices of it. */

import assert from 'node:assert/strict';

import { until } from '../support/until.mjs';
import { connect, seconds, suite, talkAndCount } from './suite.mjs';

const TONE = 800;

suite('outages', 'outages', ({ asterisk, phone, phones, cell }) => {
  cell('page', 'closed: nothing is registered any more', async () => {
    const ours = await phone(1005, {});
    await ours.page.close({ runBeforeUnload: false });
    await until('the contact is gone', async () => !/Contact: +1005\//.test(await asterisk().cli('pjsip show contacts')));
  });

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
      await one.run(() => globalThis.phone.connection);
      await until(`${one.name} is known again`, async () => new RegExp(`Contact: +${one.user}/`).test(await asterisk().cli('pjsip show contacts')), { deadline: 40_000 });
      return Date.now() - since;
    }));
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
    return `over ${seconds(ended)} after it is up, and the next call is up ${seconds(Date.now() - since)} after`;
  });
});
