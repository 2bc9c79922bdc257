/** The controls of the 46elks simulator that serves this page. A real provider has nothing of the kind. */

const BASE = '/_sim';

async function request(path, method = 'GET', body = undefined) {
  const response = await fetch(`${BASE}${path}`, {
    method,
    ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`The simulator refused (${response.status}): ${(await response.text()).trim()}`);
  return response.status === 204 || method === 'DELETE' ? null : response.json();
}

/** A stranger's call; numbers in E.164. */
export function callFrom(from, to) {
  return request('/incoming', 'POST', { from, to });
}

/** @returns {Promise<{ name: string, doc: string, armed: boolean }[]>} all of them */
export async function readFaults() {
  const { faults } = await request('/fault');
  return faults;
}

/** For the next call. */
export function armFault(name) {
  return request('/fault', 'POST', { name, times: 1 });
}

export function disarmFaults() {
  return request('/fault', 'DELETE');
}

/** What the provider would bill: `{ a_legs, b_legs, legs }`. */
export function readLog() {
  return request('/log');
}

export function resetLog() {
  return request('/log', 'DELETE');
}
