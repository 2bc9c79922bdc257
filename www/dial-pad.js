/** Twelve keys; one component for dialling and for tones during a call. */

import { element } from './dom.js';

const KEYS = [
  ['1', ''], ['2', 'ABC'], ['3', 'DEF'],
  ['4', 'GHI'], ['5', 'JKL'], ['6', 'MNO'],
  ['7', 'PQRS'], ['8', 'TUV'], ['9', 'WXYZ'],
  ['*', ''], ['0', '+'], ['#', ''],
];
const SPOKEN = { '*': 'star', '#': 'hash' };
const LONG_PRESS = 500;

/** Fills `container` with keys. A long press on 0 is a "+" where `plus` allows it. */
export function fillDialPad(container, press, { plus = false } = {}) {
  for (const [key, letters] of KEYS) {
    const button = element('button', { type: 'button', 'data-key': key },
      element('span', { class: 'digit' }, key),
      element('span', { class: 'letters', 'aria-hidden': 'true' }, key === '0' && !plus ? '' : letters));
    if (SPOKEN[key]) button.setAttribute('aria-label', SPOKEN[key]);
    if (key === '0' && plus) onLongPress(button, () => press('+'), () => press('0'));
    else button.addEventListener('click', () => press(key));
    container.append(button);
  }
}

/** Shows that a key was pressed on the keyboard. */
export function flashKey(container, key) {
  const button = container.querySelector(`[data-key="${CSS.escape(key)}"]`);
  button?.animate?.([{ filter: 'brightness(0.8)' }, { filter: 'none' }], { duration: 180 });
}

export function isDialKey(key) {
  return /^[\d*#]$/.test(key);
}

function onLongPress(button, long, short) {
  let timer = 0;
  let done = false;
  button.addEventListener('pointerdown', () => {
    done = false;
    timer = setTimeout(() => {
      done = true;
      long();
    }, LONG_PRESS);
  });
  for (const type of ['pointerup', 'pointerleave', 'pointercancel']) {
    button.addEventListener(type, () => clearTimeout(timer));
  }
  button.addEventListener('click', () => {
    if (!done) short();
    done = false;
  });
  button.addEventListener('contextmenu', (event) => event.preventDefault());
}
