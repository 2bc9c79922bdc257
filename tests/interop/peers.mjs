/** Who is met, and what is known of them. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';

import { attended, connect, talk } from './party.mjs';

/** The version of an installed package. */
const npm = (name) => createRequire(import.meta.url)(`${name}/package.json`).version;

/** Major and minor of a program, as it says itself. */
function program(name, flag) {
  const { stdout, stderr } = spawnSync(name, [flag], { encoding: 'utf8' });
  const version = /(\d+\.\d+)\.\d/.exec(`${stdout}${stderr}`)?.[1];
  if (!version) throw new Error(`${name} does not say which version it is`);
  return version;
}

export const PEERS = {
  jssip: `JsSIP ${npm('jssip')}`,
  sipjs: `SIP.js ${npm('sip.js')}`,
  baresip: `baresip ${program('baresip', '-v')}`,
};

export const SERVERS = {
  kamailio: `Kamailio ${program('kamailio', '-v')}`,
  rtpengine: `rtpengine ${program('rtpengine', '--version')}`,
};

/** It can't ask for one. */
const NO_CONSULTATION = {
  why: 'baresip has no command for an attended transfer.',
  instead: ({ peer }) => assert.rejects(peer.command('atransferstart'), /command not found/),
};

/** A transferee that knows no Replaces: `roles` names transferor, transferee and target among the parties. */
const withoutReplaces = (...roles) => ({
  why: 'baresip leaves out the Replaces of a Refer-To: the target rings as for any other call, and once that is answered the transfer is through.',
  async instead(parties) {
    const [transferor, transferee, target] = roles.map((role) => parties[role]);
    const { done, calls } = await attended(transferor, transferee, target);
    const arriving = await target.call(target.before + 1, 'ringing');
    await arriving.do('answer');
    const leaving = await transferee.call(transferee.before + 1, 'active');
    await Promise.all([done, ...calls.map((call) => call.state('ended'))]);
    await talk(leaving, arriving);
    await leaving.do('hangup');
    await arriving.state('ended');
  },
});

/**
 * What the other side has no means for, by peer and row: why, and what happens instead, which is tested in the place
 * of what cannot be.
 */
export const LACKING = {
  jssip: {},
  sipjs: {},
  baresip: {
    'DTMF by INFO | by the peer': {
      why: 'baresip sends digits in the audio only, and that is how they arrive.',
      async instead({ us, peer }) {
        const [outgoing, incoming] = await connect(peer, us);
        await talk(outgoing, incoming);
        const heard = incoming.hearsDtmf('5');
        await outgoing.do('dtmf', '5', 'info');
        await heard;
        assert.equal((await incoming.report()).dtmf, '');
      },
    },
    'blind transfer to nobody: the call goes on | we are transferred': {
      why: 'As the transferor baresip hangs up when a transfer has failed: it is told 404, and our call ends.',
      async instead({ us, peer }) {
        const [kept, moved] = await connect(peer, us);
        await talk(kept, moved);
        await assert.rejects(kept.do('transfer', 'sip:9999@pbx.test'), /404/);
        await moved.state('ended');
        assert.equal((await moved.report()).ended.by, 'remote');
      },
    },
    'attended transfer | we are transferred': NO_CONSULTATION,
    'attended transfer | we are the target': NO_CONSULTATION,
    'attended transfer | we are transferred and the target': NO_CONSULTATION,
    'attended transfer | we transfer': withoutReplaces('us', 'peer', 'other'),
    'attended transfer | we transfer and are the target': withoutReplaces('us', 'peer', 'second'),
    'attended transfer | we transfer and are transferred': {
      why: 'baresip refuses a call that is to replace another (420): the transfer fails, and every call goes on.',
      async instead({ us, second, peer }) {
        const { done, calls } = await attended(us, second, peer);
        await assert.rejects(done, /420/);
        const [kept, moved, consulting, consulted] = calls;
        for (const call of calls) assert.equal((await call.report()).state, 'active');
        await kept.do('unhold');
        await talk(kept, moved);
        await kept.do('hold');
        await consulting.do('unhold');
        await talk(consulting, consulted);
      },
    },
  },
};

/** What has to be known of a cell that passes, by peer and row. */
export const REMARKS = {
  jssip: {},
  sipjs: {
    'attended transfer | we are transferred': 'Only where SIP.js has a GRUU (`regId` and `instanceId`, which it does not ask for by itself). Else it names the target by a Contact in `.invalid`, where no server can send a call (Kamailio: 478): the transfer fails and the call goes on, which is tested too.',
  },
  baresip: {},
};
