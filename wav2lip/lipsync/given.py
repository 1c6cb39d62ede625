"""What callers of the library may give instead of files: pictures and sound in memory."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator, Iterator
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
import numpy as np

from wav2lip.errors import InputError
from wav2lip.lipsync.part import WHOLE, Part
from wav2lip.lipsync.source import FASTEST, NO_FRAMING, SLOWEST, Framing

PathType = str | PathLike[str]
Sound = PathType | tuple[np.ndarray, float]  # a file, or samples (n,) or (n, channels) with their rate in Hz

SAMPLE_KINDS = {  # of numpy: FFmpeg's sample format and the encoder that keeps it as it is
    "uint8": ("u8", "pcm_u8"),
    "int16": ("s16", "pcm_s16le"),
    "int32": ("s32", "pcm_s32le"),
    "float32": ("flt", "pcm_f32le"),
    "float64": ("dbl", "pcm_f64le"),
}
BLOCK = 1 << 16  # samples written at a time
HIGHEST_RATE = 768_000  # Hz
LOUDEST = 1e30  # of float samples; larger ones would not stay finite when they are resampled
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


class FrameArray:
    """Frames of an array, copied when they are asked for."""

    path = "the given frames"  # what a sentence calls them

    def __init__(
        self, frames: np.ndarray, fps: float = 25.0, *, static: bool = False, framing: Framing = NO_FRAMING,
        part: Part = WHOLE,
    ):  # fmt: skip
        """frames: (N, H, W, 3) or, of a still, (H, W, 3), uint8 RGB. fps: frames a second.
        static: use the first frame only. part: of several frames, those used.
        Raises: InputError if they are of another shape or kind, or none.
        """
        if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or frames.shape[-1] != 3 or not frames.size:
            raise InputError(
                f"the given frames are {frames.dtype} of shape {frames.shape}; give uint8 RGB of shape (H, W, 3) or "
                "(N, H, W, 3)"
            )
        if not SLOWEST <= fps <= FASTEST:  # so that NaN is refused too
            raise InputError(f"fps is {fps}; give frames a second between {SLOWEST} and {FASTEST}")
        self.fps = Fraction(fps).limit_denominator(1001)
        several = frames[None] if frames.ndim == 3 else frames
        self._frames = several[slice(*part.frames(self.fps))]
        if not len(self._frames):
            raise InputError(f"the given {len(several)} frames end before --start {part.start:g} s; begin earlier")
        self._framing = framing
        self.static = static or len(several) == 1
        self.stated_frames = 0 if self.static else len(self._frames)

    def frames(self, first: int = 0, last: int | None = None) -> Generator[np.ndarray, None, None]:
        """The frames from `first` up to but not including `last`, (H, W, 3) uint8 RGB; of a static source, the one."""
        for frame in self._frames[:1] if self.static else self._frames[first:last]:
            yield self._framing.apply(frame.copy())


@contextlib.contextmanager
def sound_file(audio: Sound) -> Iterator[PathType]:
    """A file with the sound: the one given, or a WAV in a folder of its own that is gone afterwards.

    Raises: InputError if samples are of no kind that a file can hold.
    """
    if isinstance(audio, str | PathLike):
        yield audio
        return
    samples, rate = _checked(audio)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.wav"
        _write_wav(path, samples, rate)
        yield path


def _checked(audio: object) -> tuple[np.ndarray, int]:
    """Samples in this machine's byte order, and their rate in Hz. Raises: InputError if they cannot be a sound's."""
    if not isinstance(audio, tuple) or len(audio) != 2:
        raise InputError(f"the given sound is a {type(audio).__name__}; give a file's path or (samples, rate)")
    given, stated = audio
    try:
        samples, rate = np.asarray(given), int(stated)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"the given sound is no (samples, rate): {error}; give an array and a whole number") from error
    shape, dtype = samples.shape, samples.dtype
    fits = samples.ndim == 1 or (samples.ndim == 2 and shape[1] in LAYOUTS)
    if not (fits and samples.size and dtype.name in SAMPLE_KINDS and rate == stated and 1 <= rate <= HIGHEST_RATE):
        raise InputError(
            f"the given sound is {dtype} of shape {shape} at {stated} Hz; give (samples, rate) with samples (n,) "
            f"or (n, channels), at most {max(LAYOUTS)} of them, in {', '.join(SAMPLE_KINDS)}"
        )
    if dtype.kind == "f" and not max(abs(samples.min()), abs(samples.max())) <= LOUDEST:  # so that NaN is refused too
        raise InputError("the given sound holds values that are not finite numbers; give samples in [-1, 1]")
    return samples.astype(dtype.newbyteorder("="), copy=False), rate


def _write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """Samples as they are, bit for bit."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    kind, codec = SAMPLE_KINDS[samples.dtype.name]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=LAYOUTS[channels])
        assert isinstance(stream, av.AudioStream)
        for first in range(0, len(samples), BLOCK):
            block = np.ascontiguousarray(samples[first : first + BLOCK]).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format=kind, layout=LAYOUTS[channels])
            frame.rate = rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
