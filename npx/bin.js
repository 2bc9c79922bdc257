#!/usr/bin/env node
import { parseArgs } from 'node:util';

import { ACCOUNTS, DOMAIN } from './network.js';
import { NUMBERS } from './numbers.js';
import { startSandbox } from './server.js';

const { values } = parseArgs({ options: { port: { type: 'string', default: '8080' } } });
const { url } = await startSandbox({ port: Number(values.port), log: (line) => console.log(line) }).catch((error) => {
  console.error(error.code === 'EADDRINUSE' ? `Port ${values.port} is taken: --port names another one.` : error.message);
  process.exit(1);
});
console.log(`${url} is a phone. Open it in two tabs and call from one to the other.`);
console.log(`Your own page connects to ${url.replace('http', 'ws')}sip as`);
for (const [user, password] of Object.entries(ACCOUNTS)) console.log(`  sip:${user}@${DOMAIN}  password ${password}`);
for (const [number, name] of Object.entries(NUMBERS)) console.log(`  ${number}  ${name}`);
