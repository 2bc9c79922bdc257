/**
 * The tarball as npm would publish it, in every host of table.mjs: an application without a setting for the package loads it,
 * registers, calls the echo, hears itself and hangs up.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { launchBrowser } from '../support/browser.mjs';
import { useSandbox } from '../support/sandbox.mjs';
import { serveStatic } from '../support/static-server.mjs';
import { until } from '../support/until.mjs';
import { Host, pack } from './host.mjs';
import { chosen } from './table.mjs';

describe('hosts', { timeout: 1_800_000 }, () => {
  let browser;
  let sandbox;
  let tarball;
  let sip;

  before(async () => {
    [browser, sandbox, tarball] = await Promise.all([launchBrowser(), useSandbox(), pack()]);
    sip = `${sandbox.url.replace('http', 'ws')}/sip`;
  });
  after(async () => {
    await browser?.close();
    await sandbox?.stop();
  });

  /** What the page at this address has to tell of its call, and where its module came from. */
  async function callFrom(url) {
    const context = await browser.newContext();
    try {
      await context.addInitScript((server) => (globalThis.softphoneServer = server), sip);
      const page = await context.newPage();
      let module = 'text';
      page.on('response', (response) => {
        const isModule = /\.wasm(\?|$)/.test(response.url()) && response.ok() && !/html/.test(response.headers()['content-type']);
        if (isModule) module = 'file';
      });
      await page.goto(url, { timeout: 120_000 });
      // Development servers reload the page when they have found out what it imports.
      const ended = () => page.evaluate(() => globalThis.softphoneOutcome);
      return { outcome: await until('the page has called', ended, { deadline: 60_000 }), module };
    } finally {
      await context.close();
    }
  }

  for (const entry of chosen) {
    describe(entry.name, () => {
      let host;

      before(async () => {
        host = await Host.prepare(entry, tarball);
      });

      for (const [name, way] of Object.entries(entry.ways)) {
        test(name, async () => {
          for (const command of way.build ?? []) await host.run(command, name);
          const headers = way.policy && { 'content-security-policy': way.policy(sip) };
          const files = () => serveStatic({ '/': host.path(way.folder) }, {}, headers);
          const server = way.serve ? await host.serve(way.serve, name) : await files();
          try {
            const { outcome, module } = await callFrom(`${server.url}/${way.page ?? ''}`);
            assert.equal(outcome, 'audio both ways');
            assert.equal(module, way.text ? 'text' : 'file');
          } catch (error) {
            throw server.output ? new Error(`${error.message}\n--- ${entry.name} ---\n${server.output}`, { cause: error }) : error;
          } finally {
            await server.close();
          }
        });
      }
    });
  }
});
