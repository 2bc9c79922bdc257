import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

import { chromium } from 'playwright-core';

export const ARGS = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
];

/** On a machine with nothing but a loopback interface there would be no ICE candidate at all. */
export const LOOPBACK = '--allow-loopback-in-peer-connection';

/** Chromium: `CHROMIUM`, or the one on PATH. */
export function browserProgram() {
  return process.env.CHROMIUM ?? onPath('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable');
}

/** Root (a container, CI) can have no sandbox of the browser's kind. */
export function canSandbox() {
  return process.getuid?.() !== 0;
}

/** Starts it; with `loopback` audio goes over 127.0.0.1 too. */
export function launchBrowser({ executablePath = browserProgram(), loopback = true, args = [] } = {}) {
  return chromium.launch({
    executablePath,
    chromiumSandbox: canSandbox(),
    args: [...ARGS, ...(loopback ? [LOOPBACK] : []), ...args],
    // With it, no audio reaches an analyser.
    ignoreDefaultArgs: ['--mute-audio'],
  });
}

function onPath(...names) {
  for (const name of names) {
    for (const folder of (process.env.PATH ?? '').split(delimiter)) {
      const file = join(folder, name);
      try {
        accessSync(file, constants.X_OK);
        return file;
      } catch {
        continue;
      }
    }
  }
  throw new Error(`No Chromium: set CHROMIUM, or put one of ${names.join(', ')} on PATH.`);
}

/** Collects everything that a page must not do: errors in the console, exceptions, breaches of its CSP. */
export function watchPage(page, expected = []) {
  const problems = [];
  const note = (text) => {
    if (!expected.some((pattern) => pattern.test(text))) problems.push(text);
  };
  page.on('console', (message) => {
    if (message.type() === 'error' || /content security policy/i.test(message.text())) note(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => note(`exception: ${error.stack ?? error}`));
  page.on('crash', () => note('the page has crashed'));
  return problems;
}
