import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, relative, sep } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.wasm': 'application/wasm' };

const compress = {
  gzip: (bytes) => gzipSync(bytes, { level: 9 }),
  br: (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }),
};

/**
 * Serves a folder and these documents (path → text) on loopback, compressed beforehand, so that no request waits for it.
 * `only(encoding)` says how; `others` counts the requests of a browser that does not take it.
 */
export async function serveCompressed(root, documents) {
  const files = new Map();
  const add = (path, bytes) => files.set(path, { type: TYPES[extname(path)], gzip: compress.gzip(bytes), br: compress.br(bytes) });
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    add(`/${relative(root, file).split(sep).join('/')}`, await readFile(file));
  }
  for (const [path, text] of Object.entries(documents)) add(path, Buffer.from(text));

  let encoding = 'gzip';
  const served = { others: 0 };
  const server = createServer((request, response) => {
    const file = files.get(new URL(request.url, 'http://localhost').pathname);
    if (!file) {
      response.writeHead(404).end();
      return;
    }
    const accepted = (request.headers['accept-encoding'] ?? '').split(',').map((one) => one.trim());
    if (!accepted.includes(encoding)) served.others += 1;
    response.writeHead(200, { 'content-type': file.type, 'content-encoding': encoding, 'content-length': file[encoding].length, 'cache-control': 'no-store' });
    response.end(file[encoding]);
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return Object.assign(served, {
    url: `http://127.0.0.1:${server.address().port}`,
    only(which) {
      encoding = which;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}
