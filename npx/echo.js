// The far end of a call to the echo: what it hears it says.

import { MediaStreamTrack, RTCPeerConnection, useOPUS, usePCMU } from 'werift';

/** How long candidates are gathered, in milliseconds. */
const GATHERING = 2000;

export class Echo {
  #connection;

  constructor() {
    const answer = new MediaStreamTrack({ kind: 'audio' });
    this.#connection = new RTCPeerConnection({
      iceServers: [],
      codecs: { audio: [useOPUS(), usePCMU()] },
      // For machines without any network.
      iceAdditionalHostAddresses: ['127.0.0.1'],
    });
    this.#connection.addTransceiver(answer, { direction: 'sendrecv' });
    this.#connection.onTrack.subscribe((track) => track.onReceiveRtp.subscribe((packet) => answer.writeRtp(packet.clone())));
  }

  /** The answer to an offer (RFC 3264). */
  async answer(offer) {
    await this.#connection.setRemoteDescription({ type: 'offer', sdp: offer });
    await this.#connection.setLocalDescription(await this.#connection.createAnswer());
    if (this.#connection.iceGatheringState !== 'complete') {
      const complete = this.#connection.iceGatheringStateChange.watch((state) => state === 'complete', GATHERING);
      // What has been gathered by then has to do.
      await complete.catch(() => undefined);
    }
    return this.#connection.localDescription.sdp;
  }

  close() {
    return this.#connection.close();
  }
}
