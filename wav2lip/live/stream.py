"""Frames of a prepared face for audio that arrives in pieces; no clock and no thread."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from wav2lip.audio.mel import MEL_BANDS, SAMPLE_RATE
from wav2lip.audio.windows import WINDOW_COLUMNS
from wav2lip.engine.interface import FrameItem
from wav2lip.engine.prepared import PreparedFace
from wav2lip.faces.roll_alignment import align_roll, keep_roll
from wav2lip.lipsync.blending import build_blend
from wav2lip.lipsync.generator_runtime import GeneratorRuntime
from wav2lip.lipsync.mouth_gate import MouthGate
from wav2lip.lipsync.options import DEFAULTS, LipSyncOptions
from wav2lip.lipsync.prepared import prepared_silence
from wav2lip.lipsync.stages import align_faces, blend_faces, generate_faces
from wav2lip.live.audio import StreamResampler, Utterance, to_mono


@dataclass(frozen=True)
class LiveFrame:
    """A frame with its audio."""

    image: np.ndarray  # (H, W, 3) uint8 RGB; the receiver may modify it
    time: Fraction  # seconds since the start of the stream
    audio: np.ndarray  # (n,) float32 mono, the samples heard while it is shown
    is_speaking: bool


class LipStream:
    """Turn audio into frames, each as soon as the audio of its window is complete: 163 ms after the frame's time.

    Frames and samples are counted, never timed: lips and audio cannot drift apart.
    """

    def __init__(
        self, face: PreparedFace, generator: GeneratorRuntime, fps: float = 25.0, audio_rate: int = SAMPLE_RATE,
        options: LipSyncOptions = DEFAULTS, batch_size: int = 8,
    ):  # fmt: skip
        """fps: of the result. audio_rate: of the frames' audio, in Hz.
        options: blend, align, silence and precision are used. batch_size: frames generated together at most.
        Raises: InputError if the face was prepared for a generator of another resolution.
        """
        face.require_resolution(generator.resolution)
        self._face, self._order = face, face.frame_order()
        self._generator = generator.with_precision(options.generator_precision)
        self._align = align_roll if options.align else keep_roll
        self._blend = build_blend(options.blend, options.gate)
        self._eases_silence = options.silence != "off"
        self._batch_size = batch_size
        self.audio_rate = audio_rate
        self._listener, self._network = StreamResampler(audio_rate), StreamResampler(SAMPLE_RATE)
        self._gate = MouthGate()
        self._fps = fps
        self._utterance: Utterance | None = None
        self._heard = np.zeros(0, np.float32)  # audio of frames to come, at audio_rate
        self._index, self._time = 0, Fraction(0)  # index and time of the next frame

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self._fps

    @property
    def time(self) -> Fraction:
        """Time of the next frame in seconds."""
        return self._time

    @property
    def waiting_s(self) -> float:
        """Seconds of audio that wait for their frames."""
        return len(self._heard) / self.audio_rate

    def warm_up(self) -> None:
        """Load the generator and run it once, which takes seconds, before the first frame is due."""
        resolution = self._generator.resolution
        self._generator(
            np.zeros((1, resolution, resolution, 3), np.uint8), np.zeros((1, 1, MEL_BANDS, WINDOW_COLUMNS), np.float32)
        )

    def push(self, samples: np.ndarray, rate: int) -> None:
        """Append audio.

        samples: (n,) or (n, channels) of int16, int32, float32 or float64. rate: Hz; may change between calls.
        Raises: InputError for any other audio.
        """
        mono = to_mono(np.asarray(samples), rate)
        self._heard = np.concatenate([self._heard, self._listener(mono, rate)])
        self._current().push(self._network(mono, rate))

    def has_frames(self, count: int) -> bool:
        """Return True if the next `count` frames can be generated now."""
        return self._utterance is not None and self._utterance.has_next(count)

    def push_silence(self, count: int) -> None:
        """Append the silence with which the next `count` frames can be generated, at the rate of the last audio."""
        rate = self._network.source_rate
        missing = self._current().missing_samples(count) + SAMPLE_RATE // 100  # what a resampler holds back
        self.push(np.zeros(math.ceil(missing * rate / SAMPLE_RATE), np.float32), rate)

    def frames(self, maximum: int | None = None) -> Generator[LiveFrame, None, None]:
        """Yield the frames that can be generated now. maximum: number of frames; None for all."""
        count = 0
        while self._utterance is not None and self._utterance.has_next() and (maximum is None or count < maximum):
            for frame in self._generate(self._batch_size if maximum is None else maximum - count):
                count += 1
                yield frame

    def finish(self) -> Generator[LiveFrame, None, None]:
        """Yield the remaining frames; audio pushed later starts with the next frame."""
        self._heard = np.concatenate([self._heard, self._listener.finish()])
        if self._utterance is None:
            return
        self._utterance.push(self._network.finish())
        self._utterance.finish()
        yield from self.frames()
        self._utterance = None
        self._heard = np.zeros(0, np.float32)  # less than a sample of rounding

    def interrupt(self) -> None:
        """Drop the audio of all frames not yet generated, and close the mouth within three frames."""
        self._utterance = None
        self._listener, self._network = StreamResampler(self.audio_rate), StreamResampler(SAMPLE_RATE)
        self._heard = np.zeros(0, np.float32)
        self._gate.interrupt()

    def change_fps(self, fps: float) -> None:
        """Change the frame rate from the next frame on; the pending audio is kept."""
        if fps != self._fps:
            self._fps = fps
            if self._utterance is not None:
                self._utterance.change_fps(fps)

    def _current(self) -> Utterance:
        if self._utterance is None:
            self._utterance = Utterance(self._fps, self._gate)
        return self._utterance

    def _generate(self, maximum: int) -> list[LiveFrame]:
        """Generate the next frames, at least one."""
        utterance = self._current()
        windows: dict[int, np.ndarray] = {}
        openness: dict[int, float] = {}
        speaking: list[bool] = []
        items: list[FrameItem] = []
        while utterance.has_next() and len(items) < min(maximum, self._batch_size):
            index = self._index + len(items)
            windows[index], is_speaking, openness[index] = utterance.next()
            speaking.append(is_speaking)
            items.append(self._face.item(index, self._order.next(is_speaking)))
        silence = prepared_silence(self._face, openness.__getitem__) if self._eases_silence else None
        first_row = int(self._blend.unused * self._generator.resolution)
        aligned = align_faces(items, self._align, self._generator.resolution, len(items))
        generated = generate_faces(aligned, [windows], self._generator, silence, first_row)
        blended = list(blend_faces(generated, self._blend))
        return [self._finish(item, flag) for item, flag in zip(blended, speaking, strict=True)]

    def _finish(self, item: FrameItem, is_speaking: bool) -> LiveFrame:
        end = self._time + 1 / Fraction(self._fps).limit_denominator(1001)
        count = round(end * self.audio_rate) - round(self._time * self.audio_rate)
        audio, self._heard = self._heard[:count], self._heard[count:]
        audio = np.pad(audio, (0, count - len(audio)))
        frame = LiveFrame(item.frame, self._time, audio, is_speaking)
        self._index, self._time = self._index + 1, end
        return frame
