/** What the sandbox answers to (`cargo run -p sandbox`), for one-click dialling. */

import { accountLabel, accountName } from './account.js';
import { domainOf } from './address.js';
import { byId, element } from './dom.js';

const SANDBOX = 'sandbox.test';
const NUMBERS = [
  ['600', 'Echo: hear yourself'],
  ['601', 'A tone of 440 Hz'],
  ['602', 'Busy'],
  ['603', 'Rings, never answers'],
  ['604', 'Declines'],
  ['605', 'Early media, then answers'],
  ['606', 'Hangs up after 3 s'],
  ['607', 'Calls you back'],
];

export class NumbersView {
  #list = byId('numbers');
  #dial;

  /** @param dial called with what was chosen */
  constructor(dial) {
    this.#dial = dial;
  }

  /** The other accounts, and the numbers of the sandbox when that is where the account lives. */
  show(config, accounts) {
    const people = accounts
      .filter(({ uri }) => uri !== config.uri && domainOf(uri) === domainOf(config.uri))
      .map((other) => [accountName(other), `${accountLabel(other)}, if registered`]);
    const numbers = domainOf(config.uri) === SANDBOX ? NUMBERS : [];
    this.#list.replaceChildren(...[...people, ...numbers].map(([number, what]) => this.#item(number, what)));
  }

  #item(number, what) {
    const button = element('button', { type: 'button', class: 'number' },
      element('span', { class: 'number-digits' }, number), element('span', {}, what));
    button.addEventListener('click', () => this.#dial(number));
    return element('li', {}, button);
  }
}
