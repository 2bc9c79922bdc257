// The sandbox's one server, on loopback: the page that is a phone, the package, and SIP over WebSocket.

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';

import { WebSocketServer } from 'ws';

import { ACCOUNTS, DOMAIN, Network } from './network.js';
import { NUMBERS } from './numbers.js';

const PAGE = fileURLToPath(new URL('www/', import.meta.url));
const PACKAGE = dirname(fileURLToPath(import.meta.resolve('wasm-softphone')));

/** The longest message that is taken, as the phone takes it. */
const MAX_MESSAGE = 65_536;

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

/** Starts it. `log` gets a line for what happens. */
export async function startSandbox({ port = 8080, log = () => {} } = {}) {
  const network = new Network(log);
  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      log(error.message);
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end();
    });
  });
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: 2 * MAX_MESSAGE,
    handleProtocols: () => 'sip',
  });
  server.on('upgrade', (request, socket, head) => {
    // Node.js watches this socket no more, and who is refused may reset it.
    socket.on('error', () => socket.destroy());
    // WebSockets know no same-origin rule: any page in the world may try to open one to this machine.
    const { origin, 'sec-websocket-protocol': offered = '' } = request.headers;
    const refuse = (line) => socket.end(`HTTP/1.1 ${line}\r\nConnection: close\r\n\r\n`);
    if (origin !== undefined && !isLoopback(origin)) return refuse('403 Forbidden');
    if (!offered.split(/, */).includes('sip')) return refuse('400 The subprotocol sip is required (RFC 7118)');
    return sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const line = network.open((text) => webSocket.send(text));
      const failed = (error) => {
        log(error.message);
        webSocket.terminate();
      };
      webSocket.on('message', (data) => line.take(String(data)).catch(failed));
      webSocket.on('error', failed);
      webSocket.on('close', () => line.close().catch((error) => log(error.message)));
    });
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    async close() {
      for (const socket of sockets.clients) socket.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function isLoopback(origin) {
  const url = URL.canParse(origin) && new URL(origin);
  return Boolean(url) && ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname);
}

async function answer(request, response) {
  const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
  response.setHeader('cache-control', 'no-cache');
  response.setHeader('x-content-type-options', 'nosniff');
  if (path === '/demo.json') {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ sip: accounts(request.headers.host), numbers: Object.keys(NUMBERS) }));
    return;
  }
  const [folder, name] = path.startsWith('/pkg/') ? [PACKAGE, path.slice('/pkg/'.length)] : [PAGE, path.slice(1) || 'index.html'];
  const inside = normalize(name);
  const file = join(folder, inside);
  const found = inside !== '..' && !inside.startsWith(`..${sep}`) && (await stat(file).catch(() => null))?.isFile();
  if (!found) {
    response.writeHead(404).end();
    return;
  }
  response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream');
  await pipeline(createReadStream(file), response);
}

/** What a page gives `new DialStrategy()`. */
function accounts(host) {
  return Object.entries(ACCOUNTS).map(([username, password]) => ({
    servers: `ws://${host}/sip`,
    uri: `sip:${username}@${DOMAIN}`,
    displayName: username[0].toUpperCase() + username.slice(1),
    credentials: { username, password },
    iceServers: [],
  }));
}
