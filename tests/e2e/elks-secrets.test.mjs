/** What a page gets to see of the provider's account: nothing. Against a sandbox whose credentials the test knows. */

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { launchBrowser } from '../support/browser.mjs';
import { NUMBERS, Simulator } from '../support/elks.mjs';
import { freePort, Sandbox } from '../support/sandbox.mjs';
import { until } from '../support/until.mjs';
import { DemoPage } from './demo-page.mjs';
import { ElksPhone, elksProfile } from './elks-phone.mjs';

/** Keeps everything that a page sends and gets: requests, responses, frames of its sockets, and its console. */
function overhear(page) {
  const texts = [];
  const keep = (what, text) => {
    if (text) texts.push([what, text]);
  };
  const pending = new Set();
  const later = (work) => {
    // A body may be gone with its page; its headers were kept.
    const done = work.catch(() => {}).finally(() => pending.delete(done));
    pending.add(done);
  };
  page.on('request', (request) => {
    keep('URL', request.url());
    keep('request body', request.postData());
    later(request.allHeaders().then((headers) => keep('request headers', JSON.stringify(headers))));
  });
  page.on('response', (response) => {
    const { pathname } = new URL(response.url());
    later(response.allHeaders().then((headers) => keep('response headers', JSON.stringify(headers))));
    later(response.body().then((body) => keep(`response body of ${pathname.replace(/[0-9a-f-]{36}/, '{id}')}`, body.toString('latin1'))));
  });
  page.on('websocket', (socket) => {
    socket.on('framesent', ({ payload }) => keep('frame sent', String(payload)));
    socket.on('framereceived', ({ payload }) => keep('frame received', String(payload)));
  });
  page.on('console', (message) => keep('console', message.text()));
  return { texts, settled: () => until('all was read', () => pending.size === 0) };
}

/** Fails where something of the account, or what could be, stands in a text; never says what. */
function search(texts, secrets) {
  for (const [what, text] of texts) {
    for (const [name, secret] of Object.entries(secrets)) assert.ok(!text.includes(secret), `${what}: ${name}`);
    assert.ok(!/\bBasic\s+[A-Za-z0-9+/]{8,}/.test(text), `${what}: a Basic header`);
    // 46elks' accounts are "u" and 32 hex digits; its calls and numbers begin with other letters.
    assert.ok(!/\bu[0-9a-f]{32}\b/.test(text), `${what}: an account`);
    // The simulator's control shows what it posted to whom; a real provider has no such thing.
    assert.ok(what.includes('/_sim/') || !/\/hooks\/[vh]\//.test(text), `${what}: a webhook`);
  }
}

describe('the credentials of the provider\'s API', { timeout: 120_000 }, () => {
  let folder;
  let sandbox;
  let simulator;
  let browser;
  let secrets;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wasm-softphone-secrets-'));
    const file = join(folder, 'credentials');
    sandbox = new Sandbox(await freePort(), ['--elks-api-credentials-file', file]);
    [browser] = await Promise.all([launchBrowser(), sandbox.start()]);
    simulator = new Simulator(sandbox.url);
    const [user, password] = (await readFile(file, 'utf8')).trim().split(':');
    assert.ok(user.length > 20 && password.length > 20);
    secrets = { 'the API user': user, 'the API password': password, 'both, as Basic has them': btoa(`${user}:${password}`).slice(0, 40) };
  });
  after(async () => {
    await browser?.close();
    await sandbox?.kill();
    await rm(folder, { recursive: true, force: true });
  });

  // The id of the phone (RFC 5626), by which its registrar knows it, is no secret.
  const stores = (page) => page.evaluate(async () => {
    const others = (store) => Object.entries(store).filter(([name]) => !/^wasm-softphone:instance:[0-9a-f]{16}(:\d)?$/.test(name)).length;
    return {
      local: others(localStorage),
      session: others(sessionStorage),
      databases: (await indexedDB.databases()).length,
      caches: (await caches.keys()).length,
      cookies: document.cookie,
    };
  });
  const EMPTY = { local: 0, session: 0, databases: 0, caches: 0, cookies: '' };

  test('are in nothing that a page sends, gets or keeps, through a whole call and a refused one', async () => {
    const profile = await elksProfile(browser);
    let heard;
    const prepare = async (page) => { heard = overhear(page); };
    const config = { ...(await simulator.account()), debug: true };
    const phone = await ElksPhone.open(profile, sandbox.url, config, { prepare });
    const result = await phone.dial(NUMBERS.echo);
    assert.equal(result.code, null, result.message);
    await phone.plays(1000);
    await phone.hangup();
    await phone.ended();
    await simulator.quiet();
    await simulator.arm('401');
    assert.equal((await phone.dial(NUMBERS.echo)).code, 'provider_error');
    await heard.settled();
    for (const kind of ['URL', 'request headers', 'request body', 'response headers', 'frame sent', 'frame received']) {
      assert.ok(heard.texts.some(([what]) => what === kind), `no ${kind} was seen`);
    }
    assert.ok(heard.texts.some(([what]) => what.startsWith('response body of /elks/v1/calls/')));
    search(heard.texts, secrets);
    assert.deepEqual(await stores(phone.page), EMPTY);
    // What the page does have: the SIP password and the session, neither of which goes into the trace.
    const trace = (await phone.page.evaluate(() => globalThis.logs)).join('\n');
    assert.ok(trace.includes('REGISTER'));
    assert.ok(!trace.includes(config.credentials.password), 'the SIP password is in the trace');
    assert.ok(!trace.includes(config.proxyHeaders.Authorization.slice(7)), 'the token is in the trace');
    search([['trace', trace]], secrets);
    await profile.close();
  });

  test('are not in the demo page either', async () => {
    const profile = await elksProfile(browser);
    const heard = [];
    profile.on('page', (page) => heard.push(overhear(page)));
    const { credentials: { username } } = await simulator.account();
    const demo = await DemoPage.open(profile, sandbox.url, { account: username });
    await demo.call(NUMBERS.echo);
    await demo.inCall();
    await demo.hangUp();
    await demo.idle();
    await heard[0].settled();
    search(heard[0].texts, secrets);
    search([['page', await demo.page.content()]], secrets);
    assert.deepEqual(await stores(demo.page), EMPTY);
    demo.unblemished();
    await profile.close();
  });

  test('no browser can use the API: it has no CORS', async () => {
    const context = await browser.newContext({ bypassCSP: true });
    const page = await context.newPage();
    // Another origin on this machine.
    await page.goto(`http://localhost:${sandbox.port}/demo.json`);
    const outcome = await page.evaluate(async (api) => {
      const request = { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded', authorization: 'Bearer x' }, body: 'from=x' };
      return fetch(api, request).then(() => 'answered', () => 'refused');
    }, `${sandbox.url}/a1/calls`);
    assert.equal(outcome, 'refused');
    await context.close();
  });
});
