/** Who is met, and what is known of them. The keys of both lists: `peer: feature | direction`. */
export const PEERS = {
  jssip: 'JsSIP 3.13.8',
  sipjs: 'SIP.js 0.21.2',
  baresip: 'baresip 1.0',
};

/** What the other side has no means for, and why nothing is tried. */
export const NOT_OFFERED = {};

/** What fails by the other side's fault, and why. */
export const FAULTS = {};
