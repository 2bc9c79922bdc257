/** What the server of this page has ready for it. */

/** @returns {Promise<{ sip: object[], elks?: object[], numbers?: string[] }>} lists of settings for DialStrategy; numbers that it has, if not all */
export async function fetchDemo() {
  const response = await fetch('/demo.json', { cache: 'no-store' });
  if (!response.ok) throw new Error(`The server has no demo accounts (/demo.json: ${response.status}).`);
  return response.json();
}
