// Calls that outlive their page (`resume: true`): the record of them is kept in sessionStorage, which a reload leaves
// alone and no other tab reads, encrypted with a key that no script can read. Loaded when it is needed, by the entry
// of the package and by `tabs.js`; not an entry of its own.

const DATABASE = 'wasm-softphone';
const STORE = 'keys';
const KEY = 'calls';
const PREFIX = 'wasm-softphone:';
const PAGE = `${PREFIX}page`;
// No record of the module is longer; base64 makes it a third longer.
const LONGEST = 24_000;
const NONCE = 12;
// A page that crashes leaves no word: how old its record is can be told to this.
const HEARTBEAT_MS = 10_000;
// A page that was reloaded still holds its lock for a moment.
const LOCK_MS = 2_000;

const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    // Opening: another version is there.
    request.onblocked = () => reject(new Error('blocked'));
  });

/** The key of this origin. It can be used, and not be read: that holds for this module too. */
async function key() {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = await done(opening);
  try {
    const keys = (mode) => database.transaction(STORE, mode).objectStore(STORE);
    const usable = (key) => key instanceof CryptoKey && !key.extractable && key.algorithm.name === 'AES-GCM';
    const known = await done(keys('readonly').get(KEY));
    if (usable(known)) return known;
    const fresh = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
    // Another tab may have been faster.
    const store = keys('readwrite');
    const faster = await done(store.get(KEY));
    if (usable(faster)) return faster;
    await done(store.put(fresh, KEY));
    return fresh;
  } finally {
    database.close();
  }
}

async function slotOf(account) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(account)));
  return `${PREFIX}calls:${[...digest.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** Holds a lock until this page is gone; `false`: it cannot be had in this time. */
function hold(name, patience) {
  return new Promise((resolve) => {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), patience);
    const held = () => {
      clearTimeout(timer);
      resolve(true);
      return new Promise(() => {});
    };
    navigator.locks.request(name, { signal: late.signal }, held).catch(() => resolve(false));
  });
}

let owner;

/** Whether what is in sessionStorage was left by this page before it was reloaded: a tab that is duplicated, and one that
 *  is opened by a script, gets a copy of what belongs to another. */
function isOwner() {
  const claim = async () => {
    if (!navigator.locks) return true;
    const known = sessionStorage.getItem(PAGE);
    if (known !== null && (await hold(PREFIX + known, LOCK_MS))) return true;
    const fresh = crypto.randomUUID();
    sessionStorage.setItem(PAGE, fresh);
    await hold(PREFIX + fresh, LOCK_MS);
    return known === null;
  };
  return (owner ??= claim());
}

export class RecordStore {
  #slot;
  #data;
  #key;
  #record = null;
  #kept = null;
  #writing = false;
  #heartbeat;
  #report;

  constructor(slot, account, key, report) {
    this.#slot = slot;
    this.#data = new TextEncoder().encode(account);
    this.#key = key;
    this.#report = report;
    addEventListener('pagehide', this.#seen);
  }

  /** Rejects where there is no such storage, or no key. `report` gets what goes wrong later. */
  static async open(account, report) {
    const [slot, secret] = await Promise.all([slotOf(account), key()]);
    return new RecordStore(slot, account, secret, report);
  }

  /** What the page before has left, and how many milliseconds ago: once. `null`: nothing. Rejects for what cannot be read. */
  async take() {
    const text = sessionStorage.getItem(this.#slot);
    const seen = Number(sessionStorage.getItem(`${this.#slot}:seen`));
    // Without a record nobody needs to wait for the answer.
    const owned = isOwner();
    if (text === null) return null;
    this.clear();
    if (!(await owned)) return null;
    const bytes = Uint8Array.from(atob(text.slice(0, LONGEST)), (char) => char.charCodeAt(0));
    const opened = await crypto.subtle.decrypt(this.#cipher(bytes.subarray(0, NONCE)), this.#key, bytes.subarray(NONCE));
    // A clock that was put back is no proof of youth.
    return { record: new TextDecoder().decode(opened), age: Math.abs(Date.now() - seen) };
  }

  /** Keeps this instead; `null`: nothing. */
  put(record) {
    if (record === null) {
      this.clear();
      return;
    }
    this.#record = record;
    this.#heartbeat ??= setInterval(this.#seen, HEARTBEAT_MS);
    this.#seen();
    this.#write();
  }

  clear() {
    this.#record = null;
    this.#kept = null;
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
    sessionStorage.removeItem(this.#slot);
    sessionStorage.removeItem(`${this.#slot}:seen`);
  }

  close() {
    this.clear();
    removeEventListener('pagehide', this.#seen);
  }

  #cipher(iv) {
    return { name: 'AES-GCM', iv, additionalData: this.#data };
  }

  #seen = () => {
    if (this.#record !== null) sessionStorage.setItem(`${this.#slot}:seen`, Date.now());
  };

  /** One after the other, so that the newest stays. */
  async #write() {
    if (this.#writing) return;
    this.#writing = true;
    try {
      while (this.#record !== null && this.#record !== this.#kept) {
        const record = this.#record;
        const iv = crypto.getRandomValues(new Uint8Array(NONCE));
        const sealed = new Uint8Array(await crypto.subtle.encrypt(this.#cipher(iv), this.#key, new TextEncoder().encode(record)));
        if (this.#record === null) break;
        sessionStorage.setItem(this.#slot, btoa(String.fromCharCode(...iv, ...sealed)));
        this.#kept = record;
      }
    } catch (error) {
      this.clear();
      this.#report(error);
    } finally {
      this.#writing = false;
    }
  }
}

/** What this page has kept for an account is not its own any more: another tab has the calls. */
export async function forgetCalls(account) {
  const slot = await slotOf(account);
  sessionStorage.removeItem(slot);
  sessionStorage.removeItem(`${slot}:seen`);
}

/** Keeps the calls of a phone, and hands it those of the page before. Never rejects: a phone without this is one all the same. */
export async function keepCalls(phone) {
  const report = (error) => phone.warn(`resume: ${error.code ?? error.name}: ${error.message}`);
  try {
    const store = await RecordStore.open(phone.resumeKey, report);
    const kept = await store.take().catch((error) => {
      report(Object.assign(new Error('what was kept cannot be read'), { name: error.name, code: 'invalid_record' }));
      return null;
    });
    phone.on('record', ({ record }) => store.put(record));
    if (phone.record !== null) store.put(phone.record);
    if (kept && phone.connection === 'disconnected') {
      try {
        phone.resumeCalls(kept.record, kept.age);
      } catch (error) {
        report(error);
      }
    }
    return store;
  } catch (error) {
    report(error);
    return null;
  }
}
