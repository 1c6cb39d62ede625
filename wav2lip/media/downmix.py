"""Downmix of audio frames of any layout and sample format to mono."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import av
import numpy as np

from wav2lip.types import OnProblem

SAMPLE_DTYPES = {
    "u8p": np.uint8, "s16p": np.int16, "s32p": np.int32, "s64p": np.int64, "fltp": np.float32, "dblp": np.float64
}  # fmt: skip
# Speech of a film is in the center, that of a stereo recording in both front channels: both keep their level.
FRONT = {"FC": 1.0, "FL": 0.5, "FR": 0.5}
SURROUND_WEIGHT = 0.25
LOW_FREQUENCY = {"LFE", "LFE2"}
CANCELLED_SHARE = 0.05  # energy of the downmix over that of its loudest channel, from which channels cancel each other
SILENCE = 1e-4  # amplitude


class Downmix:
    """Mix the channels of each frame; where they cancel each other, one of them is used."""

    def __init__(self, name: str, on_problem: OnProblem):
        """name: of the file, for the message."""
        self._name, self._on_problem = name, on_problem
        self._cancelled_s = 0.0

    def mix(self, frame: av.AudioFrame) -> np.ndarray:
        """Return the samples of a frame, (n,) float32 in [-1, 1]."""
        samples = _read_samples(frame)
        if len(samples) == 1:
            return np.ascontiguousarray(samples[0], np.float32)
        samples = samples.astype(np.float32, copy=False)
        weights = _weights(tuple(channel.name for channel in frame.layout.channels))
        with np.errstate(over="ignore", invalid="ignore"):  # samples may be anything
            mono = weights @ samples
            energy = np.einsum("cn,cn->c", samples, samples) * weights
            is_cancelled = mono @ mono < CANCELLED_SHARE * energy.max()
        if is_cancelled and energy.max() > SILENCE**2 * len(mono):
            self._cancelled_s += frame.samples / frame.sample_rate
            mono = samples[int(np.argmax(energy > energy.max() / 2))]
        return np.ascontiguousarray(mono if len(samples) == 2 else mono.clip(-1, 1))

    def report(self) -> None:
        """Report the duration in which channels cancelled each other, if any."""
        if self._cancelled_s:
            self._on_problem(
                f"{self._name}: its channels cancel each other in {self._cancelled_s:.1f} s (reversed polarity); one "
                "channel is used there"
            )


@lru_cache
def _weights(names: tuple[str, ...]) -> np.ndarray:
    """Return the weight (C,) float32 of each channel in the downmix; that of stereo is the mean."""
    if not FRONT.keys() & set(names):
        return np.full(len(names), 1 / len(names), np.float32)
    low = dict.fromkeys(LOW_FREQUENCY, 0.0)
    return np.array([(FRONT | low).get(name, SURROUND_WEIGHT) for name in names], np.float32)


def _read_samples(frame: av.AudioFrame) -> np.ndarray:
    """Return the samples of a frame, (channels, n) float32 in [-1, 1]."""
    channels = len(frame.layout.channels)
    if frame.format.is_planar:
        # Not to_ndarray, which reads a ninth plane for eight channels and crashes (PyAV 18).
        dtype = SAMPLE_DTYPES[frame.format.name]
        planes: tuple[Any, ...] = frame.planes[:channels]  # buffers
        samples = np.stack([np.frombuffer(plane, dtype)[: frame.samples] for plane in planes])
    else:
        samples = frame.to_ndarray().reshape(-1, channels).T
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
    return samples
