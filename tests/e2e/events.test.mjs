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
    assert.deepEqual(info.dialogs[0].remote, { uri: 'sip:carol@example.com', displayName: 'B & C', target: 'sip:carol@192.0.2.1', rendering: undefined });
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

  test('XML is what the browser says it is', async () => {
    const documents = [
      dialogInfo(3, 'full', '<d:dialog id="1"><d:state>early</d:state><d:remote><d:identity display="B &amp; &#x43;">sip:c@x</d:identity></d:remote></d:dialog>'),
      '<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:e="urn:e" entity=\'a"b\'><!-- c --><e:x e:y="1"/><tuple id="1"><status><basic>open</basic></status><note xml:lang="en">1 &lt; 2<![CDATA[<&>]]></note></tuple><?p q?></presence>',
    ];
    const outcome = await page.evaluate((documents) => {
      // Reproducible by its seed (mulberry32).
      let seed = 4235;
      const random = (below) => {
        seed = (seed + 0x6d2b79f5) | 0;
        let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
        return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
      };
      const pieces = ['<', '>', '/', '"', "'", '&', ';', ' ', '\n', '=', ':', '-', '--', ']]>', '<!--', '-->', '<![CDATA[', '<?p', '?>', 'a', '&amp;', '&#65;', '&#0;', '&x;', '</', '/>', 'd:', 'xmlns:d=""', '\u0001', 'é'];
      const ours = (text) => {
        const read = text.includes('dialog-info') ? globalThis.events.parseDialogInfo : globalThis.events.parsePresence;
        try {
          return JSON.stringify(read(text));
        } catch (error) {
          return error.code ?? `${error.name}: ${error.message}`;
        }
      };
      const seen = { accepted: 0, refused: 0, differ: [] };
      for (let round = 0; round < 6000; round += 1) {
        const text = documents[round % documents.length];
        // After the declaration at the start, of which browsers want more than we do.
        const from = text.startsWith('<?xml') ? 21 : 0;
        let changed = text;
        for (let times = random(2) + 1; times > 0; times -= 1) {
          const at = from + random(changed.length - from);
          changed = changed.slice(0, at) + (random(3) ? pieces[random(pieces.length)] : '') + changed.slice(at + random(3));
        }
        // Of a `<` in an attribute, which XML forbids, Chromium says now this and now that.
        if (/<!(?:DOCTYPE|ENTITY)/i.test(changed) || /=\s*(?:"[^"]*<|'[^']*<)/.test(changed)) continue;
        const parsed = new DOMParser().parseFromString(changed, 'application/xml');
        const broken = parsed.getElementsByTagNameNS('*', 'parsererror').length > 0;
        // What it has read, written out by the browser, says the same.
        const expected = broken ? 'invalid_document' : ours(new XMLSerializer().serializeToString(parsed));
        const found = ours(changed);
        if (found === 'invalid_document') seen.refused += 1;
        else seen.accepted += 1;
        if (found !== expected) seen.differ.push([changed, found, expected, broken && parsed.documentElement.textContent]);
      }
      seen.count = seen.differ.length;
      seen.differ = seen.differ.slice(0, 8);
      return seen;
    }, documents);
    assert.deepEqual(outcome.differ, [], `${outcome.count} differ`);
    assert.ok(outcome.accepted > 500 && outcome.refused > 500, JSON.stringify(outcome));
  });

  test('a document that is made to be slow is read in no time', async () => {
    const took = await page.evaluate(() => {
      const declarations = Array.from({ length: 3000 }, (_, number) => `xmlns:a${number}=""`).join(' ');
      const slow = [`<a ${declarations}/>`, '<a>'.repeat(20_000), `<a${' '.repeat(60_000)}b`, `<a b=${'"'.repeat(60_000)}`, '&'.repeat(60_000), '<!--'.repeat(15_000), '<'.repeat(60_000)];
      const began = performance.now();
      for (const text of slow) {
        try {
          globalThis.events.parsePresence(text);
        } catch (error) {
          if (error.code !== 'invalid_document') throw error;
        }
      }
      return performance.now() - began;
    });
    assert.ok(took < 1000, `${took} ms`);
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

  /** Servers say so of an extension whose call is on hold, Asterisk in words of its own. */
  test('a call on hold has a lamp of its own', async () => {
    const target = (pname, pval) => `<d:local><d:target uri="sip:bob@192.0.2.1"><d:param pname="${pname}" pval="${pval}"/></d:target></d:local>`;
    const confirmed = (id, local = '') => `<d:dialog id="${id}"><d:state>confirmed</d:state>${local}</d:dialog>`;
    const no = target('+sip.rendering', 'no');
    const documents = [
      confirmed('1', no),
      confirmed('1', no.replace('pval=', 'pvalue=')),
      confirmed('1', target('sip.rendering', 'NO')),
      confirmed('1', target('+sip.rendering', 'yes')),
      confirmed('1', target('+sip.other', 'no')),
      confirmed('1', no) + confirmed('2'),
      confirmed('1', no) + confirmed('2', no),
      confirmed('1', no) + dialog('2', 'early'),
      // The other side of it holds: this one is in its call.
      confirmed('1', no.replaceAll('d:local', 'd:remote')),
    ].map((dialogs, version) => dialogInfo(version, 'full', dialogs));
    const lamps = await page.evaluate((documents) => {
      const listeners = {};
      const phone = {
        subscribe: () => ({ on: (type, listener) => { listeners[type] = listener; return () => {}; }, unsubscribe() {} }),
      };
      const lamps = [];
      globalThis.events.watchDialogs(phone, 'sip:bob@example.com', ({ state }) => lamps.push(state));
      for (const body of documents) listeners.notify({ contentType: 'application/dialog-info+xml', body });
      return lamps;
    }, documents);
    assert.deepEqual(lamps, ['held', 'held', 'held', 'busy', 'busy', 'busy', 'held', 'held', 'busy']);
    const info = await read('parseDialogInfo', documents[0]);
    assert.equal(info.dialogs[0].local.rendering, 'no');
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
