/** What became of the far leg of a call by REST, when it was not a conversation. */

const OUTCOMES = {
  busy: ['The number is busy.', 'Try again later.'],
  no_answer: ['Nobody answered at the number.', 'Try again later.'],
  provider_error: ['46elks could not reach the number.', 'Check the number; if it is right, try again later.'],
  unverified_bridge: ['The call could not be verified, so it was hung up.', 'Nothing was heard or sent.'],
};
// The ends that people make themselves.
const ORDINARY = ['completed', 'cancelled', 'ended', 'aborted'];

/**
 * An error to show for a call that had been connected to the provider, or `null`. One that never got so far is told
 * by dial() itself.
 */
export function outcome(call, { code }) {
  if (call.strategy !== 'rest-originate' || call.startedAt === null || ORDINARY.includes(code)) return null;
  const [message, hint] = OUTCOMES[code] ?? ['The call has failed.', 'Try again later.'];
  return { message, hint, code };
}
