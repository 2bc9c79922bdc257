/** How loud a stream is, as a bar. */

const FLOOR_DB = -60;
const ANNOUNCE_EVERY = 250;

/** The loudness of a stream's audio, 0 (silence, -60 dBFS or less) to 1 (full scale). */
export class LevelSource {
  #source;
  #analyser;
  #samples;

  constructor(context, stream) {
    this.#source = context.createMediaStreamSource(stream);
    this.#analyser = context.createAnalyser();
    this.#analyser.fftSize = 1024;
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#source.connect(this.#analyser);
  }

  read() {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const sample of this.#samples) sum += sample * sample;
    const decibels = 10 * Math.log10(sum / this.#samples.length + 1e-12);
    return Math.min(1, Math.max(0, 1 - decibels / FLOOR_DB));
  }

  close() {
    this.#source.disconnect();
    this.#analyser.disconnect();
  }
}

/** Draws one or more levels until stopped. */
export class LevelMeter {
  #element;
  #source = null;
  #stream = null;
  #announced = 0;

  constructor(element) {
    this.#element = element;
  }

  /** Follows `stream`; `null` shows silence. */
  follow(context, stream) {
    if (stream === this.#stream) return;
    this.#source?.close();
    this.#source = null;
    this.#stream = stream;
    if (stream?.getAudioTracks().length) this.#source = new LevelSource(context, stream);
    else this.#draw(0, performance.now());
  }

  /** @param now the time of the animation frame, milliseconds */
  update(now) {
    if (this.#source) this.#draw(this.#source.read(), now);
  }

  #draw(level, now) {
    this.#element.style.setProperty('--level', level.toFixed(3));
    if (level !== 0 && now - this.#announced < ANNOUNCE_EVERY) return;
    this.#announced = now;
    this.#element.setAttribute('aria-valuenow', String(Math.round(level * 100)));
  }
}
