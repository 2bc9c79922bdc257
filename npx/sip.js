// SIP messages (RFC 3261, section 7) as they come over a WebSocket: one in each frame, no folding, no compact names, because
// the phone of the package sends none.

import { createHash, randomBytes } from 'node:crypto';

/** `null`: this is no SIP message. */
export function parse(text) {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const [start, ...lines] = text.slice(0, end).split('\r\n');
  const headers = [];
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon <= 0) return null;
    headers.push([line.slice(0, colon).trim(), line.slice(colon + 1).trim()]);
  }
  const message = { headers, body: text.slice(end + 4) };
  const request = /^([A-Z]+) (\S+) SIP\/2\.0$/.exec(start);
  const response = /^SIP\/2\.0 ([1-6]\d\d) ?(.*)$/.exec(start);
  if (request) Object.assign(message, { method: request[1], uri: request[2] });
  else if (response) Object.assign(message, { status: Number(response[1]), reason: response[2] });
  else return null;
  const needed = ['Via', 'From', 'To', 'Call-ID', 'CSeq'];
  return needed.every((name) => header(message, name) !== undefined) ? message : null;
}

export function print(message) {
  const start = message.method ? `${message.method} ${message.uri} SIP/2.0` : `SIP/2.0 ${message.status} ${message.reason}`;
  const headers = message.headers.filter(([name]) => !same(name, 'Content-Length'));
  headers.push(['Content-Length', String(Buffer.byteLength(message.body))]);
  return `${start}\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${message.body}`;
}

const same = (one, other) => one.toLowerCase() === other.toLowerCase();

/** The first header of this name. */
export const header = (message, name) => message.headers.find(([other]) => same(other, name))?.[1];

export const all = (message, name) => message.headers.filter(([other]) => same(other, name)).map(([, value]) => value);

/** The message without the first header of this name. */
export function withoutFirst(message, name) {
  const at = message.headers.findIndex(([other]) => same(other, name));
  return { ...message, headers: message.headers.filter((_, index) => index !== at) };
}

export const token = () => randomBytes(6).toString('hex');

/** A response of this server (RFC 3261, section 8.2.6). */
export function respond(request, status, reason, { tag = token(), headers = [], body = '' } = {}) {
  const copied = request.headers.filter(([name]) => ['via', 'from', 'to', 'call-id', 'cseq', 'record-route'].includes(name.toLowerCase()));
  const answered = copied.map(([name, value]) => {
    const isNew = same(name, 'To') && status > 100 && !/;tag=/.test(value);
    return [name, isNew ? `${value};tag=${tag}` : value];
  });
  return { status, reason, headers: [...answered, ...headers], body };
}

/** The address in a name-addr or addr-spec. */
export const addressIn = (value) => /<([^>]*)>/.exec(value)?.[1] ?? value.split(';')[0].trim();

/** User and host of a sip: URI, in the spelling in which two of them are compared. */
export function userAndHost(uri) {
  const found = /^sips?:(?:([^@;?:]*)(?::[^@]*)?@)?([^;?:>]+)/.exec(uri);
  return found ? { user: found[1], host: found[2].toLowerCase() } : null;
}

/** Whether a digest (RFC 3261, section 22.4; MD5, qop=auth) is that of this password. */
export function isDigestOf(authorization, method, password, isNonce) {
  const value = (name) => new RegExp(`(?:^|[ ,])${name}="?([^",]*)"?`).exec(authorization)?.[1] ?? '';
  const hash = (...parts) => createHash('md5').update(parts.join(':')).digest('hex');
  const secret = hash(value('username'), value('realm'), password);
  const asked = hash(method, value('uri'));
  const expected = hash(secret, value('nonce'), value('nc'), value('cnonce'), value('qop'), asked);
  return isNonce(value('nonce')) && value('response') === expected;
}
