// What must not compile: `tsc` fails on a `@ts-expect-error` without an error.
import { PhoneTabs, TabCall } from '../../pkg/tabs.js';
import init, { Call, DialStrategy, originateCall, registerProvider } from '../../pkg/index.js';

// @ts-expect-error null is no source of a module
await init(null);

// @ts-expect-error servers and uri are required
new DialStrategy({ servers: 'wss://sip.example.com' });

const phone = new DialStrategy({ servers: 'wss://sip.example.com', uri: 'sip:a@example.com' });

// @ts-expect-error API credentials have no place in the browser
phone.configure({ apiUsername: 'u', apiPassword: 'p' });

// @ts-expect-error no such option
phone.configure({ server: 'wss://sip.example.com' });

// @ts-expect-error a snapshot is read-only
phone.getSnapshot().isDialing = true;

// @ts-expect-error no such strategy
phone.configure({ strategy: 'rest' });

// @ts-expect-error no such event
phone.on('ring', () => {});

// @ts-expect-error the event has no such field
phone.on('incoming', ({ caller }) => caller);

// @ts-expect-error read-only
phone.isDialing = true;

// @ts-expect-error read-only list
phone.calls.push();

// @ts-expect-error a destination is a string
void phone.dial(46101234567);

const result = await phone.dial('sip:bob@example.com');
// @ts-expect-error only a success has a call: narrow first
result.call.hangup();
// @ts-expect-error a success has no error
if (result.success) result.error.code;

// @ts-expect-error only the phone makes calls
new Call();

const [call] = phone.calls;
// @ts-expect-error no such method of sending
void call?.sendDtmf('1', { method: 'inband' });
// @ts-expect-error state is one of the call states
if (call?.state === 'held') call.free();

// @ts-expect-error strategies are required
registerProvider({ id: 'mine' });

// @ts-expect-error a header is a text
phone.configure({ proxyHeaders: { 'X-Session': 1 } });

// @ts-expect-error an API's credentials are no option of a call
void originateCall({ proxyUrl: '/calls', destination: '+46101234567', apiPassword: 'p' });

// @ts-expect-error the proxy's address is required
void originateCall({ destination: '+46101234567' });

const leg = await originateCall({ proxyUrl: '/calls', destination: '+46101234567' });
// @ts-expect-error read-only
leg.state = 'ended';

// @ts-expect-error off, ask or a number
phone.configure({ redirects: 'follow' });

// @ts-expect-error peer, any or ask
phone.configure({ replaces: true });

// @ts-expect-error an address, or a call
void call?.transfer(1);

// @ts-expect-error a stream is no track
void call?.replaceAudioTrack(call.localStream);

// @ts-expect-error the body is a text
void phone.sendMessage('sip:bob@example.com', { text: 'Hello' });

// @ts-expect-error an event package is named
phone.subscribe('sip:bob@example.com');

// @ts-expect-error a publication is not notified
phone.publish('presence', '').on('notify', () => {});

// @ts-expect-error yes or no
phone.configure({ resume: 'sessionStorage' });

// @ts-expect-error how old it is must be said
phone.resumeCalls('wasm-softphone-calls/1');

// @ts-expect-error read-only
phone.record = null;

const tabs = new PhoneTabs({ servers: 'wss://sip.example.com', uri: 'sip:a@example.com' });
// @ts-expect-error only tabs make these calls
new TabCall();
// @ts-expect-error a signal does not go from tab to tab
void tabs.dial('sip:bob@example.com', { signal: AbortSignal.timeout(1) });
// @ts-expect-error of the call itself, in the tab that has the phone
void tabs.calls[0]?.transfer('sip:bob@example.com');
// @ts-expect-error there may be no phone here
void tabs.phone.connect();
