import assert from 'node:assert/strict';

/** What a program without a browser can do with the package: load it, and have an account checked. */
export async function check({ default: init, DialStrategy }) {
  await init();
  const phone = new DialStrategy({ servers: 'wss://sip.example.com', uri: 'sip:alice@example.com' });
  assert.equal(phone.connection, 'disconnected');
  assert.equal(phone.strategyFor('sip:bob@example.com'), 'sip-invite');
  assert.throws(() => phone.configure({ servers: 'sip.example.com' }), { name: 'SoftphoneError', code: 'invalid_config' });
  phone.free();
}
