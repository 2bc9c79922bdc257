// What must compile under `tsc --strict` against the types that ship.
import init, {
  Call,
  DialStrategy,
  Phone,
  isSoftphoneError,
  originateCall,
  registerProvider,
  type CallStats,
  type DialResult,
  type Dialing,
  type PhoneSnapshot,
  type DialStrategyConfig,
  type ErrorCode,
  type OriginatedCall,
  type Publication,
  type SoftphoneError,
  type Subscription,
  type StrategyName,
} from '../../pkg/index.js';
import { Conference } from '../../pkg/conference.js';
import initInline, { DialStrategy as InlineDialStrategy } from '../../pkg/inline.js';
import { PhoneTabs, type TabCall, type TabDialResult, type TabRole } from '../../pkg/tabs.js';

await init();
await initInline();
const samePhone: DialStrategy = new InlineDialStrategy();
samePhone.free();
await init('/assets/wasm_softphone_bg.wasm');
await init(new URL('https://example.com/a.wasm'));
await init(fetch('/a.wasm'));
await init(new Uint8Array(8));
await init({ module_or_path: new Response() });

const config: DialStrategyConfig = {
  servers: ['wss://sip.example.com', 'ws://127.0.0.1:8080/sip'],
  uri: 'sip:alice@example.com',
  displayName: 'Alice',
  credentials: async () => ({ username: 'alice', password: await Promise.resolve('x') }),
  register: true,
  registerExpires: 600,
  providerId: 'custom',
  strategy: 'auto',
  autoDetect: true,
  proxyUrl: '/api/calls',
  callerId: 'main',
  proxyHeaders: () => ({ 'X-Session': 'abc' }),
  iceServers: async () => [{ urls: 'stun:stun.example.com' }],
  iceTransportPolicy: 'relay',
  iceGatherTimeout: 500,
  codecs: ['opus', 'PCMA'],
  audio: { echoCancellation: true },
  audioElement: null,
  defaultCountry: 'SE',
  sessionTimers: { expires: 600 },
  redirects: 'ask',
  replaces: 'ask',
  trustIdentity: true,
  autoAnswer: ['bob@example.com'],
  instanceId: 'urn:uuid:00000000-0000-4000-8000-000000000000',
  anonymous: false,
  debug: true,
};

const phone = new DialStrategy(config);
new DialStrategy();
new DialStrategy({
  ...config,
  credentials: [{ password: 'x' }, { username: 'gw', password: 'y', realm: 'gateway.example.com' }],
});
const gateway = { username: 'gw', password: 'y', realm: 'gateway.example.com' };
new DialStrategy({ ...config, credentials: ({ realm }) => (realm === gateway.realm ? gateway : { password: 'x' }) });
phone.configure({ displayName: 'A', iceServers: [{ urls: 'stun:stun.example.com' }] });
await phone.connect();

const off: () => void = phone.on('incoming', ({ call }) => {
  const incoming: Call = call;
  void incoming.answer({ audio: true });
});
off();
phone.on('call', ({ call, state }) => {
  if (state === 'early-media') call.mute();
});
phone.on('connection', ({ state, error }) => {
  const s: 'disconnected' | 'connecting' | 'connected' | 'reconnecting' = state;
  const hint: string | undefined = error?.hint;
  void [s, hint];
});
const snapshot: PhoneSnapshot = phone.getSnapshot();
phone.once('change', ({ calls, registration }) => console.log(calls[0]?.call.id, registration, snapshot.isDialing), { signal: AbortSignal.timeout(1000) });
const onCall = ({ call }: { call: Call }) => console.log(JSON.stringify(call));
phone.on('call', onCall, { once: true });
phone.off('call', onCall);
const alias: Phone = phone;
new Phone({ ...config, insecureLocalServers: true });
const dialing: Dialing = alias.dial('600', { metadata: { ticket: 7 } });
void dialing.call?.hangup();
dialing.call?.once('mute', ({ muted }) => muted === true);
const times: (number | null)[] = [dialing.call?.endedAt ?? null, dialing.call?.duration ?? null];
if (dialing.call) dialing.call.metadata = times;
try {
  await phone.connect();
} catch (error) {
  if (isSoftphoneError(error)) console.error(error.code, error.hint);
}
phone.on('log', ({ level, time, text }) => console[level](new Date(time), text));
phone.on('fatal', ({ error }) => console.error(error.code, error.message));

const result: DialResult = await phone.dial('+46101234567', {
  signal: AbortSignal.timeout(1000),
  timeout: 30_000,
  strategy: 'sip-invite',
  extraHeaders: { 'X-Tag': '1' },
  audio: false,
  onProgress: (stage, call) => console.log(stage === 'ringing', call.id),
});
if (result.success) {
  const call: Call = result.call;
  const strategy: StrategyName = result.strategy;
  await call.sendDtmf('12#', { duration: 100, gap: 50, method: 'rtp' });
  const stats: CallStats = await call.stats();
  const mos: number | null = stats.mos;
  const stopped = call.on('ended', (reason) => console.log(reason.code, reason.by, reason.sipStatus));
  call.on('state', ({ state }) => console.log(state));
  stopped();
  const stream: MediaStream | null = call.remoteStream;
  call.on('transferRequest', async ({ target, referredBy, accept, reject }) => {
    const next: Call | void = referredBy ? await accept() : await reject();
    void [target, next];
  });
  const ticket: string | undefined = call.headers['X-Ticket'];
  const cause: number | undefined = call.endReason?.q850;
  const text: string | undefined = call.endReason?.reasonText;
  const retry: number | undefined = phone.error?.retryAfter;
  void [ticket, cause, text, retry];
  call.on('redirect', ({ targets, follow, decline }) => (targets.length > 0 ? follow(0) : decline()));
  call.on('replaced', ({ call: next }) => next.mute());
  call.on('remoteTrack', ({ track }) => track.enabled);
  const former: Call | null = call.replaces;
  void former;
  call.on('transfer', ({ state, sipStatus }) => state === 'failed' && sipStatus);
  await call.hold();
  await call.unhold();
  await call.replaceAudioTrack(call.localStream?.getAudioTracks()[0] ?? null, { mixed: true });
  await call.replaceAudioTrack(null);
  await call.transfer('sip:bob@example.com');
  if (phone.calls[1]) await call.transfer(phone.calls[1]);
  const conference = new Conference();
  await conference.add(call);
  await conference.remove(conference.calls[0] ?? call);
  await conference.end();
  const identity: string | undefined = call.remote.assertedIdentity ?? call.remote.assertedDisplayName ?? call.remote.diversion;
  call.on('remote', ({ uri, private: hidden }) => !hidden && uri);
  void identity;
  await call.hangup();
  call.free();
  void [strategy, mos, stream];
} else {
  const error: SoftphoneError = result.error;
  const code: ErrorCode = error.code;
  const status: number | undefined = error.sipStatus;
  const retry: boolean = error.retryable;
  void [code, status, retry];
}

phone.configure({ sessionTimers: false, redirects: 3 });
phone.on('message', ({ from, displayName, contentType, body }) => console.log(from, displayName, contentType, body));
await phone.sendMessage('sip:bob@example.com', 'Hello', { contentType: 'text/plain', extraHeaders: { 'X-Tag': '1' } });
await phone.sendOptions('sip:bob@example.com');
const subscription: Subscription = phone.subscribe('sip:alice@example.com', 'message-summary', {
  accept: ['application/simple-message-summary'],
  expires: 600,
});
subscription.on('notify', ({ contentType, body }) => console.log(contentType, body));
subscription.on('state', ({ state, error }) => state === 'terminated' && error?.code);
await subscription.unsubscribe();
const publication: Publication = phone.publish('presence', '<presence/>', { contentType: 'application/pidf+xml' });
publication.update('<presence/>');
await publication.unpublish();
const strategy: StrategyName = phone.strategyFor('sip:bob@example.com');
const reason: string = phone.strategyReason('sip:bob@example.com');
const calls: readonly Call[] = phone.calls;
const last: DialResult | null = phone.lastResult;
const error: SoftphoneError | null = phone.error;
phone.reset();
registerProvider({ id: 'mine', strategies: ['sip-invite'], sessionTimers: false });
const leg: OriginatedCall = await originateCall({
  proxyUrl: '/api/calls',
  destination: '+46101234567',
  callerId: 'main',
  headers: { Authorization: 'Bearer abc' },
  signal: AbortSignal.timeout(1000),
});
const text: string = [leg.id, leg.direction, leg.from, leg.to, leg.state].join();
await leg.cancel();
phone.configure({ proxyHeaders: async () => ({ Authorization: `Bearer ${await Promise.resolve(text)}` }) });
phone.configure({ providerId: '46elks', proxyUrl: 'https://proxy.example.com', callerId: 'main' });
await phone.dial('+46101234567', {
  strategy: 'rest-originate',
  callerId: 'other',
  onProgress: (stage) => console.log(stage === 'ringing-client' || stage === 'client-connected'),
});
await phone.disconnect();
phone.free();
void [strategy, reason, calls, last, error, phone.isDialing];

phone.configure({ resume: true });
phone.on('record', ({ record }) => record?.length);
const record: string | null = phone.record;
if (record !== null) {
  const taken: number = new DialStrategy(config).resumeCalls(record, 0);
  void taken;
}
phone.abandon();
const tabs = new PhoneTabs(config, { name: 'desk' });
tabs.on('role', ({ role }) => {
  const now: TabRole = role;
  void now;
});
tabs.on('incoming', ({ call }) => void call.reject({ status: 486 }));
tabs.on('error', ({ error }) => console.error(error.code));
await tabs.join();
const tabbed: TabDialResult = await tabs.dial('sip:bob@example.com', { timeout: 10_000, audio: false });
if (tabbed.success) {
  const id: string = tabbed.callId;
  void id;
}
const shared: TabCall | undefined = tabs.calls[0];
shared?.on('mute', ({ muted }) => muted);
shared?.on('ended', ({ code, by }) => [code, by]);
await shared?.sendDtmf('1', { method: 'info' });
const own: Call | null | undefined = shared?.call;
const here: DialStrategy | null = tabs.phone;
await tabs.leave();
void [own, here];
