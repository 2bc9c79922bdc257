/** The accounts of this page: ready-made ones of the server that serves it, and one that the user types in. */

import { userOf } from './address.js';
import { fetchDemo } from './demo.js';
import { withFreshSession } from './session.js';

/** @returns {Promise<{ accounts: object[], numbers?: string[] }>} settings for DialStrategy: SIP accounts, then those of 46elks */
export async function loadAccounts() {
  const { sip, elks = [], numbers } = await fetchDemo();
  return { accounts: [...sip, ...elks.map(withFreshSession)], numbers };
}

export function isElks(config) {
  return config?.providerId === '46elks';
}

export function accountName(config) {
  return userOf(config.uri);
}

export function accountLabel(config) {
  const name = config.displayName ?? accountName(config);
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/**
 * Marks an account as used by this tab, so that the next tab takes another one and the two can call each other.
 * The browser releases the lock by itself when the tab goes.
 */
export class AccountClaim {
  #release = null;
  #uri = null;

  /** @returns {Promise<boolean>} whether no other tab has it */
  async take(config) {
    if (config.uri === this.#uri) return true;
    this.drop();
    if (!navigator.locks) return true;
    const taken = await this.#lock(config.uri);
    if (taken) this.#uri = config.uri;
    return taken;
  }

  #lock(uri) {
    return new Promise((resolve, reject) => {
      navigator.locks
        .request(`wasm-softphone:${uri}`, { ifAvailable: true }, (lock) => {
          resolve(lock !== null);
          return lock && new Promise((release) => { this.#release = release; });
        })
        .catch(reject);
    });
  }

  drop() {
    this.#release?.();
    this.#release = null;
    this.#uri = null;
  }
}

/**
 * The account to begin with: the one that the address bar names (`?account=bob`), else the first that no other
 * tab uses, else the first.
 */
export async function chooseAccount(accounts, claim, wanted) {
  const named = accounts.find((config) => accountName(config) === wanted);
  if (named) {
    await claim.take(named);
    return named;
  }
  for (const config of accounts) {
    if (await claim.take(config)) return config;
  }
  return accounts[0];
}
