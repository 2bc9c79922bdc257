/**
 * Event packages: message waiting (RFC 3842), busy lamps (RFC 4235), presence (RFC 3863, RFC 4480). Optional, and
 * without a line of WebAssembly. XML is read by a reader of its own: the browser's DOMParser takes no text from a page
 * that requires Trusted Types. Documents with a DOCTYPE are refused. What is read comes from the network and is text,
 * never markup: show it with `textContent`.
 */

const MAX_SIZE = 65_536;
/** Dialogs or tuples in one document, and dialogs that are remembered. */
const MAX_ITEMS = 256;
const MAX_MESSAGE_LINES = 256;

const DIALOG_INFO = 'urn:ietf:params:xml:ns:dialog-info';
const PIDF = 'urn:ietf:params:xml:ns:pidf';
const DATA_MODEL = 'urn:ietf:params:xml:ns:pidf:data-model';
const RPID = 'urn:ietf:params:xml:ns:pidf:rpid';

const ACTIVITIES = new Set([
  'appointment', 'away', 'breakfast', 'busy', 'dinner', 'holiday', 'in-transit', 'looking-for-work', 'lunch', 'meal',
  'meeting', 'on-the-phone', 'other', 'performance', 'permanent-absence', 'playing', 'presentation', 'shopping',
  'sleeping', 'spectator', 'steering', 'travel', 'tv', 'unknown', 'vacation', 'working', 'worship',
]);

/** A document that cannot be read. */
export class DocumentError extends Error {
  name = 'DocumentError';
  code = 'invalid_document';
}

function check(text) {
  if (typeof text !== 'string') throw new DocumentError('The document is no text.');
  if (text.length > MAX_SIZE) throw new DocumentError('The document is too long.');
}

const malformed = () => new DocumentError('The document is not well-formed XML.');

const MAX_DEPTH = 64;
const NAME = '[A-Za-z_\\u0080-\\uffff][\\w.\\-\\u0080-\\uffff]*';
const QNAME = `(?:(${NAME}):)?(${NAME})`;
const START_TAG = new RegExp(`<${QNAME}`, 'y');
const ATTRIBUTE = new RegExp(`\\s+(${NAME}(?::${NAME})?)\\s*=\\s*(?:"([^"<]*)"|'([^'<]*)')`, 'y');
const TAG_END = /\s*(\/?)>/y;
const END_TAG = new RegExp(`</(${NAME}(?::${NAME})?)\\s*>`, 'y');
const INSTRUCTION = new RegExp(`^(${NAME})(?:\\s|$)`);
// eslint-disable-next-line no-control-regex
const NO_CHARACTER = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/;
const ENTITIES = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

function character(number) {
  if (!(number <= 0x10ffff) || (number >= 0xd800 && number <= 0xdfff)) throw malformed();
  const text = String.fromCodePoint(number);
  if (NO_CHARACTER.test(text)) throw malformed();
  return text;
}

/** Character data with its references. */
const decoded = (text) =>
  text.replace(/&(?:#x([\da-fA-F]{1,6});|#(\d{1,7});|(lt|gt|amp|quot|apos);)?/g, (_, hex, decimal, name) => {
    if (name) return ENTITIES[name];
    // Without any of them it is an ampersand that is no reference, or one to an entity that nobody has declared.
    return character(hex ? Number.parseInt(hex, 16) : Number(decimal));
  });

class XmlElement {
  children = [];
  attributes = new Map();
  /** Text, and elements in their places. */
  content = [];

  getAttribute(name) {
    return this.attributes.get(name);
  }

  get textContent() {
    return this.content.map((part) => (typeof part === 'string' ? part : part.textContent)).join('');
  }
}

/** The element at the top (XML 1.0 with namespaces, without document types). */
function readXml(source) {
  const text = source.replace(/^\ufeff/, '').replace(/\r\n?/g, '\n');
  if (NO_CHARACTER.test(text)) throw malformed();
  let top = null;
  const open = [];
  let at = 0;
  const match = (pattern) => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at = pattern.lastIndex;
    return found;
  };
  /** What is there up to this end, which is passed. */
  const through = (start, end) => {
    const stop = text.indexOf(end, at + start.length);
    if (stop < 0) throw malformed();
    const inside = text.slice(at + start.length, stop);
    at = stop + end.length;
    return inside;
  };
  const add = (characters) => {
    const parent = open.at(-1);
    if (parent) parent.element.content.push(characters);
    else throw malformed();
  };
  while (at < text.length) {
    const next = text.indexOf('<', at);
    const characters = text.slice(at, next < 0 ? text.length : next);
    at += characters.length;
    if (characters.includes(']]>')) throw malformed();
    if (open.length > 0 || characters.trim()) add(decoded(characters));
    if (next < 0) break;
    if (text.startsWith('<!--', at)) {
      if (/--|-$/.test(through('<!--', '-->'))) throw malformed();
    } else if (text.startsWith('<![CDATA[', at)) {
      add(through('<![CDATA[', ']]>'));
    } else if (text.startsWith('<?', at)) {
      const first = at === 0;
      const target = INSTRUCTION.exec(through('<?', '?>'))?.[1];
      if (!target || (target.toLowerCase() === 'xml' && !first)) throw malformed();
    } else if (text.startsWith('</', at)) {
      const name = match(END_TAG)?.[1];
      if (!name || open.pop()?.name !== name) throw malformed();
    } else {
      const [tag, prefix = '', localName] = match(START_TAG) ?? [];
      if (!tag || (open.length === 0 && top) || open.length >= MAX_DEPTH) throw malformed();
      const element = new XmlElement();
      let spaces = open.at(-1)?.spaces ?? new Map([['', null], ['xml', 'http://www.w3.org/XML/1998/namespace']]);
      const declarations = [];
      for (let found = match(ATTRIBUTE); found; found = match(ATTRIBUTE)) {
        const [, name, double, single] = found;
        if (element.attributes.has(name)) throw malformed();
        const value = decoded((double ?? single).replace(/[\t\n]/g, ' '));
        element.attributes.set(name, value);
        const declared = /^xmlns(?::(.+))?$/.exec(name);
        if (declared) declarations.push([declared[1] ?? '', value || null]);
      }
      if (declarations.length > 0) spaces = new Map([...spaces, ...declarations]);
      const end = match(TAG_END);
      const unknown = (name) => name.includes(':') && !name.startsWith('xmlns:') && !spaces.get(name.slice(0, name.indexOf(':')));
      if (!end || (prefix && !spaces.get(prefix)) || [...element.attributes.keys()].some(unknown)) throw malformed();
      element.localName = localName;
      element.namespaceURI = spaces.get(prefix) ?? null;
      const parent = open.at(-1)?.element;
      parent?.children.push(element);
      parent?.content.push(element);
      top ??= element;
      if (!end[1]) open.push({ element, name: tag.slice(1), spaces });
    }
  }
  if (!top || open.length > 0) throw malformed();
  return top;
}

function root(text, namespace, name) {
  check(text);
  // Before anything reads it: entities of its own are how a short document becomes a very long one.
  if (/<!(?:DOCTYPE|ENTITY)/i.test(text)) throw new DocumentError('A document type declaration is not accepted.');
  const element = readXml(text);
  if (element.localName !== name || element.namespaceURI !== namespace) throw new DocumentError(`The document is no <${name}>.`);
  return element;
}

const children = (element, namespace, name) =>
  element ? [...element.children].filter((child) => child.localName === name && child.namespaceURI === namespace) : [];
const child = (element, namespace, name) => children(element, namespace, name)[0];
const textOf = (element) => element?.textContent.trim() || undefined;
const attribute = (element, name) => element?.getAttribute(name)?.trim() || undefined;

function items(list) {
  if (list.length > MAX_ITEMS) throw new DocumentError('The document has too many entries.');
  return list;
}

/** `application/simple-message-summary` (RFC 3842). */
export function parseMessageSummary(text) {
  check(text);
  const lines = text.replace(/\r?\n[ \t]+/g, ' ').split(/\r?\n/, MAX_MESSAGE_LINES);
  const summary = { waiting: undefined, account: undefined, messages: {} };
  for (const line of lines) {
    // The headers of single messages follow an empty line.
    if (line.trim() === '' && summary.waiting !== undefined) break;
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (name === 'messages-waiting') {
      if (!/^(?:yes|no)$/i.test(value)) throw new DocumentError('Messages-Waiting is neither yes nor no.');
      summary.waiting = value.toLowerCase() === 'yes';
    } else if (name === 'message-account') {
      summary.account = value;
    } else if (/^(?:voice|fax|pager|multimedia|text|none)-message$/.test(name)) {
      const counts = /^(\d{1,9})\s*\/\s*(\d{1,9})(?:\s*\(\s*(\d{1,9})\s*\/\s*(\d{1,9})\s*\))?/.exec(value);
      if (!counts) continue;
      const [, fresh, old, urgent = 0, urgentOld = 0] = counts;
      summary.messages[name.slice(0, -'-message'.length)] =
        { new: Number(fresh), old: Number(old), urgentNew: Number(urgent), urgentOld: Number(urgentOld) };
    }
  }
  if (summary.waiting === undefined) throw new DocumentError('The document has no Messages-Waiting.');
  return summary;
}

function party(element) {
  const identity = child(element, DIALOG_INFO, 'identity');
  const target = child(element, DIALOG_INFO, 'target');
  // RFC 4235, section 5.2; servers write the name with its "+" and without it.
  const rendering = children(target, DIALOG_INFO, 'param').find((param) => /^\+?sip\.rendering$/i.test(attribute(param, 'pname') ?? ''));
  return element && {
    uri: textOf(identity),
    displayName: attribute(identity, 'display'),
    target: attribute(target, 'uri'),
    // Asterisk writes "pvalue" for "pval".
    rendering: (attribute(rendering, 'pval') ?? attribute(rendering, 'pvalue'))?.replace(/^"(.*)"$/, '$1').toLowerCase(),
  };
}

/** `application/dialog-info+xml` (RFC 4235). */
export function parseDialogInfo(text) {
  const info = root(text, DIALOG_INFO, 'dialog-info');
  const version = Number(attribute(info, 'version'));
  const state = attribute(info, 'state');
  if (!Number.isSafeInteger(version) || version < 0 || (state !== 'full' && state !== 'partial')) {
    throw new DocumentError('The <dialog-info> has no version or state.');
  }
  const dialogs = items(children(info, DIALOG_INFO, 'dialog')).map((dialog) => ({
    id: attribute(dialog, 'id') ?? '',
    callId: attribute(dialog, 'call-id'),
    localTag: attribute(dialog, 'local-tag'),
    remoteTag: attribute(dialog, 'remote-tag'),
    direction: attribute(dialog, 'direction'),
    state: textOf(child(dialog, DIALOG_INFO, 'state'))?.toLowerCase() ?? 'terminated',
    local: party(child(dialog, DIALOG_INFO, 'local')),
    remote: party(child(dialog, DIALOG_INFO, 'remote')),
  }));
  return { version, state, entity: attribute(info, 'entity'), dialogs };
}

/** `application/pidf+xml` (RFC 3863) with the activities and notes of RFC 4480. */
export function parsePresence(text) {
  const presence = root(text, PIDF, 'presence');
  const tuples = items(children(presence, PIDF, 'tuple')).map((tuple) => {
    const contact = child(tuple, PIDF, 'contact');
    const priority = Number(attribute(contact, 'priority'));
    const basic = textOf(child(child(tuple, PIDF, 'status'), PIDF, 'basic'))?.toLowerCase();
    return {
      id: attribute(tuple, 'id') ?? '',
      basic: basic === 'open' || basic === 'closed' ? basic : undefined,
      contact: textOf(contact),
      priority: priority >= 0 && priority <= 1 ? priority : undefined,
      note: textOf(child(tuple, PIDF, 'note')),
      timestamp: textOf(child(tuple, PIDF, 'timestamp')),
    };
  });
  const persons = items(children(presence, DATA_MODEL, 'person'));
  const activities = persons
    .flatMap((person) => children(person, RPID, 'activities'))
    .flatMap((list) => [...list.children])
    .filter((activity) => activity.namespaceURI === RPID && activity.localName !== 'note')
    .map((activity) => activity.localName);
  const notes = [
    ...persons.flatMap((person) => [
      ...children(person, DATA_MODEL, 'note'),
      ...children(person, RPID, 'activities').flatMap((list) => children(list, RPID, 'note')),
    ]),
    ...children(presence, PIDF, 'note'),
  ];
  return {
    entity: attribute(presence, 'entity'),
    open: tuples.some((tuple) => tuple.basic === 'open'),
    tuples,
    activities: [...new Set(activities)].slice(0, MAX_ITEMS),
    note: textOf(notes[0]) ?? tuples.find((tuple) => tuple.note)?.note,
  };
}

const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escape = (text) =>
  String(text)
    .toWellFormed()
    // What XML 1.0 cannot hold at all.
    .replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '')
    .replace(/[&<>"']/g, (character) => ESCAPES[character]);

/** A PIDF document for `publish('presence', …)`. */
export function presenceDocument({ entity, open, note, activities = [], contact, id = 'phone' }) {
  if (!entity || typeof open !== 'boolean') throw new TypeError('entity and open are needed.');
  if (!/^[A-Za-z_][\w.-]*$/.test(id)) throw new TypeError('id must be an XML name.');
  const unknown = activities.find((activity) => !ACTIVITIES.has(activity));
  if (unknown !== undefined) throw new TypeError(`"${unknown}" is no activity of RFC 4480.`);
  const rpid = activities.map((activity) => `<rpid:${activity}/>`).join('');
  return `<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="${PIDF}" xmlns:dm="${DATA_MODEL}" xmlns:rpid="${RPID}" entity="${escape(entity)}">\
<tuple id="${id}"><status><basic>${open ? 'open' : 'closed'}</basic></status>\
${contact ? `<contact>${escape(contact)}</contact>` : ''}${note ? `<note>${escape(note)}</note>` : ''}</tuple>\
${rpid && `<dm:person id="${id}-person"><rpid:activities>${rpid}</rpid:activities></dm:person>`}</presence>`;
}

/** Puts the documents of one dialog-info subscription together (RFC 4235, section 4.3). */
export class DialogList {
  #version = -1;
  #dialogs = new Map();

  /** Forgets what it knows: a new subscription counts from its own beginning. */
  reset() {
    this.#version = -1;
    this.#dialogs.clear();
  }

  /** Takes a document. Returns the dialogs that exist now, or `null` for a document that is older than the last. */
  update(info) {
    const full = info.state === 'full';
    if (info.version <= this.#version && !(full && info.version === 0)) return null;
    this.#version = info.version;
    if (full) this.#dialogs.clear();
    for (const dialog of info.dialogs) {
      if (dialog.state === 'terminated') this.#dialogs.delete(dialog.id);
      else if (this.#dialogs.has(dialog.id) || this.#dialogs.size < MAX_ITEMS) this.#dialogs.set(dialog.id, dialog);
    }
    return [...this.#dialogs.values()];
  }
}

function watch(phone, uri, event, type, { onError, onState, ...options }, read, reset) {
  const subscription = phone.subscribe(uri, event, { accept: [type], ...options });
  const stops = [
    subscription.on('notify', ({ contentType, body }) => {
      if (!body) return;
      try {
        if (contentType.split(';', 1)[0].trim().toLowerCase() !== type) throw new DocumentError(`"${contentType}" was not asked for.`);
        read(body);
      } catch (error) {
        // One document that cannot be read is no reason to lose the next; what a callback throws is the app's.
        if (!(error instanceof DocumentError)) throw error;
        onError?.(error);
      }
    }),
    subscription.on('state', (change) => {
      if (change.state !== 'active') reset?.();
      onState?.(change);
    }),
  ];
  return {
    subscription,
    stop() {
      for (const stop of stops.splice(0)) stop();
      subscription.unsubscribe();
    },
  };
}

/** Calls back with each message summary of a mailbox. */
export function watchMessageSummary(phone, uri, callback, options = {}) {
  return watch(phone, uri, 'message-summary', 'application/simple-message-summary', options, (body) => callback(parseMessageSummary(body)));
}

/** Calls back with the dialogs of a resource and what a lamp shows: `idle`, `ringing`, `busy` or `held`. */
export function watchDialogs(phone, uri, callback, options = {}) {
  const list = new DialogList();
  const read = (body) => {
    const dialogs = list.update(parseDialogInfo(body));
    if (!dialogs) return;
    const answered = dialogs.filter(({ state }) => state === 'confirmed');
    const held = answered.length > 0 && answered.every(({ local }) => local?.rendering === 'no');
    callback({ dialogs, state: held ? 'held' : answered.length > 0 ? 'busy' : dialogs.length > 0 ? 'ringing' : 'idle' });
  };
  return watch(phone, uri, 'dialog', 'application/dialog-info+xml', options, read, () => list.reset());
}

/** Calls back with each presence document of a presentity. */
export function watchPresence(phone, uri, callback, options = {}) {
  return watch(phone, uri, 'presence', 'application/pidf+xml', options, (body) => callback(parsePresence(body)));
}
