/**
 * What a PBX behind an edge proxy sends to a telephone: some 1,300 characters a request, more where it has a description.
 * Each has a Call-ID, tags and branches of its own, so that no library can know it already.
 */

const HEX = '0123456789abcdef';

/** A token like those of servers. */
function token(length) {
  let text = '';
  for (let at = 0; at < length; at += 1) text += HEX[(Math.random() * 16) | 0];
  return text;
}

const EDGE = '<sip:edge1.example.com:7443;transport=ws;r2=on;lr;ftag=';
const CORE = '<sip:10.20.0.5:5060;r2=on;lr;ftag=';
const ALLOW = 'Allow: OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, REFER, MESSAGE';

/** The parts that every request has. */
function request(method, { target, callId, from, to, cseq, branch, contact = '2002', more = [], type, body = '' }) {
  const lines = [
    `${method} ${target} SIP/2.0`,
    `Via: SIP/2.0/WSS edge1.example.com:7443;branch=z9hG4bK${branch}.0;i=${token(4)}`,
    `Via: SIP/2.0/UDP 10.20.0.5:5060;rport=5060;received=10.20.0.5;branch=z9hG4bK${token(4)}.${branch}.1`,
    `Via: SIP/2.0/UDP 10.20.0.17:5080;rport=5080;received=10.20.0.17;branch=z9hG4bKPj${token(8)}-${token(4)}-${token(12)}`,
    `Record-Route: ${EDGE}${from.tag};did=${token(3)}.${token(4)}>`,
    `Record-Route: ${CORE}${from.tag};did=${token(3)}.${token(4)}>`,
    `From: ${from.text};tag=${from.tag}`,
    `To: ${to.text}${to.tag ? `;tag=${to.tag}` : ''}`,
    `Contact: <sip:${contact}@10.20.0.17:5080;transport=udp;alias=10.20.0.17~5080~1>`,
    `Call-ID: ${callId}`,
    `CSeq: ${cseq} ${method}`,
    'Max-Forwards: 67',
    ALLOW,
    'Supported: 100rel, timer, replaces, norefersub, outbound, path',
    'P-Asserted-Identity: "Alice Andersson" <sip:2002@pbx.example.com>',
    `X-Session-ID: ${token(32)};remote=00000000000000000000000000000000`,
    'User-Agent: Example PBX 22.4.1',
    ...more,
    ...(body ? [`Content-Type: ${type}`] : []),
    // All of it is ASCII.
    `Content-Length: ${body.length}`,
  ];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}

const ALICE = '"Alice Andersson" <sip:2002@pbx.example.com;user=phone>';
const US = '<sip:2001@pbx.example.com>';

/** A call, a text or a question of its own. */
function outside(target) {
  return {
    target,
    callId: `${token(8)}-${token(4)}-${token(4)}-${token(12)}@10.20.0.17`,
    from: { text: ALICE, tag: `as${token(8)}` },
    to: { text: US },
    cseq: 100 + ((Math.random() * 899) | 0),
    branch: token(32),
  };
}

export function message(target) {
  const given = outside(target);
  const body = `Lunch at noon in the small room on floor ${token(1)}? The others come too, and the agenda is number ${token(12)} of the list. Tell me if it is too early for you.`;
  return { ...given, method: 'MESSAGE', body, text: request('MESSAGE', { ...given, type: 'text/plain;charset=UTF-8', body }) };
}

export function options(target) {
  const given = outside(target);
  const more = ['Accept: application/sdp, application/dialog-info+xml, text/plain', 'Session-Expires: 1800;refresher=uac', 'Min-SE: 90'];
  return { ...given, method: 'OPTIONS', text: request('OPTIONS', { ...given, more }) };
}

export function invite(target) {
  const given = outside(target);
  const fingerprint = Array.from({ length: 32 }, () => token(2).toUpperCase()).join(':');
  const body = `${[
    'v=0',
    `o=- ${1_000_000_000 + ((Math.random() * 1e9) | 0)} 1 IN IP4 203.0.113.5`,
    's=Example PBX',
    'c=IN IP4 203.0.113.5',
    't=0 0',
    'a=msid-semantic:WMS *',
    'm=audio 30014 UDP/TLS/RTP/SAVPF 111 9 0 8 101',
    `a=ice-ufrag:${token(8)}`,
    `a=ice-pwd:${token(24)}`,
    `a=candidate:H${token(8)} 1 UDP 2130706431 203.0.113.5 30014 typ host`,
    `a=fingerprint:sha-256 ${fingerprint}`,
    'a=setup:actpass',
    'a=mid:0',
    'a=rtpmap:111 opus/48000/2',
    'a=fmtp:111 minptime=10;useinbandfec=1',
    'a=rtpmap:9 G722/8000',
    'a=rtpmap:0 PCMU/8000',
    'a=rtpmap:8 PCMA/8000',
    'a=rtpmap:101 telephone-event/8000',
    'a=fmtp:101 0-16',
    'a=rtcp-mux',
    'a=ptime:20',
    'a=sendrecv',
  ].join('\r\n')}\r\n`;
  const more = ['Session-Expires: 1800;refresher=uac', 'Min-SE: 90'];
  return { ...given, method: 'INVITE', text: request('INVITE', { ...given, more, type: 'application/sdp', body }) };
}

/** What the server says to the refusal of that call: it is part of the transaction (RFC 3261, section 17.1.1.3). */
export function ack(invited, tag) {
  const lines = [
    `ACK ${invited.target} SIP/2.0`,
    invited.text.slice(invited.text.indexOf('Via: '), invited.text.indexOf('\r\nVia: SIP/2.0/UDP')),
    `From: ${invited.from.text};tag=${invited.from.tag}`,
    `To: ${invited.to.text};tag=${tag}`,
    `Call-ID: ${invited.callId}`,
    `CSeq: ${invited.cseq} ACK`,
    'Max-Forwards: 67',
    'User-Agent: Example PBX 22.4.1',
    'Content-Length: 0',
  ];
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** The next state of the lamp, in the dialog of a subscription. */
export function notify(subscribed) {
  subscribed.cseq += 1;
  const state = ['early', 'confirmed', 'terminated'][subscribed.cseq % 3];
  const body = `<?xml version="1.0" encoding="UTF-8"?>
<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="${subscribed.cseq}" state="full" entity="sip:2002@pbx.example.com">
 <dialog id="${token(16)}" direction="recipient"><state>${state}</state>
  <remote><identity>sip:2003@pbx.example.com</identity><target uri="sip:2003@pbx.example.com"/></remote>
 </dialog>
</dialog-info>
`;
  const { target, callId, from, to, cseq } = subscribed;
  const given = { target, callId, from, to, cseq, branch: token(32) };
  const more = ['Event: dialog', 'Subscription-State: active;expires=3540'];
  return { ...given, method: 'NOTIFY', body, text: request('NOTIFY', { ...given, more, type: 'application/dialog-info+xml', body }) };
}
