import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize, sep } from 'node:path';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

/**
 * Serves folders on loopback.
 * @param {Record<string, string>} mounts URL prefix → folder; the longest prefix counts
 * @param {Record<string, unknown>} documents URL path → what is sent as JSON
 * @param {Record<string, string>} headers of every response
 */
export async function serveStatic(mounts, documents = {}, headers = {}) {
  const prefixes = Object.keys(mounts).sort((a, b) => b.length - a.length);
  const server = createServer(async (request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
    if (Object.hasOwn(documents, path)) {
      response.setHeader('content-type', TYPES['.json']);
      response.end(JSON.stringify(documents[path]));
      return;
    }
    const prefix = prefixes.find((candidate) => path.startsWith(candidate));
    const inside = prefix && normalize(path.slice(prefix.length) || 'index.html');
    if (!inside || inside.startsWith('..') || inside.startsWith(sep)) {
      response.writeHead(404).end();
      return;
    }
    const file = join(mounts[prefix], inside);
    try {
      if (!(await stat(file)).isFile()) throw new Error('not a file');
    } catch {
      response.writeHead(404).end();
      return;
    }
    response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream');
    response.setHeader('cache-control', 'no-store');
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
