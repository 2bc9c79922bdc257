/**
 * The phone sends its messages at once. Neither a trace (`debug`) nor an event makes the driver's loop run once more here, which
 * would hide a message that waits.
 */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Suite } from '../support/suite.mjs';
import { until } from '../support/until.mjs';
import { PhonePage, phoneProfile } from './phone-page.mjs';

/** For `context.addInitScript`: keeps what is sent over WebSockets in `globalThis.sent`. Runs in the page. */
function keepSent() {
  globalThis.sent = [];
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function kept(data) {
    globalThis.sent.push(typeof data === 'string' ? data : new TextDecoder().decode(data));
    return send.call(this, data);
  };
}

// Its server never answers, so that a description is taken once it is useful, and before it is complete.
const SLOW = { iceServers: [{ urls: 'stun:127.0.0.1:9' }], debug: false };

describe('at once', { timeout: 120_000 }, () => {
  const suite = new Suite();

  async function person(user, tone) {
    const profile = suite.keep(await phoneProfile(suite.browser, { user, tone, hears: 1, config: SLOW }));
    await profile.addInitScript(keepSent);
    return PhonePage.open(profile, suite.url);
  }

  /** Messages of this kind that were sent, and how many of them were sent before. */
  async function sent(phone, start) {
    const all = (await phone.page.evaluate(() => globalThis.sent)).filter((text) => text.startsWith(start));
    return { all, again: all.length - new Set(all).size };
  }

  test('an answer that the browser reports within its own timer', async () => {
    const [alice, bob] = await Promise.all([person('alice', 600), person('bob', 1000)]);
    await alice.run((phone) => void phone.dial('sip:bob@sandbox.test'));
    await until('it rings', async () => (await bob.calls()).length === 1);
    await bob.run((phone, call) => call.answer());
    const active = async (phone) => (await phone.calls())[0]?.state === 'active';
    await until('the call is up', async () => (await active(alice)) && active(bob));
    await bob.run((phone, call) => call.hold());
    await until('it is held', async () => (await alice.calls())[0].remoteHold);
    await bob.run((phone, call) => call.unhold());
    await until('it is held no more', async () => !(await alice.calls())[0].remoteHold);
    for (const phone of [alice, bob]) {
      for (const start of ['INVITE ', 'SIP/2.0 200 ']) {
        const { all, again } = await sent(phone, start);
        assert.equal(again, 0, `sent again:\n${all.join('\n')}`);
      }
    }
    const answers = await sent(bob, 'SIP/2.0 200 ');
    assert.ok(answers.all.some((text) => text.includes('a=candidate:')), 'the answer has a candidate');
    await alice.run((phone, call) => call.hangup());
  });
});
