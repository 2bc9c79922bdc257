/** The optional entry `events` in a browser: documents as servers send them, and as nobody should. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { launchBrowser, watchPage } from '../support/browser.mjs';
import { serveStatic } from '../support/static-server.mjs';

describe('event packages', { timeout: 60_000 }, () => {
  let server;
  let browser;
  let page;
  let problems;

  before(async () => {
    const pkg = fileURLToPath(new URL('../../pkg', import.meta.url));
    [server, browser] = await Promise.all([serveStatic({ '/pkg/': pkg }, { '/empty.json': {}, '/favicon.ico': {} }), launchBrowser()]);
    page = await browser.newPage();
    problems = watchPage(page);
    await page.goto(`${server.url}/empty.json`);
    await page.evaluate(async () => {
      globalThis.events = await import('/pkg/events.js');
    });
  });
  after(async () => {
    await browser?.close();
    await server?.close();
    assert.deepEqual(problems, []);
  });

  const read = (name, text) =>
    page.evaluate(
      ([name, text]) => {
        try {
          return globalThis.events[name](text);
        } catch (error) {
          return { error: error.code ?? error.name };
        }
      },
      [name, text],
    );

  const dialogInfo = (version, state, dialogs) =>
    `<?xml version="1.0"?><d:dialog-info xmlns:d="urn:ietf:params:xml:ns:dialog-info" version="${version}" state="${state}" entity="sip:bob@example.com">${dialogs}</d:dialog-info>`;
  const dialog = (id, state) => `<d:dialog id="${id}" direction="recipient"><d:state>${state}</d:state></d:dialog>`;

  test('a message summary, whole and short', async () => {
    const text = 'Messages-Waiting: yes\r\nMessage-Account: sip:alice@vm.example.com\r\nVoice-Message: 2/8 (1/2)\r\nFax-Message: 0/1\r\n\r\nSubject: Voice-Message: 9/9\r\n';
    assert.deepEqual(await read('parseMessageSummary', text), {
      waiting: true,
      account: 'sip:alice@vm.example.com',
      messages: { voice: { new: 2, old: 8, urgentNew: 1, urgentOld: 2 }, fax: { new: 0, old: 1, urgentNew: 0, urgentOld: 0 } },
    });
    assert.equal((await read('parseMessageSummary', 'messages-waiting:NO')).waiting, false);
    for (const broken of ['', 'Messages-Waiting: perhaps', 'Voice-Message: 1/1', 'x'.repeat(70_000)]) {
      assert.deepEqual(await read('parseMessageSummary', broken), { error: 'invalid_document' });
    }
  });

  test('dialog-info by namespace, whatever its prefix', async () => {
    const remote = '<d:remote><d:identity display="B &amp; C">sip:carol@example.com</d:identity><d:target uri="sip:carol@192.0.2.1"/></d:remote>';
    const info = await read('parseDialogInfo', dialogInfo(3, 'full', `<d:dialog id="1" call-id="c" direction="initiator"><d:state>early</d:state>${remote}</d:dialog>`));
    assert.equal(info.version, 3);
    assert.equal(info.entity, 'sip:bob@example.com');
    assert.equal(info.dialogs[0].state, 'early');
    assert.equal(info.dialogs[0].callId, 'c');
    assert.deepEqual(info.dialogs[0].remote, { uri: 'sip:carol@example.com', displayName: 'B & C', target: 'sip:carol@192.0.2.1' });
  });

  test('documents that are refused', async () => {
    const good = dialogInfo(1, 'full', '');
    for (const broken of [
      good.replace('</d:dialog-info>', ''),
      good.replaceAll('ns:dialog-info', 'ns:other'),
      good.replace('<?xml version="1.0"?>', '<!DOCTYPE x [<!ENTITY a "aaaa">]>'),
      good.replace('state="full"', ''),
      good.replace('version="1"', 'version="-1"'),
      `${good}${' '.repeat(70_000)}`,
      dialogInfo(1, 'full', dialog('1', 'early').repeat(300)),
      '',
    ]) {
      assert.deepEqual(await read('parseDialogInfo', broken), { error: 'invalid_document' }, broken.slice(0, 200));
    }
  });

  test('presence: what is written is what is read, and nothing breaks out', async () => {
    const hostile = `<b a="1">&amp;]]>'\u0007`;
    const document = await page.evaluate(
      (note) => globalThis.events.presenceDocument({ entity: 'sip:alice@example.com;a="<x>"', open: true, note, activities: ['on-the-phone'] }),
      hostile,
    );
    const presence = await read('parsePresence', document);
    assert.equal(presence.entity, 'sip:alice@example.com;a="<x>"');
    assert.equal(presence.open, true);
    assert.equal(presence.note, hostile.replace('\u0007', ''));
    assert.deepEqual(presence.activities, ['on-the-phone']);
    const refused = await page.evaluate(() => {
      try {
        globalThis.events.presenceDocument({ entity: 'sip:a@b', open: true, activities: ['x/><evil'] });
      } catch (error) {
        return error.name;
      }
    });
    assert.equal(refused, 'TypeError');
  });

  test('a lamp follows full and partial documents in order, and a broken one is passed over', async () => {
    const documents = [
      dialogInfo(0, 'full', dialog('1', 'early')),
      '<broken',
      dialogInfo(1, 'partial', dialog('2', 'confirmed')),
      dialogInfo(1, 'partial', dialog('2', 'terminated')),
      dialogInfo(2, 'partial', dialog('2', 'terminated')),
      dialogInfo(3, 'partial', dialog('1', 'terminated')),
    ];
    const seen = await page.evaluate((documents) => {
      const seen = { lamps: [], errors: 0, stopped: 0 };
      const listeners = {};
      const phone = {
        subscribe(target, event, options) {
          Object.assign(seen, { target, event, options });
          return {
            on(type, listener) {
              listeners[type] = listener;
              return () => delete listeners[type];
            },
            unsubscribe: () => (seen.stopped += 1),
          };
        },
      };
      const onError = () => (seen.errors += 1);
      const watch = globalThis.events.watchDialogs(phone, 'sip:bob@example.com', ({ state, dialogs }) => seen.lamps.push([state, dialogs.length]), { expires: 60, onError });
      const notify = (body) => listeners.notify({ contentType: 'application/dialog-info+xml', body });
      documents.forEach(notify);
      notify('');
      listeners.notify({ contentType: 'text/html', body: 'x' });
      // After a new subscription the versions begin again.
      listeners.state({ state: 'pending' });
      notify(documents[0]);
      watch.stop();
      seen.left = Object.keys(listeners).length;
      return seen;
    }, documents);
    assert.deepEqual(seen, {
      lamps: [['ringing', 1], ['busy', 2], ['ringing', 1], ['idle', 0], ['ringing', 1]],
      errors: 2,
      stopped: 1,
      target: 'sip:bob@example.com',
      event: 'dialog',
      options: { accept: ['application/dialog-info+xml'], expires: 60 },
      left: 0,
    });
  });
});
