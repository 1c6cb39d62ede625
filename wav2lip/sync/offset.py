"""Audio-video offset of a clip: the shift at which the embeddings of lips and audio match best, and its confidence.

The expert may be weak: embeddings are centered, and the best similarity is compared with that of other clips' audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wav2lip.sync.expert import Embedding
from wav2lip.sync.offset_curve import MAX_SHIFT

MIN_PAIRS = 20  # minimum number of windows for a similarity
NUM_COMPARISONS = 60  # segments of other audio that a clip's lips are compared with


@dataclass(frozen=True)
class OffsetEstimate:
    """Offset of the audio of a clip, with its confidence."""

    offset: int  # frames by which the audio lags the video; negative: leads
    peak: float  # the same, interpolated between frames
    confidence: float  # standard deviations by which the best similarity exceeds that with other audio
    curve: np.ndarray  # (2 * max_shift + 1,) float32: similarity at each shift, near 0 by chance
    windows: int

    @property
    def at_edge(self) -> bool:
        """True if the best shift is the first or last one: the true offset may be larger."""
        return abs(self.offset) == len(self.curve) // 2


def balance(vectors: np.ndarray) -> np.ndarray:
    """Subtract the mean of vectors (N, D), which is due to speaker and room, and scale the mean squared norm to 1."""
    centered = vectors - vectors.mean(axis=0)
    norm = np.sqrt((centered**2).sum(axis=1).mean())
    return centered / norm if norm > 0 else centered


def similarity_curves(
    starts: np.ndarray, lips: np.ndarray, audio: np.ndarray, rows: Sequence[int] = (0,), max_shift: int = MAX_SHIFT
) -> np.ndarray:
    """Return the mean inner product of lips and audio at every shift.

    starts: (W,) frames at which the windows of lips (W, D) start. audio: (T, D), one row per frame.
    rows: rows of `audio` that frame 0 is aligned with, one curve for each.
    Returns: (len(rows), 2 * max_shift + 1) float32, column k for audio that lags by k - max_shift frames; NaN where
        fewer than MIN_PAIRS windows have audio at that shift.
    """
    products = lips @ audio.T  # (W, T)
    shifts = np.arange(-max_shift, max_shift + 1)
    curves = np.full((len(rows), len(shifts)), np.nan, np.float32)
    for curve, row in zip(curves, rows, strict=True):
        indices = row + starts[:, None] + shifts  # (W, shifts)
        inside = (indices >= 0) & (indices < len(audio))
        pairs = inside.sum(axis=0)
        similarity = np.take_along_axis(products, indices.clip(0, len(audio) - 1), axis=1)
        sums = np.where(inside, similarity, 0).sum(axis=0)
        curve[:] = np.where(pairs >= MIN_PAIRS, sums / np.maximum(pairs, 1), np.nan)
    return curves


def estimate_offset(
    clip: Embedding, negatives: Sequence[np.ndarray], max_shift: int = MAX_SHIFT
) -> OffsetEstimate | None:
    """Return the offset of a clip with its confidence.

    negatives: (T, D) audio of other clips, embedded by the same expert.
    Returns: None if the clip has too few windows at some shift, or the other clips have too little audio.
    """
    pool = np.concatenate([balance(audio) for audio in negatives if len(audio)] or [np.zeros((0, 1), np.float32)])
    max_length = len(pool) - 2 * max_shift  # frames in a segment of other audio
    if not len(clip.starts) or not len(clip.audio) or max_length < 4 * max_shift:
        return None
    lips = balance(clip.lips)
    curve = similarity_curves(clip.starts, lips, balance(clip.audio), max_shift=max_shift)[0]
    in_segment = clip.starts - clip.starts[0] < max_length - max_shift
    if np.isnan(curve).any() or in_segment.sum() < MIN_PAIRS:
        return None
    starts = clip.starts[in_segment] - clip.starts[0]
    rows = np.unique(np.linspace(max_shift, len(pool) - 1 - max_shift - starts[-1], NUM_COMPARISONS).astype(int))
    chance = similarity_curves(starts, lips[in_segment], pool, rows.tolist(), max_shift).max(axis=1)
    best = int(curve.argmax())
    return OffsetEstimate(
        offset=best - max_shift,
        peak=best - max_shift + _interpolate_peak(curve, best),
        confidence=_robust_z_score(float(curve[best]), chance),
        curve=curve,
        windows=len(clip.starts),
    )


def _interpolate_peak(curve: np.ndarray, best: int) -> float:
    """Return the vertex of the parabola through the maximum and its neighbors, relative to it, in [-0.5, 0.5]."""
    if not 0 < best < len(curve) - 1:
        return 0.0
    left, top, right = (float(v) for v in curve[best - 1 : best + 2])
    bend = left - 2 * top + right
    return 0.5 * (left - right) / bend if bend < 0 else 0.0


def _robust_z_score(value: float, others: np.ndarray) -> float:
    """Return the distance from the median in half widths of the central 68 %, which ignores outliers."""
    low, middle, high = np.quantile(others, [0.16, 0.5, 0.84])
    spread = (high - low) / 2
    return (value - middle) / spread if spread > 0 else 0.0
