/** Event packages: message waiting, busy lamps, presence. Needs a DOM (`DOMParser`) for everything but message waiting. */

/** A document that cannot be read. */
export class DocumentError extends Error {
  readonly code: 'invalid_document';
}

export interface MessageCounts {
  new: number;
  old: number;
  urgentNew: number;
  urgentOld: number;
}

export interface MessageSummary {
  waiting: boolean;
  account?: string;
  messages: Partial<Record<'voice' | 'fax' | 'pager' | 'multimedia' | 'text' | 'none', MessageCounts>>;
}

export interface DialogParty {
  uri?: string;
  displayName?: string;
  target?: string;
  /** `+sip.rendering` of the target (RFC 4235, section 5.2): "no" on the side that has put the call on hold. */
  rendering?: 'yes' | 'no' | 'unknown' | (string & {});
}

export interface DialogState {
  id: string;
  callId?: string;
  localTag?: string;
  remoteTag?: string;
  direction?: 'initiator' | 'recipient' | (string & {});
  state: 'trying' | 'proceeding' | 'early' | 'confirmed' | 'terminated' | (string & {});
  local?: DialogParty;
  remote?: DialogParty;
}

export interface DialogInfo {
  version: number;
  state: 'full' | 'partial';
  entity?: string;
  dialogs: DialogState[];
}

export interface Presence {
  entity?: string;
  /** Whether any tuple is open. */
  open: boolean;
  tuples: { id: string; basic?: 'open' | 'closed'; contact?: string; priority?: number; note?: string; timestamp?: string }[];
  /** RFC 4480, such as `on-the-phone`. */
  activities: string[];
  note?: string;
}

/** `application/simple-message-summary` (RFC 3842). Throws a {@link DocumentError}, as do the others. */
export function parseMessageSummary(text: string): MessageSummary;
/** `application/dialog-info+xml` (RFC 4235). */
export function parseDialogInfo(text: string): DialogInfo;
/** `application/pidf+xml` (RFC 3863). */
export function parsePresence(text: string): Presence;

/** A document for `publish('presence', …)`. Everything in it is escaped. */
export function presenceDocument(presence: {
  entity: string;
  open: boolean;
  note?: string;
  activities?: string[];
  contact?: string;
  id?: string;
}): string;

/** Puts the full and partial documents of one subscription together (RFC 4235, section 4.3). */
export class DialogList {
  /** The dialogs that exist now; `null` for a document that is older than the last. */
  update(info: DialogInfo): DialogState[] | null;
  reset(): void;
}

/** What is needed of a `DialStrategy`. */
export interface Subscriber<S extends WatchedSubscription = WatchedSubscription> {
  subscribe(target: string, event: string, options?: { accept?: string[]; expires?: number }): S;
}
export interface WatchedSubscription {
  on(type: 'notify', listener: (event: { contentType: string; body: string }) => void): () => void;
  on(type: 'state', listener: (event: { state: 'pending' | 'active' | 'terminated'; error?: Error }) => void): () => void;
  unsubscribe(): void | Promise<void>;
}

export interface WatchOptions {
  /** Lifetime to ask for, seconds. */
  expires?: number;
  /** A document could not be read. The next one is waited for. */
  onError?: (error: DocumentError) => void;
  onState?: (event: { state: 'pending' | 'active' | 'terminated'; error?: Error }) => void;
}

export interface Watch<S = WatchedSubscription> {
  readonly subscription: S;
  /** Unsubscribes. Safe to call twice. */
  stop(): void;
}

/** Messages that wait at `uri` (package `message-summary`, RFC 3842): now and at each change. Throws like `subscribe()`, as do the others. */
export function watchMessageSummary<S extends WatchedSubscription>(phone: Subscriber<S>, uri: string, callback: (summary: MessageSummary) => void, options?: WatchOptions): Watch<S>;
/** Whether `uri` is in a call (package `dialog`, RFC 4235): now and at each change. `held`: each of its calls is on hold there. */
export function watchDialogs<S extends WatchedSubscription>(phone: Subscriber<S>, uri: string, callback: (lamp: { state: 'idle' | 'ringing' | 'busy' | 'held'; dialogs: DialogState[] }) => void, options?: WatchOptions): Watch<S>;
/** Whether `uri` is there (package `presence`, RFC 3856): now and at each change. */
export function watchPresence<S extends WatchedSubscription>(phone: Subscriber<S>, uri: string, callback: (presence: Presence) => void, options?: WatchOptions): Watch<S>;
