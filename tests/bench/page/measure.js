/** Measures one library in this page: `globalThis.bench`. The server is played by `server.mjs`. */

import { ack, invite, message, notify, options } from './messages.js';

/** So many promises in a row may lead from a message to its answer. */
const HOPS = 32;
/** Milliseconds after which an answer is missing. */
const LATE = 5000;

const server = globalThis.server;
const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** A string as a WebSocket gives it: made by the browser, of bytes, and never looked at. */
const fresh = (text) => decoder.decode(encoder.encode(text));

const { port1, port2 } = new MessageChannel();
/** Resolves in a task of its own, as each message of a WebSocket comes. */
const task = () => new Promise((resolve) => {
  port1.onmessage = resolve;
  port2.postMessage(null);
});

/** What the application has been told since the last request. */
const told = { at: 0, times: 0, who: '', body: '', refuse: null };
const app = {
  happened() {
    told.at = performance.now();
    told.times += 1;
  },
  read(who, body) {
    told.who = who;
    told.body = body;
  },
  rings(who, refuse) {
    told.who = who;
    told.refuse = refuse;
  },
};

function forget() {
  Object.assign(told, { at: 0, times: 0, who: '', body: '', refuse: null });
  server.sent.length = 0;
}

function require(condition, what, request) {
  if (!condition) throw new Error(`${what}\n--- told ${told.times} times\n--- request\n${request.text}\n--- sent\n${server.sent.join('\n')}`);
}

/** Milliseconds until what `act` has begun is done: all promises that follow have settled, and so much has been sent. */
async function duration(act, sent) {
  const from = performance.now();
  act();
  for (let hop = 0; hop < HOPS; hop += 1) await null;
  while (server.sent.length < sent && performance.now() - from < LATE) await task();
  return [from, performance.now() - from];
}

/** Hands a text to the socket's listeners. */
function hand(text) {
  const event = new MessageEvent('message', { data: fresh(text) });
  const [hear, ...others] = server.socket.hears;
  if (!hear || others.length > 0) throw new Error('the socket has no listener, or several');
  return () => hear.call(server.socket, event);
}

/** The status of the responses to this request; throws for any that is not to it. */
function answered(request) {
  return server.sent.map((text) => {
    const [, status] = /^SIP\/2\.0 (\d{3}) /.exec(text) ?? [];
    const mine = text.includes(request.callId) && text.includes(`${request.cseq} ${request.method}`) && text.includes(request.branch);
    require(status && mine, 'a response is not to the request', request);
    return Number(status);
  });
}

/** Milliseconds to the event, and of all. */
async function one(request, events) {
  forget();
  const deliver = hand(request.text);
  await task();
  const [from, all] = await duration(deliver, 1);
  require(told.times === events, `the application was told ${told.times} times`, request);
  const statuses = answered(request);
  require(statuses.length === 1 && statuses[0] === 200, 'it was not answered with one 200', request);
  if (events) require(told.body === request.body && told.who.includes('2002@pbx.example.com'), 'the application was told something else', request);
  return [told.at - from, all];
}

async function call() {
  const request = invite(server.contact);
  forget();
  const deliver = hand(request.text);
  await task();
  const [from, ringing] = await duration(deliver, 1);
  const at = told.at;
  // It may say 100 before.
  while (!server.sent.at(-1)?.startsWith('SIP/2.0 180') && performance.now() - from < LATE) await task();
  require(told.times === 1 && told.who.includes('2002@pbx.example.com'), 'no call, or several', request);
  require([[180], [100, 180]].some((right) => String(right) === String(answered(request))), 'it does not ring', request);
  await task();
  const [, refusing] = await duration(told.refuse, server.sent.length + 1);
  const statuses = answered(request);
  require(statuses.at(-1) === 486 && statuses.filter((status) => status === 486).length === 1, 'it was not refused', request);
  const tag = /^To:.*;tag=([^;\r]+)/im.exec(server.sent.at(-1))?.[1];
  require(tag, 'the refusal has no tag', request);
  const acknowledge = hand(ack(request, tag));
  await task();
  const before = server.sent.length;
  const [, confirming] = await duration(acknowledge, before);
  require(server.sent.length === before, 'something was sent after the ACK', request);
  return [at - from, ringing + refusing + confirming];
}

const KINDS = {
  MESSAGE: { once: () => one(message(server.contact), 1), parts: 1 },
  OPTIONS: { once: () => one(options(server.contact), 0), parts: 1 },
  NOTIFY: { once: () => one(notify(server.subscribed), 1), parts: 1 },
  INVITE: { once: call, parts: 3 },
};

/** What measuring costs by itself, milliseconds. */
async function own() {
  let all = 0;
  const times = 200;
  for (let time = 0; time < times; time += 1) {
    forget();
    await task();
    all += (await duration(() => undefined, 0))[1];
  }
  return all / times;
}

let library;
let telephone;

globalThis.bench = {
  /** Milliseconds until the library is there. */
  async load(url) {
    const from = performance.now();
    library = await import(url);
    await library.ready();
    return performance.now() - from;
  },

  /** Resolves once the telephone is registered. */
  async start() {
    if (!globalThis.crossOriginIsolated) throw new Error('the clock of this page is coarse');
    telephone = await library.start(app);
    if (!server.contact) throw new Error('nobody has registered');
  },

  async watch() {
    library.watch(telephone, app);
    const from = performance.now();
    while (!server.subscribed && performance.now() - from < LATE) await task();
    if (!server.subscribed) throw new Error('nobody has subscribed');
    await task();
  },

  /** Means of so many requests, in microseconds: until the event, `null` where there is none, and of all. */
  async round(kind, times) {
    const { once, parts } = KINDS[kind];
    let [event, all] = [0, 0];
    const harness = await own();
    for (let time = 0; time < times; time += 1) {
      const [toEvent, ofAll] = await once();
      event += toEvent;
      all += ofAll;
    }
    const told = kind === 'OPTIONS' ? null : (event / times) * 1000;
    return { event: told, all: (all / times - parts * harness) * 1000, harness: harness * 1000, length: (kind === 'NOTIFY' ? notify(server.subscribed) : { MESSAGE: message, OPTIONS: options, INVITE: invite }[kind](server.contact)).text.length };
  },

  /** The first of its kind: milliseconds to the event, and of all. */
  async first(kind) {
    const [event, all] = await KINDS[kind].once();
    return { event, all };
  },
};
