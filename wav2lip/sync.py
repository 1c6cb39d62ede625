"""How far a clip's sound lies after its lips, and how sure that is.

An expert turns what is seen (five frames of a mouth) and what is heard (0.2 s of sound) into vectors that are alike
where they belong together. The sound is slid against the lips; the shift at which they are most alike, over all windows
of the clip, is the offset. It counts for something only if these lips agree with their own sound much better than with
the sound of other clips, slid in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wav2lip.clips import Clip
from wav2lip.windows import WINDOW_COLUMNS, first_column

REACH = 15  # frames to either side over which the sound is slid
MOST_FRAMES = 1500  # of a clip that are looked at: a constant offset shows in a minute
FEWEST_PAIRS = 20  # windows that a shift is judged by
COMPARISONS = 60  # stretches of other clips' sound that a clip's lips are held against


@dataclass(frozen=True)
class Embedded:
    """What an expert makes of a clip."""

    firsts: np.ndarray  # (W,) int: rows of `sound` that belong to these windows of lips as recorded
    lips: np.ndarray  # (W, D) float32
    sound: np.ndarray  # (T, D) float32: windows of sound, one begun with each frame


class Expert(Protocol):
    """Judges whether lips and sound belong together."""

    def embed(self, clip: Clip) -> Embedded:
        """Vectors of a clip's windows, at most of its first minute.

        Raises: InputError if the clip cannot be read.
        """
        ...


@dataclass(frozen=True)
class Sync:
    """How a clip's sound lies to its lips."""

    offset: int  # frames by which the sound lies after the lips; negative: before
    peak: float  # the same, between frames
    confidence: float  # how far the agreement at that shift stands above that with other sounds, in its deviations
    curve: np.ndarray  # (2 * reach + 1,) float32: agreement at each shift, near 0 by chance
    windows: int

    @property
    def at_edge(self) -> bool:
        """Whether the best shift is the last one tried: the true one may lie beyond."""
        return abs(self.offset) == len(self.curve) // 2


def first_minute(clip: Clip) -> tuple[np.ndarray, int, int]:
    """The part of a clip that is looked at.

    Returns: (N,) frame numbers; the frame with which the first window of sound begins; the one after that with which
        the last begins.
    """
    frames = clip.frames[clip.frames < clip.frames[0] + MOST_FRAMES]
    return frames, max(0, int(frames[0]) - REACH), int(frames[-1]) + REACH + 1


def windows_of(clip: Clip) -> tuple[np.ndarray, int, np.ndarray]:
    """A clip's frames and windows of sound, of its first minute at most.

    Returns: (N,) frame numbers; the frame with which the first window of sound begins; (T, 80, 16) float32 mels under
        the windows that begin with it and the next ones.
    """
    frames, begin, end = first_minute(clip)
    starts = [first_column(f) for f in range(begin, end)]
    return frames, begin, stacked(clip.mel(), starts, WINDOW_COLUMNS)


def stacked(sound: np.ndarray, starts: Iterable[int], width: int) -> np.ndarray:
    """The whole ones of the windows of a sound (D, T) that begin at these columns: (N, D, width), a copy."""
    windows = [sound[:, s : s + width] for s in starts if s + width <= sound.shape[1]]
    return np.stack(windows) if windows else np.zeros((0, len(sound), width), np.float32)


def balanced(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, D) less what all of them share, which is the speaker and the room, at a mean square length of 1."""
    centred = vectors - vectors.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=1).mean())
    return centred / length if length > 0 else centred


def agreement(
    firsts: np.ndarray, lips: np.ndarray, sound: np.ndarray, starts: Sequence[int] = (0,), reach: int = REACH
) -> np.ndarray:
    """How alike lips and sound are at every shift.

    firsts: (W,) frames that begin a window of lips (W, D). sound: (T, D), one for each frame.
    starts: rows of `sound` at which frame 0 is taken to lie.
    Returns: (len(starts), 2 * reach + 1) float32, column k for sound that lies k - reach frames after the lips; NaN
        where fewer than FEWEST_PAIRS windows have a sound at that shift.
    """
    products = lips @ sound.T  # (W, T)
    shifts = np.arange(-reach, reach + 1)
    curves = np.full((len(starts), len(shifts)), np.nan, np.float32)
    for curve, start in zip(curves, starts, strict=True):
        rows = start + firsts[:, None] + shifts  # (W, shifts)
        inside = (rows >= 0) & (rows < len(sound))
        pairs = inside.sum(axis=0)
        alike = np.take_along_axis(products, rows.clip(0, len(sound) - 1), axis=1)
        sums = np.where(inside, alike, 0).sum(axis=0)
        curve[:] = np.where(pairs >= FEWEST_PAIRS, sums / np.maximum(pairs, 1), np.nan)
    return curves


def measure(clip: Embedded, others: Sequence[np.ndarray], reach: int = REACH) -> Sync | None:
    """The offset of a clip and how sure it is.

    others: (T, D) sounds of other clips by the same expert.
    Returns: None if the clip has too few windows for every shift, or the other clips too little sound, to tell.
    """
    pool = np.concatenate([balanced(sound) for sound in others if len(sound)] or [np.zeros((0, 1), np.float32)])
    room = len(pool) - 2 * reach  # frames that a stretch of other sound may have
    if not len(clip.firsts) or not len(clip.sound) or room < 4 * reach:
        return None
    lips = balanced(clip.lips)
    curve = agreement(clip.firsts, lips, balanced(clip.sound), reach=reach)[0]
    fitting = clip.firsts - clip.firsts[0] < room - reach
    if np.isnan(curve).any() or fitting.sum() < FEWEST_PAIRS:
        return None
    begin = clip.firsts[fitting] - clip.firsts[0]
    starts = np.unique(np.linspace(reach, len(pool) - 1 - reach - begin[-1], COMPARISONS).astype(int))
    chance = agreement(begin, lips[fitting], pool, starts.tolist(), reach).max(axis=1)
    best = int(curve.argmax())
    return Sync(
        offset=best - reach,
        peak=best - reach + _between(curve, best),
        confidence=_stands_out(float(curve[best]), chance),
        curve=curve,
        windows=len(clip.firsts),
    )


def _between(curve: np.ndarray, best: int) -> float:
    """Where the parabola through the highest point and its neighbours has its top, from that point, within half."""
    if not 0 < best < len(curve) - 1:
        return 0.0
    left, top, right = (float(v) for v in curve[best - 1 : best + 2])
    bend = left - 2 * top + right
    return 0.5 * (left - right) / bend if bend < 0 else 0.0


def _stands_out(value: float, chance: np.ndarray) -> float:
    """Deviations by which a value lies above the middle of others; quantiles, lest one stray sound count much."""
    low, middle, high = np.quantile(chance, [0.16, 0.5, 0.84])
    spread = (high - low) / 2
    return (value - middle) / spread if spread > 0 else 0.0
