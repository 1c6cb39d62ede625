// Audio thread: blocks of 128 float samples to pieces of PCM16.
const PIECE_SAMPLES = 1024; // 21 ms at 48 kHz

class Pcm16 extends AudioWorkletProcessor {
  #piece = new Int16Array(PIECE_SAMPLES);
  #length = 0;

  process([[samples]]) {
    for (const sample of samples ?? []) {
      this.#piece[this.#length++] = Math.max(-1, Math.min(1, sample)) * 32767;
      if (this.#length < PIECE_SAMPLES) continue;
      this.port.postMessage(this.#piece.buffer, [this.#piece.buffer]);
      this.#piece = new Int16Array(PIECE_SAMPLES);
      this.#length = 0;
    }
    return true;
  }
}

registerProcessor("pcm16", Pcm16);
