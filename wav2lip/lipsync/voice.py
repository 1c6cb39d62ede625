"""When somebody speaks in a sound, and how far that lets a mouth open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import webrtcvad

from wav2lip.audio import SAMPLE_RATE

STEP_RATE = 100  # decisions a second
STEP = SAMPLE_RATE // STEP_RATE  # samples
STRICTNESS = 2  # of WebRTC's detector, 0 to 3; measured in docs/seams.md
VOTE = 15  # steps, 150 ms: the detector's blips in noise are shorter than half of this, words longer

# Quiet speech is raised to where the detector hears it, and with it what is heard beside it, up to a level at which the
# detector takes no noise for a voice; measured in docs/seams.md. Levels in dBFS, RMS of a step.
LOUD = -25.0  # dBFS to which the loudest of late is raised
QUIET = -50.0  # dBFS to which the quietest of late is raised at most
GAIN = 24.0  # dB at most
FALL = 3.0  # dB a second by which the loudest is forgotten
RISE = 5.0  # dB a second by which the quietest is

BREATH = 0.3  # seconds: in shorter pauses the mouth stays with the generator, it closes in them by itself

LEAD = 0.08  # seconds before a voice by which the mouth is free to open: lips part before they sound
LAG = 0.04  # seconds after a voice for which it stays so
OPENING = 0.12  # seconds from shut to free
CLOSING = 0.15  # seconds from free to shut


def voiced(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Whether there is a voice.

    blocks: (n,) float32 sound at 16 kHz, in order.
    Returns: (T,) bool, for each 10 ms.
    """
    detector = webrtcvad.Vad(STRICTNESS)
    heard = np.array(
        [detector.is_speech(_in_16_bits(step).tobytes(), SAMPLE_RATE) for step in _raised(_steps(blocks))], np.float32
    )
    if not len(heard):
        return np.zeros(0, bool)
    reach = VOTE // 2
    return np.convolve(np.pad(heard, reach), np.ones(VOTE), "valid") * 2 > VOTE


def openness(voice: np.ndarray, frames: int, fps: float) -> np.ndarray:
    """How far the sound lets the mouth of each frame open.

    voice: (T,) bool, see `voiced`.
    Returns: (frames,) float32 from 0, shut, to 1, free.
    """
    edges = np.flatnonzero(np.diff(voice, prepend=False, append=False)) / STEP_RATE  # begin, end, begin, end, ...
    begins, ends = edges[::2], edges[1::2]
    pause = begins[1:] - ends[:-1] > BREATH
    begins = np.concatenate([begins[:1], begins[1:][pause]]) - LEAD
    ends = np.concatenate([ends[:-1][pause], ends[-1:]]) + LAG
    times = np.arange(frames) / fps
    begun = np.searchsorted(begins, times, side="right")  # stretches of voice, by each frame
    to_begin = np.append(begins, np.inf)[begun] - times
    since_end = times - np.insert(ends, 0, -np.inf)[begun]  # below 0 within a stretch
    shut = np.minimum(to_begin / OPENING, since_end / CLOSING)
    share = np.clip(1 - shut, 0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)


def _steps(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Samples, (STEP,) each; what is left over at the end is filled up with silence."""
    rest = np.zeros(0, np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        whole = len(rest) // STEP * STEP
        yield from rest[:whole].reshape(-1, STEP)
        rest = rest[whole:]
    if len(rest):
        yield np.pad(rest, (0, STEP - len(rest)))


def _raised(steps: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same steps, quiet ones louder, by what was heard up to each of them."""
    loudest, quietest = -np.inf, np.inf
    for step in steps:
        level = 10 * np.log10(np.mean(np.square(step)) + 1e-12)  # -120 where there is nothing
        loudest = max(loudest - FALL / STEP_RATE, level)
        quietest = min(quietest + RISE / STEP_RATE, max(level, QUIET - GAIN))
        gain = np.clip(min(LOUD - loudest, QUIET - quietest), 0, GAIN)
        yield step * 10 ** (gain / 20)


def _in_16_bits(step: np.ndarray) -> np.ndarray:
    return (np.clip(step, -1, 1) * 32767).astype("<i2")
