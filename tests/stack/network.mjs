import { createSocket } from 'node:dgram';
import { rmSync } from 'node:fs';
import { mkdtemp, mkdir, rm, writeFile, readdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Daemon } from '../support/daemon.mjs';
import { until } from '../support/until.mjs';

export const DOMAIN = 'pbx.test';
export const WEBSOCKET_URL = 'ws://127.0.0.1:8088/';
const LOOPBACK = '127.0.0.1';
const SIP_PORT = 5060;
const RTPENGINE_PORT = 2223;
const BARESIP_MODULES = '/usr/lib/baresip/modules';

const inThisFolder = (name) => fileURLToPath(new URL(name, import.meta.url));

/** A telephone network: Kamailio, rtpengine and as many telephones as asked for, on fixed ports of loopback. */
export class Network {
  #folder;
  #kamailio = null;
  #switches = [];
  #rtpengine = null;
  #mediaAddress;
  #telephones = [];
  #removeFolder = () => rmSync(this.#folder, { recursive: true, force: true });

  /** @param switches of kamailio.cfg, such as "SHA256" */
  static start(...switches) {
    return Network.withMediaAt(LOOPBACK, ...switches);
  }

  /** The same with the media relay at another address of this machine. */
  static async withMediaAt(address, ...switches) {
    const network = new Network();
    network.#mediaAddress = address;
    network.#folder = await mkdtemp(join(tmpdir(), 'wasm-softphone-stack-'));
    network.#switches = switches;
    process.once('exit', network.#removeFolder);
    try {
      await Promise.all([network.startMediaRelay(), network.startRegistrar()]);
    } catch (error) {
      await network.stop();
      throw error;
    }
    return network;
  }

  async startRegistrar() {
    const run = join(this.#folder, 'kamailio');
    await mkdir(run, { recursive: true });
    const kamailio = new Daemon('kamailio', [
      '-DD', '-E', '-m', '64', '-M', '8', '-Y', run, '-P', join(run, 'kamailio.pid'), '-w', run,
      '-f', inThisFolder('kamailio.cfg'),
      ...this.#switches.flatMap((name) => ['-A', name]),
    ]);
    this.#kamailio = kamailio;
    await until('Kamailio answers OPTIONS and WebSockets', async () => {
      kamailio.check();
      return (await askUdp(SIP_PORT, OPTIONS, /^SIP\/2\.0 200/)) && accepts(new URL(WEBSOCKET_URL).port);
    });
  }

  /** As a power cut: no goodbye to anybody. */
  async killRegistrar() {
    await this.#kamailio?.stop('SIGKILL');
    this.#kamailio = null;
  }

  /** Nothing is answered any more, and nothing refused: what is sent now lies in the kernel when it dies. */
  freezeRegistrar() {
    this.#kamailio.kill('SIGSTOP');
  }

  async killMediaRelay() {
    await this.#rtpengine?.stop('SIGKILL');
    this.#rtpengine = null;
  }

  async startMediaRelay() {
    const rtpengine = new Daemon('rtpengine', [`--config-file=${inThisFolder('rtpengine.conf')}`, `--interface=${this.#mediaAddress}`]);
    this.#rtpengine = rtpengine;
    await until('rtpengine answers a ping', () => {
      rtpengine.check();
      return askUdp(RTPENGINE_PORT, '1_ d7:command4:pinge', /4:pong/);
    });
  }

  /** Plugs in a telephone and waits until it is registered. */
  async telephone(options) {
    const telephone = await Telephone.start(join(this.#folder, `telephone-${options.user}`), options);
    this.#telephones.push(telephone);
    return telephone;
  }

  async stop() {
    await Promise.all(this.#telephones.map((telephone) => telephone.stop()));
    await Promise.all([this.#kamailio?.stop(), this.#rtpengine?.stop()]);
    process.off('exit', this.#removeFolder);
    this.#removeFolder();
  }

  /** What the servers have printed, for a test that failed. */
  get output() {
    return [this.#kamailio, this.#rtpengine].map((daemon) => daemon && `--- ${daemon.name}\n${daemon.output}`).join('\n');
  }
}

/** An ordinary SIP telephone (baresip) over UDP with plain RTP: sends a tone, records what it hears. */
export class Telephone {
  /** What has happened to it, oldest first: `{ type, … }` as baresip's ctrl_tcp names them. */
  events = [];
  #daemon;
  #control;
  #folder;
  #waiting = new Map();
  #tokens = 0;

  /**
   * @param options `user`; `sipPort` (uses the next one too); `controlPort`; `rtpPorts` "from-to"; `tone` in hertz;
   * `answers`: "auto" or "manual"; `calls`: how many at once
   */
  static async start(folder, { user, sipPort, controlPort, rtpPorts, tone, answers, calls = 1 }) {
    const telephone = new Telephone();
    telephone.user = user;
    telephone.#folder = join(folder, 'recordings');
    await mkdir(telephone.#folder, { recursive: true });
    await writeFile(join(folder, 'contacts'), '');
    await writeFile(join(folder, 'accounts'), `<sip:${user}@${DOMAIN}>;auth_user=${user};auth_pass=pw${user};answermode=${answers};regint=60;audio_codecs=pcmu,pcma;outbound="sip:127.0.0.1:${SIP_PORT};transport=udp"\n`);
    await writeFile(join(folder, 'config'), settings({ sipPort, controlPort, rtpPorts, tone, calls, recordings: telephone.#folder }));
    telephone.#daemon = new Daemon('baresip', ['-f', folder], { cwd: folder });
    try {
      telephone.#control = await until(`the telephone ${user} can be controlled`, () => {
        telephone.#daemon.check();
        return openControl(controlPort, (message) => telephone.#received(message));
      });
      await telephone.registered();
    } catch (error) {
      await telephone.stop();
      throw error;
    }
    return telephone;
  }

  /** Waits for an event that has happened, or will, since the last `forget`. */
  async event(type, deadline) {
    return until(`telephone ${this.user}: ${type}`, () => {
      this.#daemon.check();
      return this.events.find((event) => event.type === type);
    }, { deadline });
  }

  /** Waits until the registrar knows it; after an outage it asks by itself to be known again. */
  async registered() {
    // It colours what it says.
    await until(`the telephone ${this.user} is registered`, async () => /OK\s*\x1b/.test(await this.command('reginfo')));
  }

  forget() {
    this.events = [];
  }

  /** Sends a command to baresip, such as "dial", "accept", "hangup". */
  async command(command, params) {
    const token = String((this.#tokens += 1));
    const answer = new Promise((resolve) => this.#waiting.set(token, resolve));
    const text = JSON.stringify({ command, token, ...(params && { params }) });
    this.#control.write(`${Buffer.byteLength(text)}:${text},`);
    const { ok, data } = await answer;
    if (!ok) throw new Error(`baresip refused "${command}": ${data}`);
    return data;
  }

  /**
   * What it has heard in its newest call, or with "enc" sent: samples from -1 to 1, and the name of the recording.
   * baresip 1.0 records what it hears until the first re-INVITE only.
   */
  async heard(side = 'dec') {
    const name = (await readdir(this.#folder)).filter((one) => one.endsWith(`-${side}.wav`)).sort().at(-1);
    const recording = name && readWav(await readFile(join(this.#folder, name)));
    return recording ? { name, ...recording } : null;
  }

  async forgetRecordings() {
    for (const name of await readdir(this.#folder)) await rm(join(this.#folder, name));
  }

  async stop() {
    this.#control?.destroy();
    await this.#daemon.stop();
  }

  get output() {
    return this.#daemon.output;
  }

  #received(message) {
    if (message.event) this.events.push(message);
    else this.#waiting.get(message.token)?.(message);
  }
}

function settings({ sipPort, controlPort, rtpPorts, tone, calls, recordings }) {
  const modules = ['g711', 'ausine', 'aubridge', 'sndfile'];
  return `# Written by the tests.
poll_method epoll
sip_listen 127.0.0.1:${sipPort}
net_interface 127.0.0.1
call_local_timeout 120
call_max_calls ${calls}
# ausine makes stereo at 48 kHz only
audio_source ausine,${tone}
ausrc_srate 48000
ausrc_channels 2
audio_player aubridge,null
audio_alert aubridge,alert
# As the source, or aubridge could not play one into the other
auplay_srate 48000
auplay_channels 2
ausrc_format s16
auplay_format s16
auenc_format s16
audec_format s16
rtp_ports ${rtpPorts}
rtcp_mux no
jitter_buffer_delay 5-10
snd_path ${recordings}
ctrl_tcp_listen 127.0.0.1:${controlPort}
module_path ${BARESIP_MODULES}
${modules.map((name) => `module ${name}.so\n`).join('')}module_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
module_app contact.so
`;
}

/** Connects to baresip's ctrl_tcp and reads its netstrings. */
function openControl(port, received) {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), '127.0.0.1');
    let buffer = Buffer.alloc(0);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      // Its end shows in what the telephone no longer says.
      socket.on('error', () => socket.destroy());
      resolve(socket);
    });
    socket.on('data', (data) => {
      buffer = Buffer.concat([buffer, data]);
      for (;;) {
        const colon = buffer.indexOf(':');
        if (colon < 0) return;
        const end = colon + 1 + Number(buffer.subarray(0, colon));
        if (buffer.length <= end) return;
        received(JSON.parse(buffer.subarray(colon + 1, end).toString()));
        buffer = buffer.subarray(end + 1);
      }
    });
  });
}

/** 16-bit PCM. The lengths in the header are not believed: they are written when the recording ends. */
function readWav(bytes) {
  if (bytes.length < 44 || bytes.toString('latin1', 0, 4) !== 'RIFF') return null;
  let at = 12;
  let format = null;
  while (at + 8 <= bytes.length) {
    const name = bytes.toString('latin1', at, at + 4);
    const length = bytes.readUInt32LE(at + 4);
    if (name === 'fmt ') format = { channels: bytes.readUInt16LE(at + 10), sampleRate: bytes.readUInt32LE(at + 12), bits: bytes.readUInt16LE(at + 22) };
    if (name === 'data') {
      at += 8;
      break;
    }
    at += 8 + length;
  }
  if (!format) return null;
  if (format.bits !== 16 || format.channels !== 1) throw new Error(`unexpected recording: ${JSON.stringify(format)}`);
  const samples = new Float32Array(Math.floor((bytes.length - at) / 2));
  for (let index = 0; index < samples.length; index += 1) samples[index] = bytes.readInt16LE(at + 2 * index) / 32768;
  return { sampleRate: format.sampleRate, samples };
}

const OPTIONS = [
  `OPTIONS sip:${DOMAIN} SIP/2.0`,
  'Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKready;rport',
  'Max-Forwards: 70',
  `From: <sip:ready@${DOMAIN}>;tag=ready`,
  `To: <sip:${DOMAIN}>`,
  'Call-ID: ready',
  'CSeq: 1 OPTIONS',
  'Content-Length: 0',
  '', '',
].join('\r\n');

/** Sends one datagram; whether an answer that matches comes within 250 ms. */
function askUdp(port, text, pattern) {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    const done = (answer) => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(done, 250, false);
    socket.on('error', () => done(false));
    socket.on('message', (message) => done(pattern.test(message.toString('latin1'))));
    socket.send(text, port, '127.0.0.1');
  });
}

/** Whether something listens on a TCP port of loopback. */
function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(Number(port), '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
