import assert from 'node:assert/strict';

import { keepPeerConnections, packets, received, toneMicrophone } from '../support/audio.mjs';
import { watchPage } from '../support/browser.mjs';
import { until } from '../support/until.mjs';

const TOLERANCE_HZ = 12;
const AUDIBLE_DBFS = -60;
// Of a meter whose 100 is full scale and whose 0 is -60 dBFS.
const SPEAKING = 30;
const SILENT = 3;

/** A new browser profile whose microphone is a tone, as pages of one user: they share locks and channels. */
export async function newProfile(browser, { tone = 1000, ...options } = {}) {
  const context = await browser.newContext(options);
  await context.addInitScript(keepPeerConnections);
  await context.addInitScript(toneMicrophone, tone);
  return context;
}

/** The demo page, used as a person would: by labels and roles. */
export class DemoPage {
  /** Opens the page and waits until it is registered. */
  static async open(profile, url, { account, expected } = {}) {
    const demo = new DemoPage();
    demo.page = await profile.newPage();
    demo.page.setDefaultTimeout(10_000);
    demo.problems = watchPage(demo.page, expected);
    await demo.page.goto(account ? `${url}/?account=${account}` : url);
    await demo.page.getByText(account ? `Registered · ${account}` : /^Registered · /).waitFor();
    return demo;
  }

  get destination() {
    return this.page.getByLabel('Number or address');
  }

  get callButton() {
    return this.button('Call');
  }

  get incoming() {
    return this.page.getByRole('dialog').filter({ hasText: 'Incoming call' });
  }

  /** What the page asks: of a transfer, or of where somebody has moved. */
  get question() {
    return this.page.getByRole('dialog').filter({ hasText: 'to refuse' });
  }

  /** Says yes to it, in the first of the ways. */
  async agree() {
    await this.question.getByRole('listitem').first().getByRole('button').click();
    await this.question.waitFor({ state: 'hidden' });
  }

  get alert() {
    return this.page.getByRole('alert');
  }

  get timer() {
    return this.page.getByRole('timer');
  }

  button(name) {
    return this.page.getByRole('button', { name, exact: true });
  }

  async call(number) {
    await this.destination.fill(number);
    await this.callButton.click();
  }

  /** Waits until buttons that have just come do something: what a key presses does not wait for them by itself. */
  settled() {
    return until('the buttons are settled', async () => (await this.page.locator('[aria-disabled="true"]').count()) === 0);
  }

  /** Waits until a call is up. */
  async inCall() {
    await this.timer.waitFor();
  }

  async hangUp() {
    await this.button('Hang up').click();
  }

  /** Waits until there is no call, and returns what the page says about the last one. */
  async idle() {
    await this.destination.waitFor();
    return this.page.locator('#announcement').textContent();
  }

  /** Waits for an error; returns its parts. */
  async error() {
    await this.alert.waitFor();
    const part = (name) => this.page.locator(`#error-${name}`).textContent();
    return { message: await part('message'), hint: await part('hint'), code: await part('code') };
  }

  /** @param {'You' | 'Them'} whose */
  async level(whose) {
    return Number(await this.page.getByRole('meter', { name: whose }).getAttribute('aria-valuenow'));
  }

  speaking(whose) {
    return until(`the meter "${whose}" moves`, async () => (await this.level(whose)) > SPEAKING);
  }

  silent(whose) {
    return until(`the meter "${whose}" rests`, async () => (await this.level(whose)) <= SILENT);
  }

  /** Waits until this is the tone that comes from the other side. */
  hears(frequency) {
    return until(`${frequency} Hz is heard`, async () => {
      const heard = await received(this.page);
      return heard && heard.level > AUDIBLE_DBFS && Math.abs(heard.frequency - frequency) < TOLERANCE_HZ;
    });
  }

  exchanges(atLeast) {
    return until(`${atLeast} packets each way`, async () => {
      const count = await packets(this.page);
      return count.sent >= atLeast && count.received >= atLeast && count;
    });
  }

  packets() {
    return packets(this.page);
  }

  /** Complains about what the page has complained about. */
  unblemished() {
    assert.deepEqual(this.problems, []);
  }
}
