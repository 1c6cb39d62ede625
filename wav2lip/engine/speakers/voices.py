"""Voices of a recording: which words have the same voice, by agglomerative clustering of their mean cepstra.

Clusters merge while the Bayesian information criterion prefers one voice to two (Chen and Gopalakrishnan 1998).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import dct
from scipy.ndimage import gaussian_filter1d

from wav2lip.audio.mel import MEL_RATE, stream_mel

NUM_CEPSTRA = 20  # the first one is the level
SPEED_CEPSTRA = 8  # coarse shape of the spectrum, which the lips change
SPEED_SMOOTH_S = 0.025
SPEED_FLOOR = 0.1  # so that the logarithm of silence is finite
QUIET_QUANTILE = 0.3  # of the columns of a word that say little of the voice
INDEPENDENT_S = 0.1  # time after which the spectrum of a voice is another one
MERGE_PENALTY = 1.5  # weight of the criterion's penalty; chosen like the weights of agreement.py
MAX_POINTS = 128  # clustered together; longer recordings in blocks
REASSIGNMENTS = 5  # of the words to the nearest voice, after clustering


@dataclass(frozen=True)
class Cepstra:
    """Cepstra of a recording, 80 columns per second."""

    columns: np.ndarray  # (T, NUM_CEPSTRA) float32

    @classmethod
    def measure(cls, blocks: Iterable[np.ndarray]) -> Cepstra:
        """Measure audio in blocks (n,) float32 at 16 kHz, in order."""
        pieces = [dct(mel, axis=0, norm="ortho")[:NUM_CEPSTRA].T for mel in stream_mel(blocks)]
        return cls(np.concatenate(pieces).astype(np.float32))

    def speed_at_frames(self, frames: int, fps: float) -> np.ndarray:
        """Return the logarithm (frames,) of the change of the spectrum since the previous frame."""
        smooth = gaussian_filter1d(self.columns[:, :SPEED_CEPSTRA], SPEED_SMOOTH_S * MEL_RATE, axis=0)
        times = (np.arange(frames) + 0.5) / fps * MEL_RATE
        at_frames = np.stack([np.interp(times, np.arange(len(smooth)), column) for column in smooth.T], axis=1)
        change = np.linalg.norm(np.diff(at_frames, axis=0, prepend=at_frames[:1]), axis=1)
        return np.asarray(np.log(change * fps / 25 + SPEED_FLOOR))

    def voices(self, words: Sequence[tuple[int, int]], fps: float) -> np.ndarray:
        """Return the voice (W,) of each word, numbered from 0.

        words: first and end frame of each.
        """
        parts = [self._loud_columns(first, last, fps) for first, last in words]
        means = np.stack([part.mean(axis=0) for part in parts])
        sizes = np.array([len(part) for part in parts]) / (INDEPENDENT_S * MEL_RATE)
        deviations = np.concatenate([part - mean for part, mean in zip(parts, means, strict=True)])
        covariance = deviations.T @ deviations / len(deviations) + 1e-3 * np.eye(means.shape[1])
        points = means @ np.linalg.cholesky(np.linalg.inv(covariance))
        penalty = MERGE_PENALTY * points.shape[1] * np.log(max(sizes.sum(), 2.0))
        voices = _cluster(points, sizes, float(penalty))
        for _ in range(REASSIGNMENTS):
            centers, _ = _centers(points, sizes, voices)
            voices = np.unique(_squared_distances(points, centers).argmin(axis=1), return_inverse=True)[1]
        return voices

    def _loud_columns(self, first: int, last: int, fps: float) -> np.ndarray:
        begin = min(int(first / fps * MEL_RATE), len(self.columns) - 1)
        columns = self.columns[begin : max(begin + 2, int(last / fps * MEL_RATE))].astype(np.float64)
        return np.asarray(columns[columns[:, 0] >= np.quantile(columns[:, 0], QUIET_QUANTILE), 1:])


def _cluster(points: np.ndarray, sizes: np.ndarray, penalty: float) -> np.ndarray:
    """Return the cluster (N,) of points (N, D) that stand for `sizes` (N,) observations of covariance 1 each."""
    if len(points) <= MAX_POINTS:
        return _agglomerate(points, sizes, penalty)
    labels: list[np.ndarray] = []
    for block in np.array_split(np.arange(len(points)), -(-len(points) // MAX_POINTS)):
        first = labels[-1].max() + 1 if labels else 0
        labels.append(first + _agglomerate(points[block], sizes[block], penalty))
    joined = np.concatenate(labels)
    centers, totals = _centers(points, sizes, joined)
    return joined if len(centers) == len(points) else _cluster(centers, totals, penalty)[joined]


def _agglomerate(points: np.ndarray, sizes: np.ndarray, penalty: float) -> np.ndarray:
    """Merge the two clusters whose merger costs the least likelihood, while that is below the penalty."""
    labels = np.arange(len(points))
    while len(centers := _centers(points, sizes, labels)[0]) > 1:
        totals = np.bincount(labels, sizes)
        cost = _squared_distances(centers, centers) * (totals[:, None] * totals / (totals[:, None] + totals))
        np.fill_diagonal(cost, np.inf)
        first, second = sorted(divmod(int(cost.argmin()), len(centers)))
        if cost[first, second] > penalty:
            break
        labels[labels == second] = first
        labels[labels > second] -= 1
    return labels


def _centers(points: np.ndarray, sizes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted mean (K, D) and the size (K,) of each cluster."""
    totals = np.bincount(labels, sizes)
    sums = np.zeros((len(totals), points.shape[1]))
    np.add.at(sums, labels, points * sizes[:, None])
    return sums / totals[:, None], totals


def _squared_distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    squares = np.square(points).sum(axis=1)[:, None] + np.square(others).sum(axis=1) - 2 * points @ others.T
    return np.maximum(squares, 0)
