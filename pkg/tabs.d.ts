/** Several tabs, one registration: one tab has the phone, the others see and control its calls, and when it goes one of them
 *  takes over. Tabs of one origin with the same `uri`, or the same `name`, belong together; elected by Web Locks, joined by a
 *  BroadcastChannel. Every tab makes a `PhoneTabs` with the same configuration. */

import type { Call, CallEvents, CallState, DialOptions, DialStrategy, DialStrategyConfig, DialStrategyEvents, ErrorCode, SoftphoneError, StrategyName } from './index.js';

/** `owner`: this tab has the phone, its calls and their audio. `follower`: another one has. `none`: not joined, or left. */
export type TabRole = 'none' | 'owner' | 'follower';

export class PhoneTabs {
  /** Throws `invalid_config` like DialStrategy. With `resume: true` a tab that takes over goes on with the calls of the one before.
   *  `instanceId` defaults to one that is kept in localStorage for all tabs: the registrar has one binding of them all. */
  constructor(config: DialStrategyConfig, options?: { name?: string });
  /** Takes part. Resolves once this tab follows another one, or has the phone and is connected; rejects with what the first connect()
   *  says, which is tried again where that makes sense. */
  join(): Promise<void>;
  /** Goes. Calls of this tab go on in another one where there is one and `resume` is on, and end otherwise. Final. */
  leave(): Promise<void>;
  readonly role: TabRole;
  /** The phone, where this tab has it: for what only it can do. */
  readonly phone: DialStrategy | null;
  /** Those of the phone, wherever it is. */
  readonly connection: DialStrategy['connection'];
  readonly registration: DialStrategy['registration'];
  readonly calls: readonly TabCall[];
  /** Dials in the tab that has the phone: its microphone, its loudspeaker. Never rejects. */
  dial(destination: string, options?: Pick<DialOptions, 'timeout' | 'strategy' | 'callerId' | 'extraHeaders' | 'audio'>): Promise<TabDialResult>;
  /** Returns a function that removes the listener. */
  on<K extends keyof PhoneTabsEvents>(type: K, listener: (event: PhoneTabsEvents[K]) => void): () => void;
}

export type TabDialResult = { success: true; callId: string; error?: undefined } | { success: false; callId?: string; error: SoftphoneError };

export interface PhoneTabsEvents {
  role: { role: TabRole };
  connection: DialStrategyEvents['connection'];
  registration: DialStrategyEvents['registration'];
  /** As of DialStrategy, in every tab. A tab that joins later hears of the calls that there are. */
  incoming: { call: TabCall };
  call: { call: TabCall; state: CallState };
  /** The tab that has the phone could not connect. */
  error: { error: SoftphoneError };
  /** These only in the tab that has the phone. */
  audioBlocked: DialStrategyEvents['audioBlocked'];
  message: DialStrategyEvents['message'];
  log: DialStrategyEvents['log'];
  fatal: DialStrategyEvents['fatal'];
}

/** A call of the phone, whichever tab has it. The object stays the same when another tab takes over. */
export class TabCall {
  private constructor();
  readonly id: string;
  readonly direction: 'outgoing' | 'incoming';
  readonly strategy: StrategyName | null;
  readonly state: CallState;
  readonly remote: Call['remote'];
  readonly localHold: boolean;
  readonly remoteHold: boolean;
  readonly muted: boolean;
  readonly startedAt: number | null;
  readonly endReason: { code: ErrorCode | 'completed' | 'cancelled' | 'answered_elsewhere'; sipStatus?: number; by: 'local' | 'remote' | 'network' } | null;
  /** The call itself, where this tab has the phone: streams, statistics, transfer. */
  readonly call: Call | null;
  /** These are done by the tab that has the phone, and settle as they do there; with `not_connected` when no tab answers. */
  answer(options?: { audio?: boolean | MediaTrackConstraints }): Promise<void>;
  reject(options?: { status?: number }): Promise<void>;
  hangup(): Promise<void>;
  hold(): Promise<void>;
  unhold(): Promise<void>;
  mute(): Promise<void>;
  unmute(): Promise<void>;
  sendDtmf(tones: string, options?: { duration?: number; gap?: number; method?: 'rtp' | 'info' }): Promise<void>;
  on<K extends keyof TabCallEvents>(type: K, listener: (event: TabCallEvents[K]) => void): () => void;
}

export interface TabCallEvents {
  state: CallEvents['state'];
  hold: CallEvents['hold'];
  remote: CallEvents['remote'];
  mute: { muted: boolean };
  ended: CallEvents['ended'];
}
