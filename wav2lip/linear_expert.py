"""An expert in closed form: the directions in which mouths and sounds of a data set move together.

Canonical correlation (Hotelling 1936) of five frames of a mouth with the 0.2 s of sound under them. It knows less than
a SyncNet that was trained for days, and much more than one that was trained for minutes: see docs/sync.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import uniform_filter1d

from wav2lip.clips import Clip
from wav2lip.crops import FACE_SIZE
from wav2lip.sync import Embedded, windows_of
from wav2lip.windows import WINDOW_FRAMES, whole_windows

LOWER_HALF = (48, 24)  # pixels, width and height, to which the lower half of a crop is shrunk
MOUTH = (28, 20)  # of these, around the middle: lips, chin, and the cheeks' inner halves
PATCH = (14, 10)  # pixels to which that is shrunk
# Each clip is learned from in so many jittered copies, so that faces which sit elsewhere in their crops are read too.
COPIES = 6
JITTER = 3.0  # pixels of the lower half, to either side
ZOOM = 0.3  # share by which the mouth is larger or smaller
SHAPES, MOTIONS = 20, 10  # principal components of a mouth's picture and of its change that are kept
BANDS, MOMENTS = 20, 4  # into which a window of sound is pooled, from 80 bands and 16 columns
RIDGE = 0.1  # of the mean variance, added to every variance
DIRECTIONS = 6  # canonical ones that are kept
SLOW = 51  # frames: what changes over longer times, such as light and posture, agrees with anything and is taken out


@dataclass(frozen=True)
class Views:
    """What the linear expert needs of a clip, in bytes: small enough to keep an hour of video in memory."""

    frames: np.ndarray  # (N,) int, ascending, with gaps: rows of `sound` that begin with these frames
    pictures: np.ndarray  # (N, 24, 48) uint8: the lower half of the face in grey
    sound: np.ndarray  # (T, 80) float16: pooled mels under the windows that begin with each frame

    @classmethod
    def of(cls, clip: Clip) -> Views:
        """Look at a clip's first minute; InputError if it cannot be read."""
        frames, begin, mels = windows_of(clip)
        pictures = [_lower_half(clip.read(int(frame), FACE_SIZE)) for frame in frames]
        return cls(frames - begin, np.stack(pictures), pooled(mels))

    @property
    def firsts(self) -> np.ndarray:
        """(W,) frames that begin five consecutive ones."""
        return whole_windows(self.frames)

    def mouth(self, rng: np.random.Generator | None = None) -> tuple[np.ndarray, np.ndarray]:
        """How the mouth looks in each frame and how much of it changed, (N, 140) float32 each, as in no other clip.

        What a clip looks like on average, and how rich in contrast it is, is taken out.
        rng: jitters where the mouth is taken to be, alike in all frames; None: no jitter.
        """
        look = self._patches(rng)
        look -= look.mean(axis=0)
        change = np.sqrt(np.abs(np.diff(look, axis=0, prepend=look[:1])))
        change[np.diff(self.frames, prepend=self.frames[:1] - 1) != 1] = 0  # across a gap
        change -= change.mean(axis=0)
        return look / max(float(look.std()), 1e-6), change / max(float(change.std()), 1e-6)

    def _patches(self, rng: np.random.Generator | None) -> np.ndarray:
        zoom, (right, down), mirrored = 1.0, (0.0, 0.0), False
        if rng is not None:
            zoom = float((1 + ZOOM) ** rng.uniform(-1, 1))
            right, down = rng.uniform(-JITTER, JITTER, 2)
            mirrored = bool(rng.integers(2))
        step = zoom * MOUTH[0] / PATCH[0]  # pixels of the lower half under one of the patch
        left = (LOWER_HALF[0] - 1) / 2 + right - step * (PATCH[0] - 1) / 2
        top = (LOWER_HALF[1] - 1) / 2 + down - step * (PATCH[1] - 1) / 2
        place = np.array([[step, 0, left], [0, step, top]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        patches = [
            cv2.warpAffine(picture, place, PATCH, flags=flags, borderMode=cv2.BORDER_REPLICATE)
            for picture in self.pictures
        ]
        stacked = np.stack(patches).astype(np.float32)
        return (stacked[..., ::-1] if mirrored else stacked).reshape(len(patches), -1)


def _lower_half(crop: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(crop[len(crop) // 2 :], cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, LOWER_HALF, interpolation=cv2.INTER_AREA)


def pooled(mels: np.ndarray) -> np.ndarray:
    """Windows of sound (T, 80, 16) in a tenth of the numbers, (T, BANDS * MOMENTS) float16."""
    count, bands, columns = mels.shape
    blocks = mels.reshape(count, BANDS, bands // BANDS, MOMENTS, columns // MOMENTS)
    return blocks.mean(axis=(2, 4)).reshape(count, BANDS * MOMENTS).astype(np.float16)


@dataclass(frozen=True)
class LinearExpert:
    """Two matrices: from a window of mouth and from a window of sound to the canonical directions."""

    looks: np.ndarray  # (140, SHAPES): from a mouth's picture to its principal components
    changes: np.ndarray  # (140, MOTIONS)
    lips: np.ndarray  # (WINDOW_FRAMES * (SHAPES + MOTIONS), DIRECTIONS)
    sound: np.ndarray  # (80, DIRECTIONS)
    weights: np.ndarray  # (DIRECTIONS,): canonical correlations

    @classmethod
    def fit(cls, clips: Sequence[Views], offsets: Sequence[int]) -> LinearExpert:
        """Learn from clips, whose sound is taken to lie so many frames after the lips."""
        plain = [clip.mouth() for clip in clips]
        looks = _principal([look for look, _ in plain], SHAPES)
        changes = _principal([change for _, change in plain], MOTIONS)
        moments = _Moments()
        for number, mouth in enumerate(_mouths(clips)):
            clip, offset = clips[number // COPIES], offsets[number // COPIES]
            lips, sound = _windows(clip.firsts, clip.frames, *mouth, looks, changes), _centred(clip.sound)
            rows = clip.firsts + offset
            inside = (rows >= 0) & (rows < len(sound))
            moments.add(lips[inside], sound[rows[inside]])
        return cls(looks, changes, *moments.canonical())

    def judge(self, clip: Views) -> Embedded:
        """Vectors of a clip's windows."""
        firsts = clip.firsts
        lips = _windows(firsts, clip.frames, *clip.mouth(), self.looks, self.changes) @ self.lips
        sound = _centred(clip.sound) @ self.sound
        return Embedded(firsts, _lively(lips) * self.weights, _lively(sound))

    def embed(self, clip: Clip) -> Embedded:
        """As `wav2lip.sync.Expert` says."""
        return self.judge(Views.of(clip))


def _mouths(clips: Sequence[Views]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The mouths of all copies of all clips; the same ones every time."""
    for number, clip in enumerate(clips):
        for copy in range(COPIES):
            yield clip.mouth(np.random.default_rng((number, copy)))


def _principal(parts: Sequence[np.ndarray], number: int) -> np.ndarray:
    """From rows (N, D), given in parts, to their first principal components, of variance 1 each: (D, number)."""
    covariance = sum(rows.T @ rows for rows in parts) / max(1, sum(map(len, parts)))
    variances, directions = np.linalg.eigh(covariance)
    largest = slice(None, -number - 1, -1)
    return (directions[:, largest] / np.sqrt(np.maximum(variances[largest], 1e-6))).astype(np.float32)


def _windows(
    firsts: np.ndarray, frames: np.ndarray, look: np.ndarray, change: np.ndarray, looks: np.ndarray, changes: np.ndarray
) -> np.ndarray:
    """(W, WINDOW_FRAMES * (SHAPES + MOTIONS)) float32: the components of each window's frames side by side."""
    components = np.concatenate([look @ looks, change @ changes], axis=1)
    rows = np.searchsorted(frames, firsts)[:, None] + np.arange(WINDOW_FRAMES)
    return components[rows].reshape(len(firsts), WINDOW_FRAMES * components.shape[1])


def _centred(sound: np.ndarray) -> np.ndarray:
    wide = sound.astype(np.float32)
    return wide - wide.mean(axis=0) if len(wide) else wide


def _lively(rows: np.ndarray) -> np.ndarray:
    """Rows (N, D) without what changes slowly, each column of variance 1."""
    if not len(rows):
        return rows
    quick = rows - uniform_filter1d(rows, SLOW, axis=0, mode="nearest")
    return (quick / np.maximum(quick.std(axis=0), 1e-6)).astype(np.float32)


class _Moments:
    """Sums over pairs of seen (N, P) and heard (N, Q) rows, from which their canonical directions follow."""

    def __init__(self) -> None:
        self.count = 0
        self.sum: np.ndarray = np.zeros(())
        self.square: np.ndarray = np.zeros(())
        self.seen = 0  # P

    def add(self, seen: np.ndarray, heard: np.ndarray) -> None:
        """Take in pairs."""
        both = np.concatenate([seen, heard], axis=1).astype(np.float64)
        self.seen, self.count = seen.shape[1], self.count + len(both)
        self.sum, self.square = self.sum + both.sum(axis=0), self.square + both.T @ both

    def canonical(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Directions of seen (P, D) and heard (Q, D) whose projections are most correlated, and the correlations."""
        mean, p = self.sum / max(1, self.count), self.seen
        covariance = self.square / max(1, self.count) - np.outer(mean, mean)
        to_seen, to_heard = _whitening(covariance[:p, :p]), _whitening(covariance[p:, p:])
        left, correlations, right = np.linalg.svd(to_seen @ covariance[:p, p:] @ to_heard.T)
        return (
            (to_seen.T @ left[:, :DIRECTIONS]).astype(np.float32),
            (to_heard.T @ right[:DIRECTIONS].T).astype(np.float32),
            correlations[:DIRECTIONS].astype(np.float32),
        )


def _whitening(covariance: np.ndarray) -> np.ndarray:
    size = len(covariance)
    ridge = RIDGE * max(float(np.trace(covariance)) / size, 1e-9)
    return np.linalg.inv(np.linalg.cholesky(covariance + ridge * np.eye(size)))
