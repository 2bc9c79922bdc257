/** What the sandbox and its 46elks simulator answer to, for one-click dialling. */

import { accountLabel, accountName, isElks } from './account.js';
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
  ['moved', 'Has moved: asks where to'],
];
const ELKS_NUMBERS = [
  ['+46700000001', 'Echo: hear yourself'],
  ['+46700000002', 'Busy'],
  ['+46700000003', 'Never answers'],
  ['+46700000004', 'Fails at once'],
  ['+46700000005', 'Hangs up after 3 s'],
  ['+46700000006', 'Rings 20 s, then answers'],
  ['+46700000007', 'Plays your keys back'],
];
const SIP_NOTE = 'Open this page in a second tab: it takes another account, and the two can call each other.';
const ELKS_NOTE = '46elks calls this page first, then the number. The page answers that call by itself, and opens the '
  + 'microphone once the proxy has proven that it is the right one.';

export class NumbersView {
  #list = byId('numbers');
  #note = byId('numbers-note');
  #dial;

  /** @param dial called with what was chosen */
  constructor(dial) {
    this.#dial = dial;
  }

  /** The other accounts, and the numbers of the sandbox when that is where the account lives: all, or those that it offers. */
  show(config, accounts, offered) {
    const elks = isElks(config);
    this.#list.classList.toggle('wide', elks);
    this.#note.textContent = elks ? ELKS_NOTE : SIP_NOTE;
    if (elks) {
      this.#list.replaceChildren(...ELKS_NUMBERS.map(([number, what]) => this.#item(number, what)));
      return;
    }
    const people = accounts
      .filter(({ uri }) => uri !== config.uri && domainOf(uri) === domainOf(config.uri))
      .map((other) => [accountName(other), `${accountLabel(other)}, if registered`]);
    const numbers = domainOf(config.uri) === SANDBOX ? NUMBERS.filter(([number]) => offered?.includes(number) ?? true) : [];
    this.#list.replaceChildren(...[...people, ...numbers].map(([number, what]) => this.#item(number, what)));
  }

  #item(number, what) {
    const button = element('button', { type: 'button', class: 'number' },
      element('span', { class: 'number-digits' }, number), element('span', {}, what));
    button.addEventListener('click', () => this.#dial(number));
    return element('li', {}, button);
  }
}
