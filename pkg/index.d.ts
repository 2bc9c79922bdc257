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
  /** Address of record: "sip:alice@example.com". */
  uri: string;
  displayName?: string;
  /** SIP credentials (never a REST API's). A function is asked each time they are needed, and nothing is kept. */
  credentials?: SipCredentials | (() => SipCredentials | Promise<SipCredentials>);
  /** Default true. */
  register?: boolean;
  /** Seconds; default 600. */
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
  iceServers?: RTCIceServer[];
  iceTransportPolicy?: RTCIceTransportPolicy;
  /** Longest wait for ICE candidates before an offer or answer is sent, milliseconds; default 500. It leaves earlier,
   *  as soon as what is there is useful. */
  iceGatherTimeout?: number;
  /** How long a call may be `reconnecting` for want of media while the other side can be reached, milliseconds; default 30000. */
  mediaGrace?: number;
  /** How long a call may be without media while there is no connection to a server, and how long everything else waits for one: a call
   *  that is being made, a goodbye, a message; milliseconds; default 60000. As long as the two hear each other, no call ends. */
  signallingGrace?: number;
  /** Codec names in order of preference, e.g. ["PCMA", "PCMU"]; the rest follow. */
  codecs?: string[];
  /** The microphone; `false` opens none and only listens. */
  audio?: boolean | MediaTrackConstraints;
  /** Where remote audio plays; default: an element that the call makes itself. `null`: the app plays `call.remoteStream`. */
  audioElement?: HTMLAudioElement | null;
  /** Country used to read national numbers, e.g. "SE"; without it only +E.164, sip:, sips: and tel: destinations pass. */
  defaultCountry?: string;
  /** Session timers (RFC 4028): a call whose other side is gone is noticed. `true` (default) asks for 1800 seconds, `expires` for
   *  90 to 86400. `false`, as with a provider without them, offers none, and keeps to the other side's. */
  sessionTimers?: boolean | { expires: number };
  /** What a 3xx does (RFC 3261, section 8.1.3.4): "off" (default) fails the dial with `redirected`, "ask" emits `redirect` at
   *  the call, a number calls that many of the targets in turn, 1 to 20. Whoever can answer a call can send it anywhere. */
  redirects?: 'off' | 'ask' | number;
  /** Believe P-Asserted-Identity (RFC 3325), Diversion and History-Info (RFC 5806, RFC 7044): only where the server takes out those
   *  of callers. Default false. */
  trustIdentity?: boolean;
  /** Callers whose INVITE may ask to be answered at once (RFC 5373, Call-Info, Alert-Info): "bob@example.com", "@example.com" or "*".
   *  The microphone opens without a question. Default: none. */
  autoAnswer?: string[];
  /** `+sip.instance` (RFC 5626, section 4.1): a URN, "urn:uuid:...", that stays the same for this installation. Default: a new one each time. */
  instanceId?: string;
  /** Hides who calls or sends messages (RFC 3323): `Privacy: id`, an anonymous From. Default false. */
  anonymous?: boolean;
  /** Emits "log" events for everything, the SIP messages included, secrets redacted by construction.
   *  Warnings and errors are emitted without it too. */
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

/** `password`, or `ha1`: the hash H(username:realm:password) in hex. `username` defaults to the user part of `uri`.
 *  `bearerToken` is not part of this version: `invalid_config`. */
export interface SipCredentials { username?: string; password?: string; ha1?: string; realm?: string; bearerToken?: string }

export interface DialOptions {
  /** Aborts the dial until dial() has resolved; after that end the call with hangup(). A signal with a time limit, e.g.
   *  AbortSignal.timeout(), would otherwise cut a conversation off. */
  signal?: AbortSignal;
  /** Milliseconds until the dial fails with code "timeout". */
  timeout?: number;
  strategy?: 'auto' | StrategyName;
  /** For "rest-originate"; default: that of the configuration. */
  callerId?: string;
  /** For "sip-invite" only: headers of the INVITE. */
  extraHeaders?: Record<string, string>;
  audio?: boolean | MediaTrackConstraints;
  /** Called for each stage: progress of both strategies in one vocabulary. The call exists from the first stage on. */
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
  readonly sipStatus?: number;
  /** Seconds after which the server asks to try again (Retry-After; RFC 3261, section 20.33). */
  readonly retryAfter?: number;
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
  | 'redirected' | 'not_acceptable' | 'invalid_state' | 'fatal' | 'not_initialized'
  | 'bridge_missing' | 'unverified_bridge' | 'ended' | (string & {});

/** What a provider can do; built in: "custom" and "46elks". Throws `invalid_config` for a taken id. */
export function registerProvider(provider: Provider): void;
export interface Provider {
  id: string;
  name?: string;
  /** Ways of calling the telephone network, best first; sip: addresses always go by sip-invite. */
  strategies: StrategyName[];
  /** Offer RFC 4028 session timers; default true. */
  sessionTimers?: boolean;
  codecs?: string[];
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
  constructor(config?: DialStrategyConfig);
  /** Merges into the configuration. Throws a SoftphoneError: `already_dialing` during a dial, `invalid_config` naming the field. */
  configure(config: Partial<DialStrategyConfig>): void;
  /** Opens the WebSocket and registers. Resolves when calls can be made and received; rejects with a SoftphoneError
   *  (`auth_failed`, `registration_failed`, `transport`, `not_configured`) after one honest try at every server. Calling it again is safe. */
  connect(): Promise<void>;
  /** Ends calls, unregisters, closes the socket. */
  disconnect(): Promise<void>;
  /** Only one dial runs at a time: another gets `already_dialing`, and the running one is not disturbed. */
  dial(destination: string, options?: DialOptions): Promise<DialResult>;
  /** Sends a text message (RFC 3428); resolves when it has been taken on (2xx). `target` as for dial(), as a SIP address. Default type
   *  `text/plain;charset=UTF-8`; 60 KiB at most. Rejects with `not_connected`, `invalid_destination`, `invalid_config`, or what the answer says. */
  sendMessage(target: string, body: string, options?: { contentType?: string; extraHeaders?: Record<string, string> }): Promise<void>;
  /** Asks whether somebody is there (OPTIONS; RFC 3261, section 11); resolves with a 2xx. */
  sendOptions(target: string): Promise<void>;
  /** Subscribes to an event package of a resource (RFC 6665), such as `message-summary`, `dialog` or `presence`. Refreshed, also over
   *  reconnects, until unsubscribe(). `expires` in seconds, 1 to 86400, default 3600. Throws `not_connected`, `invalid_destination`,
   *  `invalid_config`; what the notifier answers comes as `state`. */
  subscribe(target: string, event: string, options?: { accept?: string | string[]; expires?: number }): Subscription;
  /** Publishes event state of this account (RFC 3903), and refreshes it until unpublish(). Default type `application/pidf+xml`; `expires` in
   *  seconds, 1 to 86400, default 3600. Throws like subscribe(). */
  publish(event: string, body: string, options?: { contentType?: string; expires?: number }): Publication;
  /** Clears error and lastResult; a no-op while dialing. */
  reset(): void;
  /** The strategy that dial() would use now for this destination. Throws `invalid_destination`. */
  strategyFor(destination: string): StrategyName;
  /** Why it would use that one, in one sentence for people. Throws `invalid_destination`. */
  strategyReason(destination: string): string;
  /** The strategy that dial() would use now for a telephone number. */
  readonly strategy: StrategyName;
  readonly isDialing: boolean;
  readonly error: SoftphoneError | null;
  readonly lastResult: DialResult | null;
  readonly connection: 'disconnected' | 'connecting' | 'connected' | 'reconnecting';
  readonly registration: 'unregistered' | 'registering' | 'registered' | 'failed';
  readonly calls: readonly Call[];
  /** Returns a function that removes the listener. */
  on<K extends keyof DialStrategyEvents>(type: K, listener: (event: DialStrategyEvents[K]) => void): () => void;
  /** Ends everything: the microphone is off at once, promises settle with `aborted`, goodbyes are sent. Listeners hear no more. */
  free(): void;
  [Symbol.dispose](): void;
}

export interface DialStrategyEvents {
  connection: { state: DialStrategy['connection']; error?: SoftphoneError };
  registration: { state: DialStrategy['registration']; error?: SoftphoneError };
  /** A new incoming call that rings. Never fired for the verified bridge leg of a rest-originate dial. */
  incoming: { call: Call };
  /** Every call, both directions, at each change of state, its first included. */
  call: { call: Call; state: CallState };
  /** A message has come (RFC 3428) and has been answered. `from`: the URI that the sender gives. */
  message: { from: string; displayName?: string; contentType: string; body: string };
  log: { level: 'debug' | 'info' | 'warn' | 'error'; time: number; text: string };
  /** The module can't go on (a defect): make a new instance. */
  fatal: { error: SoftphoneError };
}

export type CallState = 'new' | 'connecting' | 'ringing' | 'early-media' | 'active' | 'reconnecting' | 'ended';

/** A call. The object of a call stays the same: `phone.calls[0] === event.call`. Only the phone makes calls. */
export class Call {
  private constructor();
  /** The SIP Call-ID; for "rest-originate" the UUID by which the proxy knows the call. */
  readonly id: string;
  readonly direction: 'outgoing' | 'incoming';
  readonly strategy: StrategyName | null;
  readonly state: CallState;
  /** `assertedIdentity`: who the server says it is (RFC 3325); `diversion`: who has sent the call on (RFC 5806, RFC 7044). Both with
   *  `trustIdentity` only. */
  readonly remote: { uri: string; displayName?: string; assertedIdentity?: string; diversion?: string };
  /** The custom headers of a received INVITE: those of the names that `extraHeaders` takes, without those about identity; 32 at most. */
  readonly headers: Readonly<Record<string, string>>;
  /** Held by this side. */
  readonly localHold: boolean;
  /** Held by the other side. */
  readonly remoteHold: boolean;
  readonly muted: boolean;
  readonly localStream: MediaStream | null;
  /** For "rest-originate": `null` until the call is proved to be the provider's. */
  readonly remoteStream: MediaStream | null;
  readonly startedAt: number | null;
  /** `null` before the end. `q850`: the ISDN cause (Q.850), `reasonText`: what the other side says of it, both by its Reason header
   *  (RFC 3326); 128 characters at most, and a stranger's words: show them as text. */
  readonly endReason: { code: ErrorCode | 'completed' | 'cancelled' | 'answered_elsewhere'; sipStatus?: number; by: 'local' | 'remote' | 'network'; q850?: number; reasonText?: string } | null;
  /** Answers an incoming call. Resolves when the call is up, rejects with a SoftphoneError. */
  answer(options?: { audio?: boolean | MediaTrackConstraints }): Promise<void>;
  /** Refuses an incoming call; default 603. */
  reject(options?: { status?: number }): Promise<void>;
  /** CANCEL, BYE or reject, whichever the state calls for. */
  hangup(): Promise<void>;
  /** Puts the other side on hold (RFC 3264, section 8.4). Nothing is sent or played from the moment of the call on. Resolves when the
   *  other side has agreed; rejects when it refuses, and then the call stays as it was. `invalid_state` before it is answered. */
  hold(): Promise<void>;
  /** Takes the other side off hold; what mute() says still counts. */
  unhold(): Promise<void>;
  /** Sends this track instead of the microphone, over hold and renegotiation too; `null`: the microphone again. The track is never
   *  stopped here. While muted it is not sent at all; with `mixed` it is, because it holds more than the microphone (a conference):
   *  mute() then silences the microphone in `localStream` only. Rejects with `invalid_config` for anything but an audio track, `invalid_state`
   *  with `audio: false`. */
  replaceAudioTrack(track: MediaStreamTrack | null, options?: { mixed?: boolean }): Promise<void>;
  mute(): void;
  unmute(): void;
  /** Tones are 0-9, A-D, *, # and a comma for a pause. `duration` 40 to 6000 ms, default 100; `gap` from 30 ms, default 70.
   *  Resolves when the last tone has been sent. Calls made meanwhile queue up. */
  sendDtmf(tones: string, options?: { duration?: number; gap?: number; method?: 'rtp' | 'info' }): Promise<void>;
  /** Blind to an address (read as dial() does); attended to another call of this phone, whose place the other side takes (RFC 5589,
   *  RFC 3891). The call is put on hold first. Resolves when the transfer has succeeded, with the final NOTIFY, and the calls here end;
   *  on failure this call stays, on hold, and the promise rejects with what the target answered. */
  transfer(target: string | Call): Promise<void>;
  stats(): Promise<CallStats>;
  on<K extends keyof CallEvents>(type: K, listener: (event: CallEvents[K]) => void): () => void;
  /** Ends the call if it is not over, and releases its memory. */
  free(): void;
  [Symbol.dispose](): void;
}

export interface CallEvents {
  state: { state: CallState };
  hold: { local: boolean; remote: boolean };
  dtmf: { tone: string };
  /** Every two seconds while the call is active and somebody listens. */
  stats: CallStats;
  /** A transfer that this side asked for has come further; `sipStatus`: what the other side reports (RFC 3515, section 2.4.5). */
  transfer: { state: 'trying' | 'ringing' | 'accepted' | 'failed'; sipStatus?: number };
  /** The other side asks this phone to call somebody else (RFC 3515). `target` is a SIP URI and `referredBy` is not authenticated: ask the
   *  user. accept() resolves with the new call at once; its outcome is in its own events. */
  transferRequest: { target: string; referredBy?: string; accept(): Promise<Call>; reject(): Promise<void> };
  /** With `redirects: "ask"`: where else the other side can be reached, best first. The call waits for follow(), decline() (it ends as
   *  `redirected`) or hangup(), for as long as it may ring. Without a listener it is declined at once. */
  redirect: { targets: string[]; follow(index: number): Promise<void>; decline(): Promise<void> };
  /** Another call takes the place of this one (RFC 3891), which ends. */
  replaced: { call: Call };
  ended: NonNullable<Call['endReason']>;
}

export type SubscriptionState = 'pending' | 'active' | 'terminated';

/** Kept up until its end, whether the application holds it or not. */
export interface Subscription {
  /** For good once it is `terminated` (RFC 6665, section 4.1.2). */
  readonly state: SubscriptionState;
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
  codec: string | null;
  bytesSent: number;
  bytesReceived: number;
}
