/**
 * The package against servers and telephones that nobody here wrote: Kamailio as registrar and proxy, rtpengine
 * between WebRTC and RTP, baresip as the telephone. Uses fixed ports: run it in a network namespace of its own.
 */

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { launchBrowser } from '../support/browser.mjs';
import { until } from '../support/until.mjs';
import { BrowserPhone, servePackage, settings, telephoneHears } from './browser-phone.mjs';
import { Network } from './network.mjs';

describe('with Kamailio, rtpengine and baresip', { timeout: 300_000 }, () => {
  let network;
  let desk; // answers by itself
  let handset; // is answered by hand
  let server;
  let browser;
  let phone;

  before(async () => {
    [network, server, browser] = await Promise.all([Network.start(), servePackage(), launchBrowser()]);
    [desk, handset] = await Promise.all([
      network.telephone({ user: '2001', sipPort: 5080, controlPort: 4444, rtpPorts: '20000-20998', tone: 440, answers: 'auto' }),
      network.telephone({ user: '2002', sipPort: 5090, controlPort: 4446, rtpPorts: '22000-22998', tone: 660, answers: 'manual' }),
    ]);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
    await network?.stop();
  });

  beforeEach(async () => {
    desk.forget();
    handset.forget();
    await Promise.all([desk.forgetRecordings(), handset.forgetRecordings()]);
    phone = await BrowserPhone.open(browser, server.url);
  });
  afterEach(async (context) => {
    await phone.close();
    // A telephone that is still in a call would be busy in the next test.
    for (const telephone of [desk, handset]) {
      await until(`telephone ${telephone.user} is idle after "${context.name}"`, async () => /^\s*--- (No active calls|Active calls \(0\))/m.test(await telephone.command('listcalls')));
    }
  });

  test('the browser calls a telephone: audio both ways, then the browser hangs up', async () => {
    await phone.register('1001');
    await phone.dial('sip:2001@pbx.test');
    assert.deepEqual(await phone.dialed(), { success: true, strategy: 'sip-invite' });
    await Promise.all([phone.hears(440), telephoneHears(desk, phone.tone), phone.exchanges(50)]);
    await phone.do('hangup');
    await desk.event('CALL_CLOSED');
    const { code, by } = await phone.ended();
    assert.deepEqual({ code, by }, { code: 'completed', by: 'local' });
  });

  test('the telephone hangs up', async () => {
    await phone.register('1001');
    await phone.dial('sip:2001@pbx.test');
    assert.equal((await phone.dialed()).success, true);
    await desk.event('CALL_ESTABLISHED');
    await desk.command('hangup');
    const { code, by } = await phone.ended();
    assert.deepEqual({ code, by }, { code: 'completed', by: 'remote' });
  });

  test('a telephone number reaches the telephone that has it', async () => {
    await phone.register('1001');
    await phone.dial('+46101230001');
    assert.deepEqual(await phone.dialed(), { success: true, strategy: 'sip-invite' });
    await phone.hears(440);
    await phone.do('hangup');
    await desk.event('CALL_CLOSED');
  });

  test('a telephone calls the browser: audio both ways, then the telephone hangs up', async () => {
    await phone.register('1001');
    await handset.command('dial', 'sip:1001@pbx.test');
    await phone.state('ringing');
    assert.equal((await phone.get('remote')).uri, 'sip:2002@pbx.test');
    await handset.event('CALL_RINGING');
    await phone.do('answer');
    await phone.state('active');
    await Promise.all([phone.hears(660), telephoneHears(handset, phone.tone), phone.exchanges(50)]);
    await handset.command('hangup');
    const { code, by } = await phone.ended();
    assert.deepEqual({ code, by }, { code: 'completed', by: 'remote' });
  });

  test('the browser hangs up on a telephone that has called it', async () => {
    await phone.register('1001');
    await handset.command('dial', 'sip:1001@pbx.test');
    await phone.state('ringing');
    await phone.do('answer');
    await phone.state('active');
    await phone.do('hangup');
    await handset.event('CALL_CLOSED');
  });

  test('a wrong password is one clear error, not a loop', async () => {
    const { error, registration } = await phone.connect(settings('1001', { credentials: { username: '1001', password: 'wrong' } }));
    assert.equal(error.code, 'auth_failed');
    assert.ok(error.hint);
    assert.equal(registration, 'failed');
    const log = await phone.log();
    assert.ok(!log.join('\n').includes('wrong'), 'the password is in the log');
    const registers = log.filter((text) => text.startsWith('sent\nREGISTER'));
    assert.ok(registers.length >= 2 && registers.length <= 3, `${registers.length} REGISTER requests`);
  });

  test('a call with a wrong password fails as such', async () => {
    await phone.connect(settings('1001', { register: false, credentials: { username: '1001', password: 'wrong' } }));
    await phone.dial('sip:2001@pbx.test');
    const { error } = await phone.dialed();
    assert.equal(error.code, 'auth_failed');
  });

  test('a telephone in a call is busy', async () => {
    const other = await BrowserPhone.open(browser, server.url);
    await Promise.all([phone.register('1001'), other.register('1002')]);
    await other.dial('sip:2001@pbx.test');
    assert.equal((await other.dialed()).success, true);
    await phone.dial('sip:2001@pbx.test');
    const { error } = await phone.dialed();
    assert.deepEqual([error.code, error.sipStatus], ['busy', 486]);
    await other.close();
  });

  test('the browser is busy to a telephone', async () => {
    await phone.register('1001');
    await handset.command('dial', 'sip:1001@pbx.test');
    await phone.state('ringing');
    await phone.do('reject', { status: 486 });
    assert.match((await handset.event('CALL_CLOSED')).param, /486/);
  });

  test('the browser declines', async () => {
    await phone.register('1001');
    await handset.command('dial', 'sip:1001@pbx.test');
    await phone.state('ringing');
    await phone.do('reject');
    assert.match((await handset.event('CALL_CLOSED')).param, /603/);
  });

  test('the browser gives up while the telephone rings', async () => {
    await phone.register('1001');
    await phone.dial('sip:2002@pbx.test');
    await phone.state('ringing');
    await handset.event('CALL_INCOMING');
    await phone.do('hangup');
    await handset.event('CALL_CLOSED');
    const { code, by } = await phone.ended();
    assert.deepEqual({ code, by }, { code: 'cancelled', by: 'local' });
    assert.equal((await phone.dialed()).success, false);
  });

  test('the telephone gives up while the browser rings', async () => {
    await phone.register('1001');
    await handset.command('dial', 'sip:1001@pbx.test');
    await phone.state('ringing');
    await handset.command('hangup');
    const { code, by } = await phone.ended();
    assert.deepEqual({ code, by }, { code: 'cancelled', by: 'remote' });
  });

  test('nobody has that address', async () => {
    await phone.register('1001');
    await phone.dial('sip:9999@pbx.test');
    const { error } = await phone.dialed();
    assert.deepEqual([error.code, error.sipStatus], ['not_found', 404]);
  });

  test('a user who is not there', async () => {
    await phone.register('1001');
    await phone.dial('sip:1003@pbx.test');
    const { error } = await phone.dialed();
    assert.deepEqual([error.code, error.sipStatus], ['no_answer', 480]);
  });

  test('tones reach the telephone (RFC 4733)', async () => {
    await phone.register('1001');
    await phone.dial('sip:2001@pbx.test');
    assert.equal((await phone.dialed()).success, true);
    await phone.hears(440);
    await phone.do('sendDtmf', '12#');
    await until('the telephone has seen 1, 2 and #', () => {
      const keys = desk.events.filter(({ type }) => type === 'CALL_DTMF_START').map(({ param }) => param);
      return keys.join('') === '12#';
    });
    await phone.do('hangup');
    await desk.event('CALL_CLOSED');
  });

  test('the telephone holds the call and takes it back', async () => {
    await phone.register('1001');
    await phone.dial('sip:2001@pbx.test');
    assert.equal((await phone.dialed()).success, true);
    await phone.hears(440);
    await desk.command('hold');
    await until('the browser knows that it is held', () => phone.get('remoteHold'));
    await desk.command('resume');
    await until('the browser knows that it is no longer held', async () => (await phone.get('remoteHold')) === false);
    await desk.forgetRecordings();
    const { received } = await phone.exchanges(1);
    await Promise.all([phone.hears(440), until('packets flow again', async () => (await phone.exchanges(1)).received > received + 25)]);
    await phone.do('hangup');
    await desk.event('CALL_CLOSED');
  });

  test('after disconnect() nobody is there', async () => {
    await phone.register('1001');
    await phone.page.evaluate(() => globalThis.testPage.phone.disconnect());
    await handset.command('dial', 'sip:1001@pbx.test');
    assert.match((await handset.event('CALL_CLOSED')).param, /480/);
  });

  test('a call outlives the registrar, and can be hung up through the next one', async () => {
    await phone.register('1001');
    await phone.dial('sip:2001@pbx.test');
    assert.equal((await phone.dialed()).success, true);
    await phone.hears(440);
    await network.killRegistrar();
    await phone.connection('reconnecting');
    const { sent, received } = await phone.exchanges(1);
    await until('the audio goes on', async () => {
      const now = await phone.exchanges(1);
      return now.sent > sent + 25 && now.received > received + 25;
    });
    assert.equal(await phone.get('state'), 'reconnecting');
    await network.startRegistrar();
    await phone.registration('registered', 20_000);
    await phone.state('active');
    await phone.hears(440);
    await phone.do('hangup');
    await desk.event('CALL_CLOSED');
    assert.equal((await phone.ended()).code, 'completed');
  });

  test('the registrar dies and comes back: registered again, and calls work', async () => {
    await phone.register('1001');
    await network.killRegistrar();
    await phone.connection('reconnecting');
    await network.startRegistrar();
    await phone.registration('registered', 20_000);
    // The registrar has forgotten the telephones too, but those may call without being registered.
    await handset.command('dial', 'sip:1001@pbx.test');
    await phone.state('ringing');
    await phone.do('answer');
    await Promise.all([phone.hears(660), telephoneHears(handset, phone.tone)]);
    await phone.do('hangup');
    await handset.event('CALL_CLOSED');
  });
});
