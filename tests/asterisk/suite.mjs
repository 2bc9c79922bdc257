import { appendFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Party, connect, servePages, talk } from '../interop/party.mjs';
import { launchBrowser } from '../support/browser.mjs';
import { writePart } from '../support/document.mjs';
import { until } from '../support/until.mjs';
import { Asterisk, DOMAIN, WEBSOCKET_URL, passwordOf } from './asterisk.mjs';

const DOCUMENT = fileURLToPath(new URL('../../docs/interop.md', import.meta.url));
const LOGS = process.env.TEST_LOGS ?? tmpdir();

/** A page with the package in it, registered at Asterisk. */
export class Phone extends Party {
  /** What its microphone hears is a tone of its own. `library`: "ours", or another one with a page of its own. */
  static async register(browser, url, user, { library = 'ours', ...more } = {}) {
    const tone = 600 + 100 * (user % 10) + 10 * Math.trunc((user % 100) / 10);
    return super.open(browser, url, library, {
      user: String(user),
      tone,
      expected: [/WebSocket connection to .* failed/],
      server: WEBSOCKET_URL,
      domain: DOMAIN,
      password: passwordOf(user),
      trustIdentity: true,
      ...more,
    });
  }

  /** Ends every call, and forgets them: the next test begins with none. */
  async clear() {
    await super.clear();
    await this.run(() => {
      globalThis.party.calls.length = 0;
      Object.assign(globalThis, { log: [], wire: [], registrations: [], dialed: null });
    });
    this.before = 0;
  }

  async close() {
    if (!this.page.isClosed()) return super.close();
    return this.context.close();
  }

  /** Calls an extension, or a user. */
  async calls(extension, state = 'active', deadline) {
    const { length } = await this.report();
    await this.dial(`sip:${extension}@${DOMAIN}`);
    return this.call(length, state, deadline);
  }

  /** What became of the last dial: `{ success, code, sipStatus }`. */
  dialed(deadline) {
    return until(`the dial of ${this.name} has an outcome`, () => this.page.evaluate(() => globalThis.dialed), { deadline });
  }

  /** Runs in the page, where `phone` and `events` are global. */
  run(task, argument) {
    return this.page.evaluate(task, argument);
  }

  registration(state, deadline) {
    return until(`${this.name} is ${state}`, async () => (await this.run(() => globalThis.phone.registration)) === state, { deadline });
  }

  /** The SIP messages that match, oldest first: whole, and without secrets. */
  async messages(pattern) {
    return (await this.log()).filter((text) => pattern.test(text));
  }

  /** Waits until this many messages match. */
  message(pattern, { count = 1, deadline } = {}) {
    return until(`${this.name} has ${count} of ${pattern}`, async () => {
      const messages = await this.messages(pattern);
      return messages.length >= count && messages.at(-1);
    }, { deadline });
  }

  /** Waits until this tone is heard in the newest call that is up: a call may give way to another. Returns when that was. */
  async hears(frequency, deadline) {
    await until(`${this.name} hears ${frequency} Hz in some call`, async () => {
      const index = (await this.report()).findLastIndex(({ state }) => state === 'active');
      const heard = index < 0 ? null : await (await this.call(index, 'active')).heard();
      return heard && heard.level > -60 && Math.abs(heard.frequency - frequency) < 12;
    }, { deadline });
    return Date.now();
  }

  /** The one call that is up. */
  only(deadline) {
    return until(`${this.name} has one call, which is up`, async () => {
      const up = (await this.report()).map(({ state }, index) => ({ state, index })).filter(({ state }) => state !== 'ended');
      return up.length === 1 && up[0].state === 'active' && this.call(up[0].index, 'active');
    }, { deadline });
  }
}

/** Seconds, as they stand in the table. */
export const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;

/** Both hear each other, by tone, level and packets. */
export async function talkAndCount(one, other) {
  await Promise.all([talk(one, other), one.exchanges(25), other.exchanges(25)]);
}

export { connect };

/**
 * Tests with an Asterisk of their own, and the table of docs/interop.md that is made of them.
 * @param name of the part, and of the logs
 * @param title of the table
 * @param define gets the bench: `cell` makes a test and its row, `phone` a telephone for it, `asterisk()` is the server
 */
export function suite(name, title, define) {
  const rows = [];
  let asterisk;
  let server;
  let browser;
  /** Those of this test, and those of earlier ones that can be used again, by user. */
  let phones = [];
  const idle = new Map();

  const bench = {
    asterisk: () => asterisk,

    /** A telephone of this user, for this test; with settings of the phone of its own it is a new one. */
    async phone(user, more) {
      const known = more ? undefined : idle.get(user);
      idle.delete(user);
      const phone = known ?? (await Phone.register(browser, server.url, user, more));
      phones.push(phone);
      phone.again = !more;
      return phone;
    },

    phones: (...users) => Promise.all(users.map((user) => bench.phone(user))),

    /** A row of the table, and the test that fills it; what `check` returns has been measured. */
    cell(feature, what, check) {
      const row = { feature, what, result: 'not run', measured: '' };
      rows.push(row);
      test(`${feature}: ${what}`, { timeout: 90_000 }, async () => {
        row.result = '**fail**';
        try {
          row.measured = (await check()) ?? '';
        } catch (error) {
          for (const phone of phones) phone.again = false;
          await keepLogs(row);
          throw error;
        }
        row.result = 'pass';
      });
    },
  };

  async function keepLogs({ feature, what }) {
    const file = join(LOGS, `${name}-failures.log`);
    for (const phone of phones) {
      const log = await phone.log().catch(({ message }) => [message]);
      await appendFile(file, [`=== ${feature}: ${what}: ${phone.user}`, ...log, ''].join('\n'));
    }
  }

  describe(`Asterisk, ${title}`, { timeout: 600_000 }, () => {
    before(async () => {
      // Each is kept as soon as it is there, for `after` to end it though another one fails.
      await Promise.all([
        Asterisk.start(name).then((started) => (asterisk = started)),
        servePages().then((started) => (server = started)),
        launchBrowser().then((started) => (browser = started)),
      ]);
    });
    afterEach(async () => {
      const used = phones;
      phones = [];
      await Promise.all(used.map(async (phone) => {
        if (!phone.again) return phone.close();
        await phone.clear();
        idle.set(Number(phone.user), phone);
        return null;
      }));
    });
    after(async () => {
      await Promise.all([...idle.values()].map((phone) => phone.close()));
      await browser?.close();
      await server?.close();
      await asterisk?.stop();
      if (process.execArgv.some((arg) => arg.startsWith('--test-name-pattern'))) return;
      const table = rows.map(({ feature, what, result, measured }) => `| ${feature} | ${what} | ${result} | ${measured} |`);
      const head = [`### Asterisk: ${title}`, '', '| feature | case | result | measured |', '|---|---|---|---|'];
      await writePart(DOCUMENT, `asterisk ${name}`, [...head, ...table].join('\n'));
    });
    define(bench);
  });
}
