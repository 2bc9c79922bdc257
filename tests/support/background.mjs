import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ARGS, LOOPBACK, browserProgram, canSandbox } from './browser.mjs';
import { until } from './until.mjs';

/**
 * Chromium as people have it: tabs in a window, of which one is shown. Playwright makes each page believe that it is the one
 * that is looked at, and switches off what browsers do to the others; so this speaks DevTools' protocol itself, by pipe.
 */
export class TabbedBrowser {
  #process;
  #profile;
  #ended;
  #pending = new Map();
  #number = 0;

  /** `intensive`: seconds after which a hidden page is throttled as after five minutes, to one wake-up a minute. */
  static async launch({ intensive }) {
    const browser = new TabbedBrowser();
    browser.#profile = await mkdtemp(join(tmpdir(), 'tabs-'));
    browser.#process = spawn(
      browserProgram(),
      [
        ...ARGS,
        LOOPBACK,
        ...(canSandbox() ? [] : ['--no-sandbox']),
        '--headless=new',
        '--remote-debugging-pipe',
        `--user-data-dir=${browser.#profile}`,
        '--no-default-browser-check',
        `--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/${intensive}`,
        'about:blank',
      ],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
    );
    const [, , , , output] = browser.#process.stdio;
    let rest = '';
    output.setEncoding('utf8').on('data', (text) => {
      const messages = (rest + text).split('\0');
      rest = messages.pop();
      for (const message of messages) browser.#received(JSON.parse(message));
    });
    browser.#ended = new Promise((resolve) => browser.#process.once('close', resolve));
    browser.#ended.then(() => {
      for (const { reject } of browser.#pending.values()) reject(new Error('the browser has ended'));
      browser.#pending.clear();
    });
    return browser;
  }

  send(method, params = {}, sessionId) {
    const id = (this.#number += 1);
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  #received({ id, result, error }) {
    const waiting = this.#pending.get(id);
    this.#pending.delete(id);
    if (error) waiting?.reject(new Error(error.message));
    else waiting?.resolve(result);
  }

  /** A tab in front of the others. */
  async open(url) {
    const { targetId } = await this.send('Target.createTarget', { url });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const tab = new Tab(this, targetId, sessionId);
    await until('the page is loaded', () => tab.evaluate((url) => location.href === url && document.readyState === 'complete', url));
    return tab;
  }

  async close() {
    if (this.#process.exitCode === null) this.#process.kill('SIGKILL');
    await this.#ended;
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

class Tab {
  #browser;
  #target;
  #session;

  constructor(browser, target, session) {
    this.#browser = browser;
    this.#target = target;
    this.#session = session;
  }

  async evaluate(task, argument) {
    const expression = `(${task})(${JSON.stringify(argument)})`;
    const { result, exceptionDetails } = await this.#browser.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true }, this.#session);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  toFront() {
    return this.#browser.send('Target.activateTarget', { targetId: this.#target });
  }

  /** As the browser does it to tabs that nobody has looked at for long; `active` thaws it. */
  lifecycle(state) {
    return this.#browser.send('Page.setWebLifecycleState', { state }, this.#session);
  }
}
