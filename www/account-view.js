/** Chooses the account, and shows how it is connected. */

import { accountLabel, accountName, isElks } from './account.js';
import { byId, element, settle } from './dom.js';

const CUSTOM = 'custom';

export class AccountView {
  #accounts = byId('accounts');
  #choices = byId('account-choices');
  #elksChoices = byId('elks-choices');
  #form = byId('custom-account');
  #toggle = byId('connect-toggle');

  /** @param handlers `{ choose(config), connect(), disconnect() }` */
  constructor(accounts, handlers) {
    for (const config of accounts) {
      const list = isElks(config) ? this.#elksChoices : this.#choices;
      this.#addChoice(list, accountName(config), accountLabel(config), () => handlers.choose(config));
    }
    byId('elks-accounts').hidden = !accounts.some(isElks);
    this.#addChoice(this.#choices, CUSTOM, 'Custom…', () => {
      byId('custom-server').focus();
    });
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      handlers.choose(this.#customConfig());
    });
    this.#toggle.addEventListener('click', () => {
      if (this.#toggle.dataset.action === 'disconnect') handlers.disconnect();
      else handlers.connect();
    });
  }

  /** Marks an account as the chosen one; without one, the form for a custom account. */
  select(name = CUSTOM) {
    const input = this.#accounts.querySelector(`input[value="${CSS.escape(name)}"]`);
    if (input) input.checked = true;
    this.#form.hidden = name !== CUSTOM;
  }

  show({ config, connection, registration, server }) {
    byId('fact-connection').textContent = connection;
    byId('fact-registration').textContent = registration;
    byId('fact-server').textContent = server ?? '–';
    const online = connection !== 'disconnected';
    const action = online ? 'disconnect' : 'connect';
    if (this.#toggle.dataset.action !== action) settle(this.#toggle);
    this.#toggle.dataset.action = action;
    this.#toggle.textContent = online ? 'Disconnect' : 'Connect';
    this.#toggle.disabled = config === null;
  }

  #addChoice(list, value, label, chosen) {
    const input = element('input', { type: 'radio', name: 'account', value });
    input.addEventListener('change', () => {
      this.#form.hidden = value !== CUSTOM;
      chosen();
    });
    list.append(element('label', { class: 'choice' }, input, element('span', {}, label)));
  }

  #customConfig() {
    const username = byId('custom-username').value.trim();
    const password = byId('custom-password').value;
    return {
      servers: byId('custom-server').value.trim(),
      uri: byId('custom-uri').value.trim(),
      ...((username || password) && { credentials: { ...(username && { username }), password } }),
    };
  }
}
