// The types of wasm-softphone, written by hand and checked by `tsc --strict` (tests/types).

declare global {
  // For consumers whose `lib` has no `esnext.disposable`; with it, the two declarations merge.
  interface SymbolConstructor {
    readonly dispose: unique symbol;
  }
}

/** Where the WebAssembly module comes from. Default: the `.wasm` file beside the package's JavaScript; where a host does not take that along,
 *  or does not let it be fetched, a copy inside the package's JavaScript. */
export type InitSource = RequestInfo | URL | Response | BufferSource | WebAssembly.Module;

/** Loads the WebAssembly module once; later calls return the same promise; a failed load can be retried. Rejects with `module_unavailable`
 *  and a hint for the case at hand. In Node it reads the file; a phone needs the window of a browser.
 *  Importing the package has no side effect (safe in Node, SSR and workers). */
export default function init(source?: InitSource | Promise<InitSource> | { module_or_path: InitSource | Promise<InitSource> }): Promise<void>;

export type StrategyName = 'sip-invite' | 'rest-originate';

export interface DialStrategyConfig {
  /** SIP-over-WebSocket URLs, tried in order, or with priorities and weights. `wss:`; plain `ws:` only to a loopback host, or with
   *  `insecureLocalServers`. */
  servers: string | (string | Server)[];
  /** Plain `ws:` may lead to the local network too: a private address, a name without a dot, or one in `.local`, `.lan`, `.internal`, `.home.arpa`.
   *  Everybody there can listen to the signalling, and to the keys of the audio in it. For a PBX on a desk; an https: page may not open it.
   *  Default false. */
  insecureLocalServers?: boolean;
  /** Address of record (RFC 3261, section 10): "sip:alice@example.com". */
  uri: string;
  /** Display name in From. */
  displayName?: string;
  /** SIP credentials (never a REST API's). A list is for several realms, such as those of the registrar and of a gateway behind it: each entry
   *  names its `realm`, one without is for the others. A function is called with the realm of each challenge, and its result is not kept.
   *  A realm that the registrar has not used is answered only with credentials that name it: a peer may have made it up.
   *  The function has two minutes. After that connect(), dial() or the registration fails with `auth_failed`, and an error that names it. */
  credentials?: SipCredentials | SipCredentials[] | ((challenge: { realm: string }) => SipCredentials | Promise<SipCredentials>);
  /** Register after connecting (RFC 3261, section 10); without a binding nobody can call this phone. Default true. */
  register?: boolean;
  /** Lifetime of the binding to ask for, seconds, 1 to 86400; default 600. The phone refreshes it in time. */
  registerExpires?: number;
  /** "custom" (default), "46elks", or one added with registerProvider(). */
  providerId?: string;
  /** Default "auto": the provider's capabilities and the destination decide. */
  strategy?: 'auto' | StrategyName;
  /** VueSIP's spelling of strategy: "auto". */
  autoDetect?: boolean;
  /** Base URL of the call proxy; needed for "rest-originate". https:, same-origin path, or loopback http:, without a query. */
  proxyUrl?: string;
  /** Caller-ID key known to the proxy ("main"), never a credential: 1 to 64 of A-Z, a-z, 0-9, "-", "_" and ".".
   *  Default: the proxy's own. */
  callerId?: string;
  /** Headers of the host app's own session with the proxy, e.g. a short-lived bearer token. `Authorization: Basic` is refused.
   *  A function is called before each request. Its last result stays in memory for requests that cannot wait, when the page is being left. */
  proxyHeaders?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  /** STUN and TURN servers, as for RTCPeerConnection. Default: none. A function, for TURN credentials that expire, is called for each
   *  call's media and before each ICE restart; it has 10 s. Without a result a new call fails (`ice_failed`), and one that is up keeps
   *  its servers. Changes by `configure()` apply to a call from its next restart on. */
  iceServers?: RTCIceServer[] | (() => RTCIceServer[] | Promise<RTCIceServer[]>);
  /** Default "all"; "relay" hides this machine's addresses, and needs a TURN server. */
  iceTransportPolicy?: RTCIceTransportPolicy;
  /** Longest wait for ICE candidates before an offer or answer is sent, milliseconds, 0 to 60000; default 500. It is sent earlier
   *  once its candidates are useful. */
  iceGatherTimeout?: number;
  /** Longest outage of a call's media (`reconnecting`) while the peer can be reached, milliseconds, 1000 to 600000; default 30000. */
  mediaGrace?: number;
  /** Longest outage of a call's media while there is no connection to a server, and longest wait of everything else for a connection: a
   *  call that is being made, a BYE, a message; milliseconds, 1000 to 600000; default 60000. No call ends while its audio flows. */
  signallingGrace?: number;
  /** Codec names in order of preference, e.g. ["PCMA", "PCMU"]; the rest follow. Default: the provider's. */
  codecs?: string[];
  /** The microphone; `false` opens none and only listens. Default true. */
  audio?: boolean | MediaTrackConstraints;
  /** Where remote audio plays; default: an element of its own for each call. `null`: the app plays `call.remoteStream`. An element plays one
   *  call at a time: the one that may be heard; of several, the last one answered or taken off hold. The others play in elements of their own. */
  audioElement?: HTMLAudioElement | null;
  /** Country of national numbers, e.g. "SE". Without it a telephone number needs its "+" and country code. */
  defaultCountry?: string;
  /** Session timers (RFC 4028), which end a call whose peer is gone. `true` (default) asks for 1800 seconds, `expires` for 90 to 86400.
   *  `false`, as with a provider without them, asks for none, and accepts the peer's. */
  sessionTimers?: boolean | { expires: number };
  /** What a 3xx does (RFC 3261, section 8.1.3.4): "off" (default) fails the dial with `redirected`, "ask" emits `redirect` at
   *  the call, a number calls that many of the targets in turn, 1 to 20. Whoever can answer a call can send it anywhere. */
  redirects?: 'off' | 'ask' | number;
  /** Whose INVITE with Replaces (RFC 3891) is accepted at once, without the user. "peer" (default): the peer itself, by its address, and a
   *  caller that it refers (Referred-By) while it holds the call; with `trustIdentity` every caller with an asserted identity, and nobody
   *  else. "any": everybody who knows the tags of the dialog, which servers may publish (RFC 4235). "ask": nobody. Any other such INVITE is
   *  `incoming`, with `call.replaces`. mute() and `audio: false` carry over in any case. */
  replaces?: 'peer' | 'any' | 'ask';
  /** Trust P-Asserted-Identity (RFC 3325), Remote-Party-ID, Diversion and History-Info (RFC 5806, RFC 7044): only if the server removes
   *  those of callers. Default false. */
  trustIdentity?: boolean;
  /** Emit `messageSummary` for a NOTIFY about waiting messages (RFC 3842) without a subscription, as Asterisk, FreeSWITCH and others send it to
   *  each phone that is registered. Default: where it comes over the connection that is (or is being) registered and names this phone,
   *  otherwise it gets 481. `true`: without a registration too; `false`: never. It proves no more than a text message does, unlike the
   *  NOTIFY of a subscription. */
  unsolicitedMessageSummary?: boolean;
  /** Callers that may ask for auto-answer (RFC 5373, Call-Info, Alert-Info): "bob@example.com", "@example.com" or "*". The microphone opens
   *  without a question, though never beside another call. With `trustIdentity` the asserted identity counts, otherwise From, which a
   *  caller can forge unless the server checks it. Default: none. */
  autoAnswer?: string[];
  /** `+sip.instance` (RFC 5626, section 4.1): a URN, "urn:uuid:...", that stays the same for this installation. Default: one that is kept in
   *  localStorage, so that the binding of the next page replaces this one's. Tabs and phones that are connected at the same time have one
   *  each, by Web Locks. Without these, a new one for each phone. */
  instanceId?: string;
  /** Ends calls, unregisters and ends subscriptions when the page is closed, reloaded or left (`pagehide`): BYE, CANCEL, or 480 to a call
   *  that rings. Not where the browser keeps the page to show it again (`event.persisted`), and with `resume` not the calls that the next
   *  page takes up. Calls by REST end with the page in any case. Default true. */
  hangupOnUnload?: boolean;
  /** Hides this user's identity in calls and messages (RFC 3323): `Privacy: id` in each message of a call, an anonymous From, nothing that
   *  names the account. The server learns the account (P-Preferred-Identity, RFC 3325) and has to remove it. Default false. */
  anonymous?: boolean;
  /** Calls survive a reload of the page. Their record is kept in sessionStorage, encrypted with a key that no script can read, without
   *  credentials. The next page makes a phone with the same configuration, and connect() takes them up: each appears in `calls` and in a
   *  "call" event as `reconnecting`, and is `active` once the peer has agreed. The next page must do so within `signallingGrace`. Answered
   *  SIP calls only. Default false. */
  resume?: boolean;
  /** Emits "log" events for everything, the SIP messages included. Credentials, keys, what stands behind the `?` of a server's URL, and
   *  the values of `extraHeaders` are not in them. Warnings and errors are emitted without it too. */
  debug?: boolean;
}

/** A server among several (RFC 2782): the lowest priority first, those of one priority at random in proportion to their weights. */
export interface Server {
  url: string;
  /** 0 to 65535; default: its place in the list. */
  priority?: number;
  /** 0 to 65535; default 1. */
  weight?: number;
}

/** One of the three secrets. */
export interface SipCredentials {
  /** Default: the user part of `uri`. */
  username?: string;
  /** For digest authentication (RFC 7616, RFC 8760): SHA-512-256, SHA-256 or MD5, whichever is the strongest that is asked for. */
  password?: string;
  /** Instead of the password, the hash H(username:realm:password) in hex; it fits challenges of its algorithm. */
  ha1?: string;
  /** The only realm whose challenges are answered. Default: those that the server names. */
  realm?: string;
  /** An access token (RFC 8898), with no password beside it. Sent to the registrar and the server only, over TLS or to this
   *  machine, and never within a call. With a function for `credentials` an expired token is replaced. */
  bearerToken?: string;
}

export interface DialOptions {
  /** Aborts the dial until dial() has resolved; after that end the call with hangup(). A signal with a time limit, e.g.
   *  AbortSignal.timeout(), would otherwise cut a conversation off. */
  signal?: AbortSignal;
  /** Milliseconds until the dial fails with code "timeout", 1 or more. Without it a call that nobody answers
   *  fails with "no_answer" after three minutes. */
  timeout?: number;
  /** Default: that of the configuration. */
  strategy?: 'auto' | StrategyName;
  /** For "rest-originate"; default: that of the configuration. */
  callerId?: string;
  /** For "sip-invite" only: headers of the INVITE, 2048 bytes a value. Those that the phone sets itself are refused with `invalid_config`. */
  extraHeaders?: Record<string, string>;
  /** The microphone of this call; default: that of the configuration. */
  audio?: boolean | MediaTrackConstraints;
  /** The application's own, for `call.metadata`: a customer, a ticket. Nothing of it is sent. */
  metadata?: unknown;
  /** Called for each stage: progress of both strategies in one vocabulary. The call exists from the first stage on. "sip-invite" goes
   *  through `preparing`, `requesting` (the INVITE is out), `ringing` (180), `early-media` (the far end's audio is heard) and `connected`. */
  onProgress?: (stage: DialStage, call: Call) => void;
}

/** "rest-originate" goes through `preparing` (microphone), `requesting` (the proxy is asked), `ringing-client` (the provider calls
 *  this phone), `client-connected` (answered by itself; nothing is heard or sent yet), `ringing` and `connected` (the proxy has confirmed
 *  that it is the provider's call). The provider does not tell when the far end picks up: until then its ringing is heard in the call. */
export type DialStage = 'preparing' | 'requesting' | 'ringing-client' | 'client-connected' | 'ringing' | 'early-media' | 'connected';

/** dial() resolves once the far end has answered (for rest-originate: once the bridge is confirmed), or has failed for good, with the outcome;
 *  it never rejects, and sets `error` and `lastResult` on every path. Until then the call is in `calls`, in "call" events and in onProgress. */
export type DialResult =
  | { success: true; callId: string; strategy: StrategyName; call: Call; error?: undefined }
  | { success: false; callId?: string; strategy?: StrategyName; call?: undefined; error: SoftphoneError };

/** What dial() returns: the promise of its result, with the call at once: `const { call } = phone.dial('600')` can be hung up while it rings.
 *  `null` for what is refused before there is a call: the result says why. */
export type Dialing = Promise<DialResult> & { readonly call: Call | null };

/** An Error with a stable machine-readable code; the message is safe to show and holds no secret. */
export interface SoftphoneError extends Error {
  readonly code: ErrorCode;
  /** The status of the SIP response behind it (RFC 3261, section 21). */
  readonly sipStatus?: number;
  /** Retry-After of the response, seconds (RFC 3261, section 20.33). */
  readonly retryAfter?: number;
  /** A later attempt may succeed with the same configuration. */
  readonly retryable: boolean;
  /** What to do about it, in one sentence. */
  readonly hint?: string;
  /** For `JSON.stringify`: name, message, and what is above. */
  toJSON?(): Record<string, unknown>;
}
/** Whether this is an error of this package, also of another frame. */
export function isSoftphoneError(value: unknown): value is SoftphoneError;
export type ErrorCode =
  | 'invalid_config' | 'invalid_destination' | 'not_configured' | 'not_connected' | 'already_dialing'
  | 'aborted' | 'timeout' | 'transport' | 'auth_failed' | 'registration_failed'
  | 'media_denied' | 'media_unavailable' | 'ice_failed'
  | 'busy' | 'declined' | 'no_answer' | 'not_found' | 'forbidden' | 'unsupported_by_provider' | 'server_error'
  | 'proxy_required' | 'proxy_unreachable' | 'proxy_denied' | 'proxy_rate_limited' | 'proxy_error' | 'provider_error'
  | 'redirected' | 'not_acceptable' | 'invalid_record' | 'invalid_state' | 'fatal' | 'not_initialized' | 'module_unavailable'
  | 'bridge_missing' | 'unverified_bridge' | 'ended' | (string & {});

/** Adds a provider to those built in, "custom" and "46elks". Throws `invalid_config` naming the field, and for a taken id. */
export function registerProvider(provider: Provider): void;
/** What a provider can do. */
export interface Provider {
  /** For `providerId`: 1 to 64 visible ASCII characters. */
  id: string;
  /** For people; default: the id. */
  name?: string;
  /** Ways of calling the telephone network, best first; sip: addresses always go by sip-invite. */
  strategies: StrategyName[];
  /** Offer RFC 4028 session timers; default true. */
  sessionTimers?: boolean;
  /** Codec names in order of preference, where the configuration has none. */
  codecs?: string[];
  /** SIP-over-WebSocket URLs, where the configuration has none. */
  servers?: string | string[];
}

/** One 46elks call through the proxy without a DialStrategy, for apps that answer the bridge leg by other means. Resolves once the proxy
 *  has taken the call on, and claims it at once: what answers the provider's call must make sure that it answers no other one.
 *  Rejects with SoftphoneError. `destination`: +E.164 or tel:. */
export function originateCall(options: { proxyUrl: string; destination: string; callerId?: string; headers?: Record<string, string>; signal?: AbortSignal }): Promise<OriginatedCall>;
export interface OriginatedCall {
  /** The UUID by which the proxy knows the call. */
  readonly id: string;
  readonly direction: 'outgoing';
  /** The number that the provider's call shows. */
  readonly from: string;
  readonly to: string;
  /** The proxy's word, as it is now: "ringing_client", "bridging", ...; "ended" at the end. */
  readonly state: string;
  /** Gives the call up; resolves when it is over here, and the proxy has been or is being told. The provider knows no
   *  way to end a leg that is up: what has answered it must hang up too. */
  cancel(): Promise<void>;
}

export class DialStrategy {
  /** Does nothing until connect(). It can be made before the module is there: listeners are kept, connect() loads the module, and then throws
   *  what is wrong here. Until then what needs the module throws or rejects with `not_initialized`.
   *  Throws `invalid_config` naming the field; an option that does not exist is refused by its name, unless it is `undefined`. Own
   *  enumerable properties count. So are those of `dial()`, `answer()` and the like. */
  constructor(config?: DialStrategyConfig);
  /** Merges into the configuration; what is missing or `undefined` stays as it is. Throws a SoftphoneError: `already_dialing` during a dial,
   *  `invalid_config` naming the field; the configuration is then as it was. */
  configure(config: Partial<DialStrategyConfig>): void;
  /** Loads the module if need be (call init(source) first to say where from), opens the WebSocket and registers. Resolves when calls can be made and received; rejects with a SoftphoneError
   *  (`auth_failed`, `registration_failed`, `transport`, `timeout`, `not_configured`) after one honest try at every server, of half a minute
   *  for a server that does not answer, of two while the browser asks whether this page may reach the local network. Calling it again is safe.
   *  Once it has resolved, what is refused later is asked for again: see the event `registration`. */
  connect(): Promise<void>;
  /** Ends calls, subscriptions and publications, unregisters, closes the socket. Resolves when that is done, or soon; never rejects but with
   *  `fatal`. */
  disconnect(): Promise<void>;
  /** With `resume`: the record by which another page takes up the calls of this one; `null` without calls. It has no credentials, but shows
   *  who talks to whom: for pages of the same origin only. connect() keeps it and hands it on by itself; this is for other ways to do so. */
  readonly record: string | null;
  /** Takes up the calls of a record that another page had `age` milliseconds ago, and must have abandoned; connect() continues them.
   *  Returns how many there are. Throws `invalid_record` for one that is damaged, older than `signallingGrace`, or of another account,
   *  `invalid_state` while there is a connection or a call. */
  resumeCalls(record: string, age: number): number;
  /** Like free(), but nobody is told: calls stay as they are for another page to take them up, and so does the registration. */
  abandon(): void;
  /** `destination`: `sip:`, `sips:`, `tel:`, +E.164, with `defaultCountry` a national number, or a user part of the account's domain:
   *  an extension ("600"), a name ("bob"), a feature code ("*97"). docs/dialling.md has the rule, strategyReason() says how one was read.
   *  Anything else is `invalid_destination` before anything is sent. Only one dial runs at a time: another gets `already_dialing`, and the running one is not disturbed. */
  dial(destination: string, options?: DialOptions): Dialing;
  /** Sends a text message (RFC 3428); resolves with the 2xx. `target` as for dial(), as a SIP address. Default type
   *  `text/plain;charset=UTF-8`; 60 KiB at most. Rejects with `not_connected`, `invalid_destination`, `invalid_config`, `timeout`, `aborted`
   *  by disconnect(), or what the answer says. `extraHeaders` as for dial(). */
  sendMessage(target: string, body: string, options?: { contentType?: string; extraHeaders?: Record<string, string> }): Promise<void>;
  /** Sends OPTIONS, which asks whether a user agent is there (RFC 3261, section 11); resolves with the 2xx. Rejects like sendMessage(). */
  sendOptions(target: string): Promise<void>;
  /** Subscribes to an event package of a resource (RFC 6665), such as `message-summary`, `dialog` or `presence`. Refreshed, also over
   *  reconnects, until unsubscribe(). `accept`: media types that are understood (default: that of the event package);
   *  `expires`: seconds, 1 to 86400, default 3600. Throws `not_configured`, `not_connected`, `invalid_destination`, `invalid_config`,
   *  `invalid_state` beyond 256 of them; what the notifier answers comes as `state`. */
  subscribe(target: string, event: string, options?: { accept?: string | string[]; expires?: number }): Subscription;
  /** Publishes event state of this account (RFC 3903), and refreshes it until unpublish(). Default type `application/pidf+xml`; `expires` in
   *  seconds, 1 to 86400, default 3600. Throws like subscribe(). What the server answers comes as `state`. */
  publish(event: string, body: string, options?: { contentType?: string; expires?: number }): Publication;
  /** Plays what the browser has refused to play (`audioBlocked`): to be called in the handler of a click, tap or key. */
  resumeAudio(): void;
  /** Clears error and lastResult; a no-op while dialing. */
  reset(): void;
  /** The strategy that dial() would use now for this destination. Throws `invalid_destination`. */
  strategyFor(destination: string): StrategyName;
  /** How it reads this destination, and why it would use that strategy, in one sentence for people. Throws `invalid_destination`. */
  strategyReason(destination: string): string;
  /** The strategy that dial() would use now for a telephone number. */
  readonly strategy: StrategyName;
  /** dial() has not resolved yet. */
  readonly isDialing: boolean;
  /** Of the last dial. */
  readonly error: SoftphoneError | null;
  /** Of the last dial. */
  readonly lastResult: DialResult | null;
  readonly connection: 'disconnected' | 'connecting' | 'connected' | 'reconnecting';
  readonly registration: 'unregistered' | 'registering' | 'registered' | 'failed';
  /** Those that have not ended, oldest first; 8 at most. One more caller gets 486, one more dial `invalid_state`. The same frozen list until it
   *  changes. */
  readonly calls: readonly Call[];
  /** What there is to show, calls included: the same frozen object until something changes, for `useSyncExternalStore` and the like. */
  getSnapshot(): PhoneSnapshot;
  /** For `JSON.stringify`: no secret, and no header of a call. */
  toJSON(): Record<string, unknown>;
  /** Returns a function that removes the listener. Throws `invalid_config` for an event that does not exist. */
  on<K extends keyof DialStrategyEvents>(type: K, listener: (event: DialStrategyEvents[K]) => void, options?: ListenerOptions): () => void;
  /** Like on(), for the next event only. */
  once<K extends keyof DialStrategyEvents>(type: K, listener: (event: DialStrategyEvents[K]) => void, options?: ListenerOptions): () => void;
  /** Removes this listener of the event, however often it was added. */
  off<K extends keyof DialStrategyEvents>(type: K, listener: (event: DialStrategyEvents[K]) => void): void;
  /** Ends everything: the microphone is off at once, promises of the phone settle with `aborted`, those of its calls with `ended`, and
   *  goodbyes are sent. Listeners hear no more. Once is enough. Afterwards methods throw or reject with `ended`; properties say that there is
   *  no connection and no call. */
  free(): void;
  [Symbol.dispose](): void;
}
export { DialStrategy as Phone };

export interface ListenerOptions {
  /** Removes the listener. */
  signal?: AbortSignal;
  /** For the next event only. */
  once?: boolean;
}

/** What a phone shows. Frozen, and so are its parts. */
export interface PhoneSnapshot {
  readonly connection: DialStrategy['connection'];
  readonly registration: DialStrategy['registration'];
  readonly strategy: StrategyName;
  readonly isDialing: boolean;
  readonly error: SoftphoneError | null;
  readonly lastResult: DialResult | null;
  readonly calls: readonly CallSnapshot[];
}

/** What a call shows, and the call. */
export type CallSnapshot = Readonly<
  { call: Call } & Pick<
    Call,
    'id' | 'direction' | 'strategy' | 'state' | 'remote' | 'localHold' | 'remoteHold' | 'muted' | 'microphone' | 'audioBlocked' | 'startedAt' | 'endedAt' | 'endReason' | 'metadata'
  >
>;

export interface DialStrategyEvents {
  /** The snapshot has changed: once for all that has changed in a turn of the event loop, after the events of its own. */
  change: PhoneSnapshot;
  /** `error`: why it is not connected (any more). */
  connection: { state: DialStrategy['connection']; error?: SoftphoneError };
  /** `error`: why it has failed. */
  registration: { state: DialStrategy['registration']; error?: SoftphoneError };
  /** A new incoming call that rings. Never fired for the verified bridge leg of a rest-originate dial. */
  incoming: { call: Call };
  /** Every call, both directions, at each change of state, its first included. */
  call: { call: Call; state: CallState };
  /** A text message has come (RFC 3428), 60 KiB at most, and has been answered. `from`: the URI that the sender gives. Everything in it is a
   *  stranger's: show it as text, also where `contentType` is `text/html`. */
  message: { from: string; displayName?: string; contentType: string; body: string };
  /** Waiting messages, told without a subscription (see `unsolicitedMessageSummary`): `application/simple-message-summary`, read by
   *  parseMessageSummary() of `wasm-softphone/events`. */
  messageSummary: { body: string };
  /** `blocked`: the browser does not play the peer's audio before the user has clicked, tapped or pressed a key; otherwise it plays now. The
   *  next of these tries again, and so does resumeAudio(). */
  audioBlocked: { call: Call; blocked: boolean };
  /** With `resume`: `record` is another one. */
  record: { record: string | null };
  /** `time`: milliseconds since 1970. */
  log: { level: 'debug' | 'info' | 'warn' | 'error'; time: number; text: string };
  /** The module can't go on (a defect): make a new instance. */
  fatal: { error: SoftphoneError };
}

export type CallState = 'new' | 'connecting' | 'ringing' | 'early-media' | 'active' | 'reconnecting' | 'ended';

/** Who is at the other end of a call. */
export interface Remote {
  /** The peer's own claim: From, or To of an outgoing call. It never changes. */
  uri: string;
  displayName?: string;
  /** With `trustIdentity`: the current asserted identity (P-Asserted-Identity of RFC 3325, otherwise Remote-Party-ID), and its display name. */
  assertedIdentity?: string;
  assertedDisplayName?: string;
  /** The identity must not be passed on: `Privacy: id`, or a suppressed number (RFC 3323). */
  private: boolean;
  /** With `trustIdentity`: who has diverted the call (RFC 5806, RFC 7044). */
  diversion?: string;
}

/** A call. The object of a call stays the same: `phone.calls[0] === event.call`. Only the phone makes calls. */
export class Call {
  private constructor();
  /** The SIP Call-ID; for "rest-originate" the UUID by which the proxy knows the call. */
  readonly id: string;
  readonly direction: 'outgoing' | 'incoming';
  /** `null` for an incoming call. */
  readonly strategy: StrategyName | null;
  readonly state: CallState;
  /** Who is at the other end; "remote" tells of each change. The same frozen object until then. */
  readonly remote: Readonly<Remote>;
  /** The custom headers of a received INVITE: those of the names that `extraHeaders` takes, without those about identity; 32 at most. */
  readonly headers: Readonly<Record<string, string>>;
  /** This side has put the call on hold. */
  readonly localHold: boolean;
  /** The peer has put the call on hold. */
  readonly remoteHold: boolean;
  /** Whether mute() is in force. A call that replaces this one inherits it, and so `audio: false` and the track of replaceAudioTrack():
   *  after a transfer, a reload, and an INVITE with Replaces. */
  readonly muted: boolean;
  /** While it rings: the call that it asks to replace (RFC 3891), which ends once this one is answered; else `null`. */
  readonly replaces: Call | null;
  /** The microphone, while the call has one. */
  readonly localStream: MediaStream | null;
  /** "interrupted": the system uses the microphone for a while; "ended": the device or the permission is gone. Silence is sent then. `null`
   *  without a microphone. */
  readonly microphone: 'live' | 'interrupted' | 'ended' | null;
  /** The peer's audio waits for the user to click, tap or press a key. */
  readonly audioBlocked: boolean;
  /** For "rest-originate": `null` until the call is proved to be the provider's. */
  readonly remoteStream: MediaStream | null;
  /** When it was answered, milliseconds since 1970. */
  readonly startedAt: number | null;
  /** When it ended, milliseconds since 1970. */
  readonly endedAt: number | null;
  /** From `startedAt` to the end or until now, milliseconds; `null` for what was not answered. */
  readonly duration: number | null;
  /** The application's own: that of dial(), or what is put here. A change of it is a `change` of the phone. */
  metadata: unknown;
  /** `null` before the end. docs/outcomes.md has the table of codes. `q850`: the ISDN cause (Q.850, 1 to 127), `reasonText`: the peer's text, both of its Reason header
   *  (RFC 3326); 128 characters at most, and a stranger's words: show them as text. */
  readonly endReason: { code: ErrorCode | 'completed' | 'cancelled' | 'answered_elsewhere'; sipStatus?: number; by: 'local' | 'remote' | 'network'; q850?: number; reasonText?: string } | null;
  /** Answers an incoming call. Resolves when the call is up. Rejects with a SoftphoneError: `ended`, `invalid_state` for a call that does not
   *  ring, `media_denied`, `media_unavailable`, `ice_failed`, .... For a call that answers itself (`autoAnswer`) the promise settles with
   *  that answer, and `options` come too late. */
  answer(options?: { audio?: boolean | MediaTrackConstraints }): Promise<void>;
  /** Refuses an incoming call. `status` 300 to 699 (RFC 3261, section 21), default 603: declined everywhere; 486 lets other phones ring on.
   *  Rejects with `invalid_state`, `invalid_config`, `ended`. */
  reject(options?: { status?: number }): Promise<void>;
  /** CANCEL, BYE or a refusal, whichever the state calls for. Resolves when the call is over here; never rejects but with `fatal`. */
  hangup(): Promise<void>;
  /** Puts the peer on hold (RFC 3264, section 8.4). From this moment on nothing is played, and only silence is sent. Resolves when the peer has
   *  agreed. Rejects with its refusal, and the call stays as it was; `invalid_state` before the call is answered, `ended`. */
  hold(): Promise<void>;
  /** Takes the peer off hold; mute() stays in force. Settles like hold(). */
  unhold(): Promise<void>;
  /** Sends this track instead of the microphone, over hold and renegotiation too; `null`: the microphone again. The track is never
   *  stopped here. While muted silence is sent in its place. With `mixed` it is still sent, because it contains more than the microphone (a
   *  conference): mute() then silences the microphone in `localStream` only. Rejects with `invalid_config` for anything but an audio track, `invalid_state`
   *  with `audio: false`. */
  replaceAudioTrack(track: MediaStreamTrack | null, options?: { mixed?: boolean }): Promise<void>;
  /** Sends silence; needs no agreement of the peer. */
  mute(): void;
  /** Sends the microphone again. */
  unmute(): void;
  /** Tones are 0-9, A-D, *, # and a comma for a pause of two seconds. `duration` 40 to 6000 ms, default 100; `gap` 30 to 6000 ms, default 70.
   *  `method`: "rtp" (default), in the audio (RFC 4733), or "info", one `application/dtmf-relay` a tone (RFC 6086). Resolves when the last
   *  tone has been sent. Calls made meanwhile queue up. Tones in the audio wait while the call is on hold, by either side, or has no path; those
   *  that this cuts go on afterwards. Rejects with `invalid_config`, `invalid_state` before the call is answered, `ended`. */
  sendDtmf(tones: string, options?: { duration?: number; gap?: number; method?: 'rtp' | 'info' }): Promise<void>;
  /** Blind to an address (read as by dial()); attended to another call of this phone, which the peer's new call replaces (RFC 5589,
   *  RFC 3891). The call is put on hold first. Resolves with the final NOTIFY of a transfer that succeeded, and the calls here end. On
   *  failure this call stays, on hold, and the promise rejects with the target's response. `invalid_state` for a call that is not
   *  answered, is by REST, or is being transferred; `invalid_destination`, `ended`. */
  transfer(target: string | Call): Promise<void>;
  /** Rejects with `invalid_state` where the call has no media yet, `ended`. */
  stats(): Promise<CallStats>;
  /** Returns a function that removes the listener. Throws `invalid_config` for an event that does not exist. */
  on<K extends keyof CallEvents>(type: K, listener: (event: CallEvents[K]) => void, options?: ListenerOptions): () => void;
  /** Like on(), for the next event only. */
  once<K extends keyof CallEvents>(type: K, listener: (event: CallEvents[K]) => void, options?: ListenerOptions): () => void;
  /** Removes this listener of the event, however often it was added. */
  off<K extends keyof CallEvents>(type: K, listener: (event: CallEvents[K]) => void): void;
  /** For `JSON.stringify`: what a snapshot shows, and `duration`. No streams and no headers. */
  toJSON(): Record<string, unknown>;
  /** Ends the call if it is not over, and releases its memory. Once is enough. Afterwards properties are what they were last, the state is
   *  `ended`, and methods reject with `ended`. */
  free(): void;
  [Symbol.dispose](): void;
}

export interface CallEvents {
  state: { state: CallState };
  /** Hold has changed: by this side, by the peer. */
  hold: { local: boolean; remote: boolean };
  /** `muted` has changed, by mute() or unmute(). */
  mute: { muted: boolean };
  /** `remote` has changed: the call was transferred, picked up, parked or taken out of a queue on the other side (RFC 3325, RFC 4916).
   *  With `trustIdentity` only. */
  remote: Remote;
  /** The microphone has changed by itself. After "ended" the phone opens another one, at once or when a device is plugged in, and
   *  `localStream` is a new stream then; a revoked permission is asked for once. */
  microphone: { state: 'live' | 'interrupted' | 'ended' };
  /** The peer has sent a tone by INFO (RFC 6086); tones in the audio are only heard. */
  dtmf: { tone: string };
  /** Every two seconds while the call is active and somebody listens. */
  stats: CallStats;
  /** Progress of a transfer that this side asked for; `sipStatus`: the status that the peer reports (RFC 3515, section 2.4.5). */
  transfer: { state: 'trying' | 'ringing' | 'accepted' | 'failed'; sipStatus?: number };
  /** The peer asks for a transfer: this phone is to call somebody else (REFER, RFC 3515). `target` is a SIP URI; `referredBy`, the header as
   *  received, is not authenticated: ask the user, within a minute. accept() resolves with the new call at once; its outcome is in its own events. reject(): 603. */
  transferRequest: { target: string; referredBy?: string; accept(): Promise<Call>; reject(): Promise<void> };
  /** With `redirects: "ask"`: the targets of the 3xx, best first. The call waits for follow(), decline() (it ends as
   *  `redirected`) or hangup(), for as long as it may ring. Without a listener it is declined at once. */
  redirect: { targets: string[]; follow(index: number): Promise<void>; decline(): Promise<void> };
  /** The peer's audio is on another track of the same `remoteStream`, as after a reload of its page. An audio element follows by itself, a
   *  Web Audio graph does not. */
  remoteTrack: { track: MediaStreamTrack };
  /** Another call replaces this one (RFC 3891), which ends. */
  replaced: { call: Call };
  /** The last event. */
  ended: NonNullable<Call['endReason']>;
}

export type SubscriptionState = 'pending' | 'active' | 'terminated';

/** Kept up until its end, whether the application holds it or not. */
export interface Subscription {
  /** For good once it is `terminated` (RFC 6665, section 4.1.2). */
  readonly state: SubscriptionState;
  /** Returns a function that removes the listener. */
  on<K extends keyof SubscriptionEvents>(type: K, listener: (event: SubscriptionEvents[K]) => void, options?: ListenerOptions): () => void;
  /** The same for one event. */
  once<K extends keyof SubscriptionEvents>(type: K, listener: (event: SubscriptionEvents[K]) => void, options?: ListenerOptions): () => void;
  /** Removes this listener of the event, however often it was added. */
  off<K extends keyof SubscriptionEvents>(type: K, listener: (event: SubscriptionEvents[K]) => void): void;
  /** Resolves when it is over; never rejects. */
  unsubscribe(): Promise<void>;
  /** Ends it, and releases its memory. */
  free(): void;
  [Symbol.dispose](): void;
}

export interface SubscriptionEvents {
  /** `error`: why it is pending again, or over. */
  state: { state: SubscriptionState; error?: SoftphoneError };
  /** The state of the resource; `contentType` and `body` are empty in a NOTIFY without a body. */
  notify: { contentType: string; body: string };
}

/** Kept up until its end, whether the application holds it or not. */
export interface Publication {
  readonly state: SubscriptionState;
  /** Returns a function that removes the listener. */
  on(type: 'state', listener: (event: SubscriptionEvents['state']) => void, options?: ListenerOptions): () => void;
  /** The same for one event. */
  once(type: 'state', listener: (event: SubscriptionEvents['state']) => void, options?: ListenerOptions): () => void;
  /** Removes this listener of the event, however often it was added. */
  off(type: 'state', listener: (event: SubscriptionEvents['state']) => void): void;
  /** Publishes this instead. Throws `ended`, `invalid_config`; what the server answers comes as `state`. */
  update(body: string): void;
  /** Resolves when it is over; never rejects. */
  unpublish(): Promise<void>;
  /** Ends it, and releases its memory. */
  free(): void;
  [Symbol.dispose](): void;
}

export interface CallStats {
  /** Estimated listening quality, 1 to 4.5 (ITU-T G.107). */
  mos: number | null;
  /** Milliseconds. */
  roundTripTime: number | null;
  /** Milliseconds. */
  jitter: number | null;
  /** 0 to 1, over the last interval. */
  packetLoss: number | null;
  /** "opus", "PCMA", .... */
  codec: string | null;
  /** Of the payload, since the call began. */
  bytesSent: number;
  bytesReceived: number;
}
