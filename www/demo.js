/** What the server of this page has ready for it. */

/** @returns {Promise<{ sip: object[], elks?: object[] }>} lists of settings for DialStrategy */
export async function fetchDemo() {
  const response = await fetch('/demo.json', { cache: 'no-store' });
  if (!response.ok) throw new Error(`The server has no demo accounts (/demo.json: ${response.status}).`);
  return response.json();
}
