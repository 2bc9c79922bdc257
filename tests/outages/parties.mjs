/** Who meets the outages, and what each of them said. */

import { PEERS } from '../interop/peers.mjs';

export const NAMES = { ours: 'this package', jssip: PEERS.jssip, sipjs: PEERS.sipjs };

/** Caller and callee. */
export const USERS = { ours: ['1001', '1002'], jssip: ['1003', '1004'], sipjs: ['1005', '1006'] };

/** The tone of a user's microphone, in hertz. */
export const toneOf = (user) => 600 + 200 * Number(user.slice(-1));

/** Since then, a line a message: milliseconds, direction, first line. */
export async function said(party, since) {
  return (await party.wire(since)).map(({ at, sent, first, method }) => `${at - since} ${sent ? '>' : '<'} ${first} (${method})`);
}

/** When the first 200 for a REGISTER since then came, if one has. */
export async function registeredAt(party, since) {
  return (await party.wire(since)).find(({ sent, first, method }) => !sent && method === 'REGISTER' && first.startsWith('SIP/2.0 200'))?.at ?? null;
}
