/** The little of the DOM that every view needs. */

export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`The page has no element "${id}".`);
  return found;
}

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Points an icon's `<use>` at another symbol of the page. */
export function setIcon(button, symbol) {
  button.querySelector('use').setAttribute('href', `#${symbol}`);
}

// What has just come to be under somebody's finger is not what they meant.
const SETTLE_MS = 500;
const settling = new WeakMap();

/** The buttons of `container` are new, or mean something else than a moment ago: for a moment they do nothing. */
export function settle(container) {
  const buttons = container.matches('button') ? [container] : [...container.querySelectorAll('button')];
  for (const button of buttons) {
    button.setAttribute('aria-disabled', 'true');
    clearTimeout(settling.get(button));
    settling.set(button, setTimeout(() => button.removeAttribute('aria-disabled'), SETTLE_MS));
  }
}

// Keys press buttons by a click too, and Enter in a field submits by one. Focus stays where it is, unlike with `disabled`.
document.addEventListener('click', (event) => {
  if (!event.target.closest('button[aria-disabled="true"]')) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);
