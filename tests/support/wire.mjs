/** For `context.addInitScript`: keeps the first line of every SIP message in `globalThis.wire`. Runs in the page. */
export function tapWebSockets() {
  globalThis.wire = [];
  const note = (data, sent) => {
    const text = typeof data === 'string' ? data : data instanceof ArrayBuffer ? new TextDecoder().decode(data) : '';
    const method = /^CSeq:\s*\d+\s+(\w+)/im.exec(text)?.[1];
    if (method) globalThis.wire.push({ at: Date.now(), sent, first: text.split('\r\n', 1)[0], method });
  };
  globalThis.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      this.addEventListener('message', ({ data }) => note(data, false));
    }

    send(data) {
      note(data, true);
      super.send(data);
    }
  };
}
