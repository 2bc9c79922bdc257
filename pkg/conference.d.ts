/** Conference of calls, mixed in the browser by Web Audio: nothing is needed of the server (a conference of three or more by
 *  one phone, RFC 4353, section 4.1, as its focus and mixer). */

import type { Call } from './index.js';

export class Conference {
  /** `audioContext`: one of the application's, which is left open. Default: one that is made for the first call and closed
   *  after the last. A browser may keep it silent until the user has clicked or pressed a key. */
  constructor(options?: { audioContext?: AudioContext });
  /** Those who take part, in the order in which they came. A call that ends leaves by itself; one that takes its place comes
   *  in its place. */
  readonly calls: readonly Call[];
  /** Lets a call hear the microphone and everybody else, and them hear it. While it is on hold, by either side, it brings
   *  nothing and hears nothing. `mute()` of a call silences its microphone for that call only. Rejects with a SoftphoneError:
   *  `invalid_state` for a call that is not active or has `audio: false`, `ended`. */
  add(call: Call): Promise<void>;
  /** The call goes on by itself, with its microphone. */
  remove(call: Call): Promise<void>;
  /** All calls go on by themselves; hang them up to end them. */
  end(): Promise<void>;
}
