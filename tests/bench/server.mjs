/**
 * For `context.addInitScript`: in place of WebSockets, ones that a server plays in the page, so that nothing but the library
 * takes time. Every request of the telephone is answered with 200. `globalThis.server` has what it has sent. Runs in the
 * page.
 */
export function playServer() {
  const sent = [];
  const encoder = new TextEncoder();
  const frame = new Uint8Array(64 * 1024);
  const tag = () => Math.random().toString(16).slice(2, 10).padEnd(8, '0');

  const server = { sent, socket: null, contact: null, subscribed: null, registrations: 0 };

  class PlayedSocket extends EventTarget {
    static CONNECTING = 0;
    static OPEN = 1;
    static CLOSING = 2;
    static CLOSED = 3;
    CONNECTING = 0;
    OPEN = 1;
    CLOSING = 2;
    CLOSED = 3;
    readyState = 0;
    protocol = 'sip';
    extensions = '';
    binaryType = 'blob';
    bufferedAmount = 0;
    onopen = null;
    onmessage = null;
    onclose = null;
    onerror = null;
    listeners = [];

    constructor(url) {
      super();
      this.url = url;
      server.socket = this;
      later(() => {
        this.readyState = 1;
        this.#tell(new Event('open'));
      });
    }

    addEventListener(type, listener, options) {
      if (type === 'message') this.listeners.push(listener);
      else super.addEventListener(type, listener, options);
    }

    removeEventListener(type, listener, options) {
      if (type === 'message') this.listeners = this.listeners.filter((one) => one !== listener);
      else super.removeEventListener(type, listener, options);
    }

    #tell(event) {
      this[`on${event.type}`]?.(event);
      this.dispatchEvent(event);
    }

    /** Who is told of messages. */
    get hears() {
      return [...(this.onmessage ? [this.onmessage] : []), ...this.listeners];
    }

    deliver(text) {
      const event = new MessageEvent('message', { data: text });
      for (const hear of this.hears) hear.call(this, event);
    }

    send(text) {
      // A real one takes the text into bytes at once too.
      encoder.encodeInto(text, frame);
      if (text.startsWith('SIP/2.0')) {
        sent.push(text);
        return;
      }
      later(() => this.#answer(text));
    }

    close() {
      this.readyState = 3;
      later(() => this.#tell(new CloseEvent('close', { wasClean: true, code: 1000 })));
    }

    #answer(text) {
      if (text.trim() === '') {
        this.deliver('\r\n');
        return;
      }
      const header = (name) => new RegExp(`^${name}[ \t]*:[ \t]*(.*?)\r$`, 'im').exec(text)?.[1];
      const method = text.split(' ', 1)[0];
      if (method === 'ACK') return;
      const to = header('To');
      const ours = /;tag=/.test(to) ? to : `${to};tag=${tag()}`;
      const more = [];
      if (method === 'REGISTER') {
        const contact = header('Contact');
        server.contact = /<([^>]+)>/.exec(contact)[1];
        server.registrations += 1;
        more.push(`Contact: ${/;expires=/.test(contact) ? contact : `${contact};expires=${header('Expires') ?? 600}`}`);
      }
      if (method === 'SUBSCRIBE') {
        more.push('Contact: <sip:2002@10.20.0.17:5080>', `Expires: ${header('Expires') ?? 3600}`);
        const from = header('From');
        const part = (value) => ({ text: value.split(';tag=')[0], tag: /;tag=([^;]+)/.exec(value)[1] });
        server.subscribed = { target: /<([^>]+)>/.exec(header('Contact'))[1], callId: header('Call-ID'), from: part(ours), to: part(from), cseq: 1 };
      }
      this.deliver(`SIP/2.0 200 OK\r\nVia: ${header('Via')};received=203.0.113.9\r\nFrom: ${header('From')}\r\nTo: ${ours}\r\nCall-ID: ${header('Call-ID')}\r\nCSeq: ${header('CSeq')}\r\n${more.map((line) => `${line}\r\n`).join('')}Server: Example PBX 22.4.1\r\nContent-Length: 0\r\n\r\n`);
    }
  }

  // Timers may be late.
  const queue = [];
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => queue.shift()();
  const later = (task) => {
    queue.push(task);
    port2.postMessage(null);
  };

  globalThis.server = server;
  globalThis.WebSocket = PlayedSocket;
}
