// The service numbers: who answers, who is busy.

import { Echo } from './echo.js';
import { header, respond, token } from './sip.js';

export const NUMBERS = {
  600: 'Echo',
  602: 'Busy',
  603: 'Rings, never answers',
  604: 'Declines',
  606: 'Echo that hangs up after 3 s',
};

const SHORT_CALL = 3000;
const ALLOW = ['Allow', 'INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE'];

export class Numbers {
  /** Calls by Call-ID: number, tag, how to send, the INVITE while it rings, the echo once it was answered. */
  #calls = new Map();
  #contact;

  /** `contact`: the address of a number here. */
  constructor(contact) {
    this.#contact = contact;
  }

  /** A request to a number; `send` takes a message back to who sent it. */
  async take(number, request, send) {
    const id = header(request, 'Call-ID');
    const call = this.#calls.get(id);
    switch (request.method) {
      case 'ACK':
        return;
      case 'INVITE':
        await (call ? this.#renew(call, request, send) : this.#ring(number, id, request, send));
        return;
      case 'CANCEL':
        send(respond(request, 200, 'OK', { tag: call?.tag }));
        if (call?.ringing) {
          send(respond(call.ringing, 487, 'Request Terminated', { tag: call.tag }));
          await this.#end(id, call);
        }
        return;
      case 'BYE':
        send(call ? respond(request, 200, 'OK') : respond(request, 481, 'Call/Transaction Does Not Exist'));
        if (call) await this.#end(id, call);
        return;
      case 'UPDATE':
        await (call && request.body ? this.#renew(call, request, send) : send(respond(request, call ? 200 : 481, 'OK')));
        return;
      case 'OPTIONS':
      case 'INFO':
      case 'MESSAGE':
        send(respond(request, 200, 'OK', { headers: [ALLOW] }));
        return;
      default:
        send(respond(request, 501, 'Not Implemented'));
    }
  }

  /** The calls of who has gone away. */
  async forget(send) {
    for (const [id, call] of this.#calls) if (call.send === send) await this.#end(id, call);
  }

  async #ring(number, id, request, send) {
    const call = { number, tag: token(), send, ringing: request };
    if (number === '602') return send(respond(request, 486, 'Busy Here'));
    if (number === '604') return send(respond(request, 603, 'Decline'));
    this.#calls.set(id, call);
    send(respond(request, 180, 'Ringing', { tag: call.tag, headers: [this.#contactOf(number)] }));
    if (number === '603') return undefined;
    call.echo = new Echo();
    await this.#renew(call, request, send);
    if (number !== '606' || !this.#calls.has(id)) return undefined;
    call.timer = setTimeout(() => {
      send(this.#bye(call, request));
      this.#end(id, call).catch(() => {});
    }, SHORT_CALL);
  }

  /** Answers an offer, the first of the call or a later one. */
  async #renew(call, request, send) {
    let body;
    try {
      body = await call.echo.answer(request.body);
    } catch (error) {
      // An offer that the echo cannot take: the call stays as it was, and one that was not up is over.
      send(respond(request, 488, 'Not Acceptable Here', { tag: call.tag, headers: [['Warning', `399 sandbox "${error.message.replace(/["\r\n]/g, ' ')}"`]] }));
      if (call.ringing) await this.#end(header(request, 'Call-ID'), call);
      return;
    }
    if (call.ringing === request) {
      // Cancelled while candidates were gathered.
      if (this.#calls.get(header(request, 'Call-ID')) !== call) return;
      call.ringing = undefined;
    }
    const headers = [this.#contactOf(call.number), ALLOW, ['Content-Type', 'application/sdp']];
    send(respond(request, 200, 'OK', { tag: call.tag, headers, body }));
  }

  #contactOf(number) {
    return ['Contact', `<${this.#contact(number)}>`];
  }

  #bye(call, invite) {
    const to = header(invite, 'To');
    return {
      method: 'BYE',
      uri: /<([^>]*)>/.exec(header(invite, 'Contact'))?.[1] ?? header(invite, 'Contact'),
      headers: [
        ['Via', `SIP/2.0/WS sandbox.invalid;branch=z9hG4bK${token()}`],
        ['Max-Forwards', '70'],
        ['From', /;tag=/.test(to) ? to : `${to};tag=${call.tag}`],
        ['To', header(invite, 'From')],
        ['Call-ID', header(invite, 'Call-ID')],
        ['CSeq', '1 BYE'],
      ],
      body: '',
    };
  }

  async #end(id, call) {
    this.#calls.delete(id);
    clearTimeout(call.timer);
    await call.echo?.close();
  }
}
