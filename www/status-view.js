/** One line at the top: whether one can be called. */

import { userOf } from './address.js';
import { byId } from './dom.js';

export class StatusView {
  show({ config, connection, registration }) {
    const [tone, text] = describe(config, connection, registration);
    byId('status').dataset.tone = tone;
    byId('status-text').textContent = text;
  }
}

function describe(config, connection, registration) {
  if (!config) return ['idle', 'No account'];
  const name = userOf(config.uri);
  if (registration === 'failed') return ['bad', `Registration failed · ${name}`];
  if (connection === 'disconnected') return ['idle', `Disconnected · ${name}`];
  if (connection === 'connecting') return ['busy', `Connecting · ${name}`];
  if (connection === 'reconnecting') return ['busy', `Reconnecting · ${name}`];
  if (registration === 'registered') return ['good', `Registered · ${name}`];
  if (registration === 'registering') return ['busy', `Registering · ${name}`];
  return ['good', `Connected · ${name}`];
}
