// Registrar and stateless proxy (RFC 3261, sections 10 and 16.11) of one domain, over WebSockets (RFC 7118).

import { createHash } from 'node:crypto';

import { Numbers, NUMBERS } from './numbers.js';
import { addressIn, all, header, isDigestOf, parse, print, respond, token, userAndHost, withoutFirst } from './sip.js';

export const DOMAIN = 'sandbox.test';

/** User and password. No secrets: the sandbox listens on loopback only, and its page has them. */
export const ACCOUNTS = { alice: 'alice-secret', bob: 'bob-secret', carol: 'carol-secret' };

const METHODS = 'INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY, MESSAGE';

export class Network {
  #lines = new Map();
  /** The line of each user: of two phones of one user, the one that came last rings. */
  #users = new Map();
  #nonce = token();
  #numbers = new Numbers((number) => `sip:${number}@${DOMAIN};transport=ws`);
  #log;

  constructor(log) {
    this.#log = log;
  }

  /** A WebSocket has opened; `write` sends a text on it. Returns what takes its texts, and what is called when it has closed. */
  open(write) {
    const line = { id: token(), contacts: new Set() };
    line.send = (message) => write(print(message));
    this.#lines.set(line.id, line);
    return {
      take: async (text) => {
        // A ping, and its answer (RFC 5626, section 3.5.1).
        if (text === '\r\n\r\n') return write('\r\n');
        const message = parse(text);
        if (!message) return undefined;
        return message.method ? this.#request(line, message) : this.#response(message);
      },
      close: () => {
        this.#lines.delete(line.id);
        for (const [user, of] of this.#users) {
          if (of !== line) continue;
          this.#users.delete(user);
          this.#log(`${user} is gone`);
        }
        return this.#numbers.forget(line.send);
      },
    };
  }

  #request(line, request) {
    if (request.method === 'REGISTER') return this.#register(line, request);
    const ours = all(request, 'Route').length > 0;
    const message = ours ? withoutFirst(request, 'Route') : request;
    const to = userAndHost(message.uri);
    const isOurDomain = to?.host === DOMAIN;
    if (isOurDomain && Object.hasOwn(NUMBERS, to.user ?? '')) {
      if (message.method === 'INVITE') this.#log(`${userAndHost(addressIn(header(message, 'From')))?.user} calls ${to.user}`);
      return this.#numbers.take(to.user, message, line.send);
    }
    const target = isOurDomain ? this.#users.get(to.user) : this.#lineOf(message.uri);
    if (target) return this.#forward(line, target, message);
    if (request.method === 'ACK') return undefined;
    if (isOurDomain && request.method === 'OPTIONS' && !to.user) return line.send(respond(request, 200, 'OK', { headers: [['Allow', METHODS]] }));
    if (isOurDomain && Object.hasOwn(ACCOUNTS, to.user ?? '')) return line.send(respond(request, 480, 'Temporarily Unavailable'));
    return line.send(respond(request, 404, 'Not Found'));
  }

  /** The line to which this Contact leads. */
  #lineOf(uri) {
    const to = userAndHost(uri);
    return [...this.#lines.values()].find(({ contacts }) => contacts.has(`${to?.user}@${to?.host}`));
  }

  #forward(line, target, request) {
    const hops = Number(header(request, 'Max-Forwards') ?? 70);
    if (!(hops > 0)) return line.send(respond(request, 483, 'Too Many Hops'));
    this.#learn(line, request);
    if (request.method === 'INVITE') {
      line.send(respond(request, 100, 'Trying'));
      this.#log(`${userAndHost(addressIn(header(request, 'From')))?.user} calls ${userAndHost(addressIn(header(request, 'To')))?.user}`);
    }
    // The same for an INVITE and its CANCEL and ACK.
    const branch = createHash('sha256').update(header(request, 'Via')).digest('hex').slice(0, 24);
    const headers = request.headers.map(([name, value]) => [name, name.toLowerCase() === 'max-forwards' ? String(hops - 1) : value]);
    // The response comes back by this Via, which names the line of the request.
    const via = ['Via', `SIP/2.0/WS ${DOMAIN};branch=z9hG4bK${branch};line=${line.id}`];
    const isNew = !/;tag=/.test(header(request, 'To')) && request.method !== 'CANCEL' && request.method !== 'ACK';
    const route = isNew ? [['Record-Route', `<sip:${DOMAIN};transport=ws;lr>`]] : [];
    return target.send({ ...request, headers: [via, ...route, ...headers] });
  }

  #response(response) {
    const line = this.#lines.get(/;line=([0-9a-f]+)/.exec(header(response, 'Via'))?.[1]);
    // Its Contact stays: it leads to the phone that registered it.
    line?.send(withoutFirst(response, 'Via'));
  }

  /** Requests within a dialog go to a Contact, not to a user. */
  #learn(line, message) {
    const contact = userAndHost(addressIn(header(message, 'Contact') ?? ''));
    if (contact) line.contacts.add(`${contact.user}@${contact.host}`);
  }

  #register(line, request) {
    const { user } = userAndHost(addressIn(header(request, 'To'))) ?? {};
    const password = Object.hasOwn(ACCOUNTS, user ?? '') && ACCOUNTS[user];
    const authorization = header(request, 'Authorization') ?? '';
    if (!password || !isDigestOf(authorization, 'REGISTER', password, (nonce) => nonce === this.#nonce)) {
      const challenge = `Digest realm="${DOMAIN}", nonce="${this.#nonce}", algorithm=MD5, qop="auth"`;
      return line.send(respond(request, 401, 'Unauthorized', { headers: [['WWW-Authenticate', challenge]] }));
    }
    const contact = header(request, 'Contact') ?? '';
    const expires = Number(/;expires=(\d+)/.exec(contact)?.[1] ?? header(request, 'Expires') ?? 600);
    if (contact === '*' || expires === 0) {
      if (this.#users.get(user) === line) this.#users.delete(user);
      this.#log(`${user} has unregistered`);
      return line.send(respond(request, 200, 'OK'));
    }
    if (this.#users.get(user) !== line) this.#log(`${user} has registered`);
    this.#users.set(user, line);
    this.#learn(line, request);
    const bound = contact.replace(/;expires=\d+/, '');
    return line.send(respond(request, 200, 'OK', { headers: [['Contact', `${bound};expires=${expires}`]] }));
  }
}
