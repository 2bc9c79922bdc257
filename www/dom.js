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
