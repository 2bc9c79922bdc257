/** What a person types, as an address that the package takes. */

const SCHEME = /^[a-z][a-z0-9+.-]*:/i;
const SEPARATORS = /[\s().-]/g;
const NATIONAL = /^[\d\s().-]+$/;

/** The host part of a SIP address of record. */
export function domainOf(uri) {
  return /^sips?:(?:[^@]*@)?([^;?>]+)/i.exec(uri)?.[1] ?? '';
}

/** The user part of a SIP address, decoded; the whole address when it has none. */
export function userOf(uri) {
  const user = /^(?:sips?|tel):([^@;?]+)/i.exec(uri)?.[1] ?? uri;
  try {
    return decodeURIComponent(user);
  } catch {
    return user;
  }
}

/**
 * The package reads a bare "600" or "bob" as somebody in the account's own domain, and refuses what could be something
 * else. This page has no emergency calls to mistake: all that is not a number of the account's country belongs to its domain.
 */
export function completeAddress(input, { uri: accountUri, defaultCountry }) {
  const text = input.trim();
  if (text === '' || text.startsWith('+') || SCHEME.test(text)) return text;
  if (defaultCountry && NATIONAL.test(text)) return text;
  if (text.includes('@')) return `sip:${text}`;
  const user = /^[\d\s().*#-]+$/.test(text) ? text.replace(SEPARATORS, '') : text;
  // RFC 3261, section 25.1: these may stand in a user part as they are, "#" may not.
  const escaped = encodeURIComponent(user).replace(/%(26|3D|2B|24|2C|3B|3F|2F)/g, decodeURIComponent);
  return `sip:${escaped}@${domainOf(accountUri)}`;
}

/** Two letters, or a sign, for the round picture. */
export function initials(name) {
  const words = name.replace(/[^\p{L}\p{N}+*# ]/gu, ' ').trim().split(/\s+/).filter(Boolean);
  if (words.length === 0) return '?';
  if (/^[+\d*#]/.test(words[0])) return '#';
  return words.slice(0, 2).map((word) => word[0].toUpperCase()).join('');
}
