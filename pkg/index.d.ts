// The types of wasm-softphone, written by hand and checked by `tsc --strict` (tests/types).

declare global {
  // For consumers whose `lib` has no `esnext.disposable`; with it, the two declarations merge.
  interface SymbolConstructor {
    readonly dispose: unique symbol;
  }
}

/** Where the WebAssembly module comes from. Default: the `.wasm` file beside the package's JavaScript. */
export type InitSource = RequestInfo | URL | Response | BufferSource | WebAssembly.Module;

/** Loads the WebAssembly module once; later calls return the same promise; a failed load can be retried.
 *  Importing the package has no side effect (safe in Node, SSR and workers). */
export default function init(source?: InitSource | Promise<InitSource> | { module_or_path: InitSource | Promise<InitSource> }): Promise<void>;

export type StrategyName = 'sip-invite' | 'rest-originate';

export interface DialStrategyConfig {
  /** SIP-over-WebSocket URLs, tried in order, or with priorities and weights. `wss:`; plain `ws:` only to a loopback host. */
  servers: string | (string | Server)[];
  /** Address of record (RFC 3261, section 10): "sip:alice@example.com". */
  uri: string;
  /** Shown to the other side. */
  displayName?: string;
  /** SIP credentials (never a REST API's); a list where several realms ask, such as the registrar and a gateway behind it: each names its
   *  `realm`, one without is for the others. A function is asked each time they are needed, for the realm of the challenge, and nothing is kept.
   *  A realm that the registrar has not used is answered only with credentials that name it: the other side of a call may have made it up.
   *  The function has two minutes: a connect(), a dial() or the registration then fails with `auth_failed`, and an error that names it. */
  credentials?: SipCredentials | SipCredentials[] | ((challenge: { realm: string }) => SipCredentials | Promise<SipCredentials>);
  /** Register after connecting (RFC 3261, section 10); without it nobody can call this phone. Default true. */
  register?: boolean;
  /** Lifetime to ask for, seconds, 1 to 86400; default 600. It is refreshed in time. */
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
   *  A function is asked before each request. Its last answer stays in memory for a request that cannot wait, as the page is being left. */
  proxyHeaders?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  /** STUN and TURN servers, as for RTCPeerConnection. Default: none. A function is asked for each call's media and before each
   *  ICE restart, for TURN credentials that expire: it has 10 s. Without an answer a call does not begin (`ice_failed`); one that
   *  is up keeps its servers. What `configure()` changes counts for calls from their next restart on. */
  iceServers?: RTCIceServer[] | (() => RTCIceServer[] | Promise<RTCIceServer[]>);
  /** Default "all"; "relay" hides this machine's addresses, and needs a TURN server. */
  iceTransportPolicy?: RTCIceTransportPolicy;
  /** Longest wait for ICE candidates before an offer or answer is sent, milliseconds, 0 to 60000; default 500. It leaves
   *  earlier, as soon as what is there is useful. */
  iceGatherTimeout?: number;
  /** How long a call may be `reconnecting` for want of media while the other side can be reached, milliseconds, 1000 to
   *  600000; default 30000. */
  mediaGrace?: number;
  /** How long a call may be without media while there is no connection to a server, and how long everything else waits for one: a call
   *  that is being made, a goodbye, a message; milliseconds, 1000 to 600000; default 60000. As long as the two hear each other, no call ends. */
  signallingGrace?: number;
  /** Codec names in order of preference, e.g. ["PCMA", "PCMU"]; the rest follow. Default: the provider's. */
  codecs?: string[];
  /** The microphone; `false` opens none and only listens. Default true. */
  audio?: boolean | MediaTrackConstraints;
  /** Where remote audio plays; default: an element that each call makes itself. `null`: the app plays `call.remoteStream`. An element is for
   *  one call at a time: the one that may be heard, and of several the last that came to be; the others play in one of their own. */
  audioElement?: HTMLAudioElement | null;
  /** Country used to read national numbers, e.g. "SE"; without it only +E.164, sip:, sips: and tel: destinations pass. */
  defaultCountry?: string;
  /** Session timers (RFC 4028): a call whose other side is gone is noticed. `true` (default) asks for 1800 seconds, `expires` for
   *  90 to 86400. `false`, as with a provider without them, asks for none, and keeps to the other side's. */
  sessionTimers?: boolean | { expires: number };
  /** What a 3xx does (RFC 3261, section 8.1.3.4): "off" (default) fails the dial with `redirected`, "ask" emits `redirect` at
   *  the call, a number calls that many of the targets in turn, 1 to 20. Whoever can answer a call can send it anywhere. */
  redirects?: 'off' | 'ask' | number;
  /** Whose INVITE with Replaces (RFC 3891) takes the place of a call at once, with nobody's hand on the phone: "peer" (default), that of the
   *  other side itself, by its address, and of whom it sends while it holds the call (Referred-By), or with `trustIdentity` of everybody whom
   *  the server vouches for and nobody else; "any", everybody's who knows the tags of the dialog, which servers may publish (RFC 4235);
   *  "ask", nobody's. Anybody else's is `incoming`, with `call.replaces`. What mute() and `audio: false` say goes on in any case. */
  replaces?: 'peer' | 'any' | 'ask';
  /** Believe P-Asserted-Identity (RFC 3325), Remote-Party-ID, Diversion and History-Info (RFC 5806, RFC 7044): only where the server takes
   *  out those of callers. Default false. */
  trustIdentity?: boolean;
  /** Emit `messageSummary` for a NOTIFY about waiting messages (RFC 3842) without a subscription, as Asterisk, FreeSWITCH and others send it to
   *  each phone that is registered. Default: where it comes over the connection that is registered and names this phone, otherwise it gets
   *  481. `true`: without a registration too; `false`: never. No more proved than a text message: only a subscription is. */
  unsolicitedMessageSummary?: boolean;
  /** Callers whose INVITE may ask to be answered at once (RFC 5373, Call-Info, Alert-Info): "bob@example.com", "@example.com" or "*".
   *  The microphone opens without a question, though never beside another call. The caller is whom the server asserts with `trustIdentity`,
   *  otherwise the From, which a caller can forge unless the server checks it. Default: none. */
  autoAnswer?: string[];
  /** `+sip.instance` (RFC 5626, section 4.1): a URN, "urn:uuid:...", that stays the same for this installation. Default: one that is kept in
   *  localStorage, so that the next page takes the place of this one at the registrar; tabs and phones that are connected at the same time have
   *  one each, told by Web Locks. Without these, a new one for each phone. */
  instanceId?: string;
  /** Ends calls, unregisters and ends subscriptions when the page is closed, reloaded or left (`pagehide`): BYE, CANCEL, or 480 to a call
   *  that rings. Not where the browser keeps the page to show it again (`event.persisted`), and with `resume` not the calls that the next
   *  page takes up. Calls by REST end with the page in any case. Default true. */
  hangupOnUnload?: boolean;
  /** Hides who calls, is called or sends messages (RFC 3323): `Privacy: id` in each message of a call, an anonymous From, nothing that
   *  names the account. The server learns the account (P-Preferred-Identity, RFC 3325) and has to take that out. Default false. */
  anonymous?: boolean;
  /** Calls outlive a reload of the page: what is needed to take them up again is kept in sessionStorage, encrypted with a key that no
   *  script can read, without credentials. The next page makes a phone with the same configuration, and connect() takes them up: each
   *  appears in `calls` and in a "call" event as `reconnecting`, and is `active` when the other side has agreed. No longer than
   *  `signallingGrace` may pass in between. Answered SIP calls only. Default false. */
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
  /** Where to send it; a challenge of another realm is not answered. Default: whichever the server names. */
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

/** An Error with a stable machine-readable code; the message is safe to show and holds no secret. */
export interface SoftphoneError extends Error {
  readonly code: ErrorCode;
  /** The status of the SIP response that it comes from (RFC 3261, section 21). */
  readonly sipStatus?: number;
  /** Seconds after which the server asks to try again (Retry-After; RFC 3261, section 20.33). */
  readonly retryAfter?: number;
  /** The same may succeed later without another configuration. */
  readonly retryable: boolean;
  /** What to do about it, in one sentence. */
  readonly hint?: string;
}
export type ErrorCode =
  | 'invalid_config' | 'invalid_destination' | 'not_configured' | 'not_connected' | 'already_dialing'
  | 'aborted' | 'timeout' | 'transport' | 'auth_failed' | 'registration_failed'
  | 'media_denied' | 'media_unavailable' | 'ice_failed'
  | 'busy' | 'declined' | 'no_answer' | 'not_found' | 'forbidden' | 'unsupported_by_provider' | 'server_error'
  | 'proxy_required' | 'proxy_unreachable' | 'proxy_denied' | 'proxy_rate_limited' | 'proxy_error' | 'provider_error'
  | 'redirected' | 'not_acceptable' | 'invalid_record' | 'invalid_state' | 'fatal' | 'not_initialized'
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
  /** Does nothing until connect(). Throws `invalid_config` naming the field. */
  constructor(config?: DialStrategyConfig);
  /** Merges into the configuration; what is missing or `undefined` stays as it is. Throws a SoftphoneError: `already_dialing` during a dial,
   *  `invalid_config` naming the field; the configuration is then as it was. */
  configure(config: Partial<DialStrategyConfig>): void;
  /** Opens the WebSocket and registers. Resolves when calls can be made and received; rejects with a SoftphoneError
   *  (`auth_failed`, `registration_failed`, `transport`, `timeout`, `not_configured`) after one honest try at every server, of half a minute
   *  for a server that does not answer, of two while the browser asks whether this page may reach the local network. Calling it again is safe.
   *  Once it has resolved, what is refused later is asked for again: see the event `registration`. */
  connect(): Promise<void>;
  /** Ends calls, subscriptions and publications, unregisters, closes the socket. Resolves when that is done, or soon; never rejects but with
   *  `fatal`. */
  disconnect(): Promise<void>;
  /** With `resume`: what another page needs to take up the calls of this one; `null` when there is nothing. No credentials, but who talks
   *  to whom: for pages of the same origin only. connect() keeps it and hands it on by itself; this is for those that do so in other ways. */
  readonly record: string | null;
  /** Takes up the calls of a record that another page had `age` milliseconds ago, and must have let go of; connect() goes on with them.
   *  Returns how many there are. Throws `invalid_record` for one that is damaged, older than `signallingGrace`, or of another account,
   *  `invalid_state` while there is a connection or a call. */
  resumeCalls(record: string, age: number): number;
  /** Like free(), but nobody is told: calls stay as they are for another page to take them up, and so does the registration. */
  abandon(): void;
  /** `destination`: `sip:`, `sips:`, `tel:`, +E.164, or with `defaultCountry` a national number; anything else is `invalid_destination` before
   *  anything is sent. Only one dial runs at a time: another gets `already_dialing`, and the running one is not disturbed. */
  dial(destination: string, options?: DialOptions): Promise<DialResult>;
  /** Sends a text message (RFC 3428); resolves when it has been taken on (2xx). `target` as for dial(), as a SIP address. Default type
   *  `text/plain;charset=UTF-8`; 60 KiB at most. Rejects with `not_connected`, `invalid_destination`, `invalid_config`, `timeout`, `aborted`
   *  by disconnect(), or what the answer says. `extraHeaders` as for dial(). */
  sendMessage(target: string, body: string, options?: { contentType?: string; extraHeaders?: Record<string, string> }): Promise<void>;
  /** Asks whether somebody is there (OPTIONS; RFC 3261, section 11); resolves with a 2xx. Rejects like sendMessage(). */
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
  /** Why it would use that one, in one sentence for people. Throws `invalid_destination`. */
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
  /** Those that have not ended, oldest first; 8 at most. One more caller gets 486, one more dial `invalid_state`. */
  readonly calls: readonly Call[];
  /** Returns a function that removes the listener. Throws `invalid_config` for an event that does not exist. */
  on<K extends keyof DialStrategyEvents>(type: K, listener: (event: DialStrategyEvents[K]) => void): () => void;
  /** Ends everything: the microphone is off at once, promises of the phone settle with `aborted`, those of its calls with `ended`, and
   *  goodbyes are sent. Listeners hear no more. */
  free(): void;
  [Symbol.dispose](): void;
}

export interface DialStrategyEvents {
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
  /** What waits in the mailbox, without a subscription (see `unsolicitedMessageSummary`): `application/simple-message-summary`; parseMessageSummary() of
   *  `wasm-softphone/events` reads it. */
  messageSummary: { body: string };
  /** The browser does not play the other side's audio before the user has clicked, tapped or pressed a key (`blocked`), or plays it
   *  now. It is tried again at the next of these, and by resumeAudio(). */
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
  /** What the other side says of itself: From, or To of a call that was made. It stays what it was. */
  uri: string;
  displayName?: string;
  /** With `trustIdentity`: who the server says it is, now (P-Asserted-Identity of RFC 3325, otherwise Remote-Party-ID), and its name. */
  assertedIdentity?: string;
  assertedDisplayName?: string;
  /** It does not want to be known to others: `Privacy: id`, or a caller whose number is suppressed (RFC 3323). */
  private: boolean;
  /** With `trustIdentity`: who has sent the call on (RFC 5806, RFC 7044). */
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
  /** Who is at the other end; "remote" tells of each change. */
  readonly remote: Remote;
  /** The custom headers of a received INVITE: those of the names that `extraHeaders` takes, without those about identity; 32 at most. */
  readonly headers: Readonly<Record<string, string>>;
  /** Held by this side. */
  readonly localHold: boolean;
  /** Held by the other side. */
  readonly remoteHold: boolean;
  /** What mute() said last. It goes on in the call that takes the place of this one, and so do `audio: false` and the track of
   *  replaceAudioTrack(): after a transfer, a reload, and where the other side replaces the call. */
  readonly muted: boolean;
  /** While it rings: the call whose place the caller asks for, which ends once this one is answered (RFC 3891); else `null`. */
  readonly replaces: Call | null;
  /** The microphone, while the call has one. */
  readonly localStream: MediaStream | null;
  /** "interrupted": the system has taken the microphone away for a while; "ended": the device is gone, or the permission. Silence is sent then.
   *  `null` without one. */
  readonly microphone: 'live' | 'interrupted' | 'ended' | null;
  /** The other side's audio waits for the user to click, tap or press a key. */
  readonly audioBlocked: boolean;
  /** For "rest-originate": `null` until the call is proved to be the provider's. */
  readonly remoteStream: MediaStream | null;
  /** When it was answered, milliseconds since 1970. */
  readonly startedAt: number | null;
  /** `null` before the end. docs/outcomes.md has the table of codes. `q850`: the ISDN cause (Q.850, 1 to 127), `reasonText`: what the other side says of it, both by its Reason header
   *  (RFC 3326); 128 characters at most, and a stranger's words: show them as text. */
  readonly endReason: { code: ErrorCode | 'completed' | 'cancelled' | 'answered_elsewhere'; sipStatus?: number; by: 'local' | 'remote' | 'network'; q850?: number; reasonText?: string } | null;
  /** Answers an incoming call. Resolves when the call is up. Rejects with a SoftphoneError: `ended`, `invalid_state` for a call that does not
   *  ring, `media_denied`, `media_unavailable`, `ice_failed`, .... A call that answers itself (`autoAnswer`) is joined: the outcome is
   *  that of its own answer, and `options` come too late. */
  answer(options?: { audio?: boolean | MediaTrackConstraints }): Promise<void>;
  /** Refuses an incoming call. `status` 300 to 699 (RFC 3261, section 21), default 603: declined everywhere; 486 lets other phones ring on.
   *  Rejects with `invalid_state`, `invalid_config`, `ended`. */
  reject(options?: { status?: number }): Promise<void>;
  /** CANCEL, BYE or a refusal, whichever the state calls for. Resolves when the call is over here; never rejects but with `fatal`. */
  hangup(): Promise<void>;
  /** Puts the other side on hold (RFC 3264, section 8.4). From the moment of the call on nothing is played, and nothing but silence is sent. Resolves when the
   *  other side has agreed; rejects with what it answers when it refuses, and then the call stays as it was. `invalid_state` before it is
   *  answered, `ended`. */
  hold(): Promise<void>;
  /** Takes the other side off hold; what mute() says still counts. Settles like hold(). */
  unhold(): Promise<void>;
  /** Sends this track instead of the microphone, over hold and renegotiation too; `null`: the microphone again. The track is never
   *  stopped here. While muted silence is sent in its place; with `mixed` it is, because it holds more than the microphone (a conference):
   *  mute() then silences the microphone in `localStream` only. Rejects with `invalid_config` for anything but an audio track, `invalid_state`
   *  with `audio: false`. */
  replaceAudioTrack(track: MediaStreamTrack | null, options?: { mixed?: boolean }): Promise<void>;
  /** Sends silence; needs no agreement of the other side. */
  mute(): void;
  /** Sends the microphone again. */
  unmute(): void;
  /** Tones are 0-9, A-D, *, # and a comma for a pause of two seconds. `duration` 40 to 6000 ms, default 100; `gap` 30 to 6000 ms, default 70.
   *  `method`: "rtp" (default), in the audio (RFC 4733), or "info", one `application/dtmf-relay` a tone (RFC 6086). Resolves when the last
   *  tone has been sent. Calls made meanwhile queue up. Tones in the audio wait while the call is on hold, by either side, or has no path; those
   *  that this cuts go on afterwards. Rejects with `invalid_config`, `invalid_state` before the call is answered, `ended`. */
  sendDtmf(tones: string, options?: { duration?: number; gap?: number; method?: 'rtp' | 'info' }): Promise<void>;
  /** Blind to an address (read as dial() does); attended to another call of this phone, whose place the other side takes (RFC 5589,
   *  RFC 3891). The call is put on hold first. Resolves when the transfer has succeeded, with the final NOTIFY, and the calls here end;
   *  on failure this call stays, on hold, and the promise rejects with what the target answered. `invalid_state` for a call that is not
   *  answered, is by REST, or is being transferred; `invalid_destination`, `ended`. */
  transfer(target: string | Call): Promise<void>;
  /** Rejects with `invalid_state` where the call has no media yet, `ended`. */
  stats(): Promise<CallStats>;
  /** Returns a function that removes the listener. Throws `invalid_config` for an event that does not exist. */
  on<K extends keyof CallEvents>(type: K, listener: (event: CallEvents[K]) => void): () => void;
  /** Ends the call if it is not over, and releases its memory. */
  free(): void;
  [Symbol.dispose](): void;
}

export interface CallEvents {
  state: { state: CallState };
  /** Hold has changed: by this side, by the other side. */
  hold: { local: boolean; remote: boolean };
  /** `remote` has changed: the call was transferred, picked up, parked or taken out of a queue on the other side (RFC 3325, RFC 4916).
   *  With `trustIdentity` only. */
  remote: Remote;
  /** The microphone has changed by itself. After "ended" another one is opened where there is one, at once or when a device comes, and
   *  `localStream` is a new stream then; a permission that was taken back is asked for once. */
  microphone: { state: 'live' | 'interrupted' | 'ended' };
  /** The other side has sent a tone by INFO (RFC 6086); those in the audio are heard. */
  dtmf: { tone: string };
  /** Every two seconds while the call is active and somebody listens. */
  stats: CallStats;
  /** A transfer that this side asked for has come further; `sipStatus`: what the other side reports (RFC 3515, section 2.4.5). */
  transfer: { state: 'trying' | 'ringing' | 'accepted' | 'failed'; sipStatus?: number };
  /** The other side asks this phone to call somebody else (RFC 3515). `target` is a SIP URI; `referredBy`, the header as it came, is not
   *  authenticated: ask the user, within a minute. accept() resolves with the new call at once; its outcome is in its own events. reject(): 603. */
  transferRequest: { target: string; referredBy?: string; accept(): Promise<Call>; reject(): Promise<void> };
  /** With `redirects: "ask"`: where else the other side can be reached, best first. The call waits for follow(), decline() (it ends as
   *  `redirected`) or hangup(), for as long as it may ring. Without a listener it is declined at once. */
  redirect: { targets: string[]; follow(index: number): Promise<void>; decline(): Promise<void> };
  /** The other side is heard on another track of the same `remoteStream`, as after a reload of its page: an audio element follows by
   *  itself, a Web Audio graph does not. */
  remoteTrack: { track: MediaStreamTrack };
  /** Another call takes the place of this one (RFC 3891), which ends. */
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
  on<K extends keyof SubscriptionEvents>(type: K, listener: (event: SubscriptionEvents[K]) => void): () => void;
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
  on(type: 'state', listener: (event: SubscriptionEvents['state']) => void): () => void;
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
