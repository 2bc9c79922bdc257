// What must compile under `tsc --strict` against the types that ship.
import init, {
  Call,
  DialStrategy,
  originateCall,
  registerProvider,
  type CallStats,
  type DialResult,
  type DialStrategyConfig,
  type ErrorCode,
  type OriginatedCall,
  type SoftphoneError,
  type StrategyName,
} from '../../pkg/index.js';

await init();
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
  iceServers: [{ urls: 'stun:stun.example.com' }],
  iceTransportPolicy: 'relay',
  iceGatherTimeout: 500,
  codecs: ['opus', 'PCMA'],
  audio: { echoCancellation: true },
  audioElement: null,
  defaultCountry: 'SE',
  debug: true,
};

const phone = new DialStrategy(config);
new DialStrategy();
phone.configure({ displayName: 'A' });
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
