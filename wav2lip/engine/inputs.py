"""Inputs of an engine: files, or arrays of frames and samples."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator, Iterator, Mapping
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
import numpy as np

from wav2lip.engine.frame_source import (
    DEFAULT_FPS,
    FULL_RANGE,
    MAX_IMAGE_FPS,
    MIN_IMAGE_FPS,
    NO_FRAMING,
    FileSource,
    Framing,
    TimeRange,
)
from wav2lip.engine.interface import Source
from wav2lip.engine.option_parsing import format_flags, option_specs
from wav2lip.engine.options import FaceOptions, InputOptions
from wav2lip.engine.prepared import PreparedFace, is_prepared
from wav2lip.errors import InputError
from wav2lip.media import AudioTrack
from wav2lip.media.container import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, OnPacket, ignore_packet
from wav2lip.types import PathType

FaceInput = PathType | np.ndarray | Source
AudioInput = PathType | tuple[np.ndarray, float]  # a file, or samples (n,) or (n, channels) and their rate in Hz

SAMPLE_FORMATS = {  # dtype: FFmpeg's sample format and its lossless encoder
    "uint8": ("u8", "pcm_u8"),
    "int16": ("s16", "pcm_s16le"),
    "int32": ("s32", "pcm_s32le"),
    "float32": ("flt", "pcm_f32le"),
    "float64": ("dbl", "pcm_f64le"),
}
WRITE_BLOCK_SAMPLES = 1 << 16
MAX_FLOAT_SAMPLE = 1e30  # larger ones may overflow when they are resampled
PREPARED_FLAGS = {  # flags that a prepared face settles
    f"--{option.flag or name}" for group in (InputOptions, FaceOptions) for name, option in option_specs(group).items()
} - {"--audio_track", "--no_cache"} | {"--fit", "--short"}
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


class ArraySource:
    """Frames of an array, copied when they are read."""

    path = "frames array"  # shown in messages

    def __init__(
        self, frames: np.ndarray, fps: float = 25.0, *, static: bool = False, framing: Framing = NO_FRAMING,
        time_range: TimeRange = FULL_RANGE,
    ):  # fmt: skip
        """frames: (N, H, W, 3) or, for an image, (H, W, 3), uint8 RGB. static: use the first frame only.
        time_range: used part of several frames.
        Raises: InputError for another shape or dtype, and without frames.
        """
        if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or frames.shape[-1] != 3 or not frames.size:
            raise InputError(
                f"frames of {frames.dtype} and shape {frames.shape}: must be uint8 RGB of shape (H, W, 3) or "
                "(N, H, W, 3)"
            )
        if not MIN_IMAGE_FPS <= fps <= MAX_IMAGE_FPS:  # rejects NaN too
            raise InputError(f"fps={fps}: must be between {MIN_IMAGE_FPS} and {MAX_IMAGE_FPS}")
        self.fps = Fraction(fps).limit_denominator(1001)
        batch = frames[None] if frames.ndim == 3 else frames
        self._frames = batch[slice(*time_range.frames(self.fps))]
        if not len(self._frames):
            raise InputError(f"--start={time_range.start:g}: must be before the end of the {len(batch)} frames")
        self._framing = framing
        self.static = static or len(batch) == 1
        self.stated_frames = 0 if self.static else len(self._frames)

    def frames(self, first: int = 0, last: int | None = None) -> Generator[np.ndarray, None, None]:
        """Yield the frames from `first` up to but not including `last`, (H, W, 3) uint8 RGB; if static, the first."""
        for frame in self._frames[:1] if self.static else self._frames[first:last]:
            yield self._framing.apply(frame.copy())


def open_source(
    face: FaceInput, options: InputOptions, compat: str = "none", on_packet: OnPacket = ignore_packet
) -> Source:
    """Open a face input. on_packet: see `FileSource`. Raises: InputError if it cannot be used."""
    framing, time_range = options.framing, options.time_range
    if isinstance(face, np.ndarray):
        return ArraySource(
            face, options.fps or DEFAULT_FPS, static=options.static, framing=framing, time_range=time_range
        )
    if not isinstance(face, str | PathLike):
        return face
    if is_prepared(face):
        if flags := [word for word in format_flags(options) if word in PREPARED_FLAGS]:
            raise InputError(f"{face}: is a prepared face, whose frames and faces are fixed; remove {', '.join(flags)}")
        return PreparedFace(face)
    return FileSource(
        face, fps=options.fps, static=options.static, framing=framing, time_range=time_range, compat=compat,
        max_pixels=options.max_pixels, on_packet=on_packet,
    )  # fmt: skip


def check_named_files(files: Mapping[str, PathType | None]) -> None:
    """Check that files which the user named exist. files: by flag. Raises: InputError for one that does not."""
    for flag, path in files.items():
        if path is not None and not Path(path).is_file():
            raise InputError(f"{flag}={path}: no such file; check the path")


def check_outfile(outfile: PathType, *inputs: FaceInput | AudioInput) -> None:
    """Raise InputError if the result would replace an input file."""
    for file in inputs:
        if isinstance(file, str | PathLike) and _is_same_file(file, outfile):
            raise InputError(f"{outfile}: is an input file; use another --outfile")


@contextlib.contextmanager
def audio_as_file(audio: AudioInput, track: int | None = None) -> Iterator[PathType]:
    """Yield the audio file; samples are written to a temporary WAV file, which is deleted at the end.

    track: number of the audio track of a file, from 1; None: its default track.
    Raises: InputError for samples that a WAV file cannot store.
    """
    if isinstance(audio, str | PathLike):
        yield audio if track is None else AudioTrack(audio, track)
        return
    samples, rate = _check_samples(audio)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audio.wav"
        _write_wav(path, samples, rate)
        yield path


def _is_same_file(path: PathType, outfile: PathType) -> bool:
    try:
        return Path(path).samefile(outfile)
    except OSError:  # one of them does not exist
        return False


def _check_samples(audio: object) -> tuple[np.ndarray, int]:
    """Return samples in native byte order and their rate in Hz. Raises: InputError for any other value."""
    if not isinstance(audio, tuple) or len(audio) != 2:
        raise InputError(f"audio of type {type(audio).__name__}: must be a file's path or (samples, rate)")
    values, stated_rate = audio
    try:
        samples, rate = np.asarray(values), int(stated_rate)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"audio: must be (samples, rate), an array and an integer; {error}") from error
    shape, dtype = samples.shape, samples.dtype
    is_valid_shape = samples.ndim == 1 or (samples.ndim == 2 and shape[1] in LAYOUTS)
    is_valid_rate = rate == stated_rate and MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE
    if not (is_valid_shape and samples.size and dtype.name in SAMPLE_FORMATS and is_valid_rate):
        raise InputError(
            f"audio of {dtype} and shape {shape} at {stated_rate} Hz: must be (samples, rate) with samples (n,) or "
            f"(n, channels), at most {max(LAYOUTS)} channels, of {', '.join(SAMPLE_FORMATS)}"
        )
    if dtype.kind == "f" and not max(abs(samples.min()), abs(samples.max())) <= MAX_FLOAT_SAMPLE:  # rejects NaN too
        raise InputError("audio: samples must be finite and in [-1, 1]")
    return samples.astype(dtype.newbyteorder("="), copy=False), rate


def _write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write samples losslessly."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    sample_format, codec = SAMPLE_FORMATS[samples.dtype.name]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=LAYOUTS[channels])
        assert isinstance(stream, av.AudioStream)
        for first in range(0, len(samples), WRITE_BLOCK_SAMPLES):
            block = np.ascontiguousarray(samples[first : first + WRITE_BLOCK_SAMPLES]).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format=sample_format, layout=LAYOUTS[channels])
            frame.rate = rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
