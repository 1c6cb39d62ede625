// Playback of a fragmented MP4 while it arrives, close to its end.
const START_LAG_S = 0.2; // media buffered before playback starts, and after a jump
const FAST_LAG_S = 0.5; // beyond it, playback is a little faster
const FAST_RATE = 1.05;
const MAX_LAG_S = 1.5; // beyond it, playback jumps
const KEPT_S = 10; // of media that was played
const MAX_KEPT_S = 30;

export class FragmentPlayer {
  #video;
  #onError;
  #source = new MediaSource();
  #buffer = null;
  #pending = [];

  constructor(video, mimeType, onError) {
    if (!MediaSource.isTypeSupported(mimeType)) throw new Error(`This browser does not play ${mimeType}.`);
    this.#video = video;
    this.#onError = onError;
    this.#source.addEventListener("sourceopen", () => this.#report(() => {
      this.#buffer = this.#source.addSourceBuffer(mimeType);
      this.#buffer.addEventListener("updateend", () => this.#report(() => this.#update()));
      this.#update();
    }), { once: true });
    video.onerror = () => this.#fail(video.error);
    video.src = URL.createObjectURL(this.#source);
  }

  append(data) {
    this.#pending.push(new Uint8Array(data));
    this.#report(() => this.#update());
  }

  close() {
    const { src } = this.#video;
    this.#video.onerror = null;
    this.#video.pause();
    this.#video.removeAttribute("src");
    this.#video.load();
    URL.revokeObjectURL(src);
    this.#source = null;
    this.#buffer = null;
  }

  #report(action) {
    try {
      action();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error) {
    if (this.#source) this.#onError(`The video cannot be played: ${error.message}.`);
  }

  #update() {
    if (!this.#buffer || this.#buffer.updating) return;
    this.#follow();
    const { currentTime } = this.#video;
    const { buffered } = this.#buffer;
    if (buffered.length && currentTime - buffered.start(0) > MAX_KEPT_S) {
      this.#buffer.remove(0, currentTime - KEPT_S);
    } else if (this.#pending.length) {
      this.#buffer.appendBuffer(this.#join());
    }
  }

  #join() {
    const data = new Uint8Array(this.#pending.reduce((size, piece) => size + piece.length, 0));
    let offset = 0;
    for (const piece of this.#pending) {
      data.set(piece, offset);
      offset += piece.length;
    }
    this.#pending = [];
    return data;
  }

  #follow() {
    const { buffered } = this.#buffer;
    if (!buffered.length) return;
    const end = buffered.end(buffered.length - 1);
    const lag = end - this.#video.currentTime;
    if (this.#video.paused && lag > START_LAG_S) {
      this.#video.play().catch((error) => this.#fail(error));
    }
    if (lag > MAX_LAG_S) this.#video.currentTime = end - START_LAG_S;
    this.#video.playbackRate = lag > FAST_LAG_S ? FAST_RATE : 1;
  }
}
