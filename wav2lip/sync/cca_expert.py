"""A sync expert in closed form: canonical correlation analysis of the mouths and the audio of a data set.

Correlates five frames of a mouth with the 0.2 s of audio under them (Hotelling 1936). It is weaker than a SyncNet
trained for days, and much stronger than one trained for minutes; see docs/sync.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import uniform_filter1d

from wav2lip.audio.windows import WINDOW_FRAMES, window_starts
from wav2lip.dataset.clip import Clip
from wav2lip.faces.crops import FACE_SIZE
from wav2lip.sync.expert import Embedding, clip_windows

LOWER_HALF_SIZE = (48, 24)  # pixels, width and height, to which the lower half of a crop is resized
MOUTH_SIZE = (28, 20)  # pixels of the lower half around its center: lips, chin and the inner halves of the cheeks
PATCH_SIZE = (14, 10)  # pixels to which the mouth is resized
# Augmentation: jittered copies of each clip, so that faces with another position in the crop are recognized too.
NUM_COPIES = 6
JITTER_PIXELS = 3.0  # shift of the lower half, in each direction
ZOOM_RANGE = 0.3  # fraction by which the mouth is larger or smaller
NUM_SHAPES, NUM_MOTIONS = 20, 10  # principal components of the mouth image and of its change
NUM_BANDS, NUM_MOMENTS = 20, 4  # pooled size of a mel window of 80 bands and 16 columns
RIDGE = 0.1  # fraction of the mean variance that is added to every variance
NUM_DIRECTIONS = 6  # canonical directions
HIGH_PASS_FRAMES = 51  # slower changes, such as light and posture, cause spurious correlation and are removed


@dataclass(frozen=True)
class ClipFeatures:
    """Input of the CCA expert for one clip, small enough to keep an hour of video in memory."""

    frames: np.ndarray  # (N,) int, ascending, with gaps: rows of `audio` that start with these frames
    images: np.ndarray  # (N, 24, 48) uint8: grayscale lower halves of the face
    audio: np.ndarray  # (T, 80) float16: pooled mel windows that start with each frame

    @classmethod
    def from_clip(cls, clip: Clip) -> ClipFeatures:
        """Read at most the first minute of a clip; InputError if it cannot be read."""
        frames, begin, mels = clip_windows(clip)
        images = [_lower_half(clip.read(int(frame), FACE_SIZE)) for frame in frames]
        return cls(frames - begin, np.stack(images), pool_mels(mels))

    @property
    def starts(self) -> np.ndarray:
        """(W,) frames that start five consecutive ones."""
        return window_starts(self.frames)

    def mouth(self, rng: np.random.Generator | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return appearance and change of the mouth in each frame, (N, 140) float32 each, mean 0 and variance 1.

        rng: jitters the position of the mouth, by the same amount in all frames; None: no jitter.
        """
        appearance = self._patches(rng)
        appearance -= appearance.mean(axis=0)
        change = np.sqrt(np.abs(np.diff(appearance, axis=0, prepend=appearance[:1])))
        change[np.diff(self.frames, prepend=self.frames[:1] - 1) != 1] = 0  # across a gap
        change -= change.mean(axis=0)
        return appearance / max(float(appearance.std()), 1e-6), change / max(float(change.std()), 1e-6)

    def _patches(self, rng: np.random.Generator | None) -> np.ndarray:
        zoom, (right, down), mirrored = 1.0, (0.0, 0.0), False
        if rng is not None:
            zoom = float((1 + ZOOM_RANGE) ** rng.uniform(-1, 1))
            right, down = rng.uniform(-JITTER_PIXELS, JITTER_PIXELS, 2)
            mirrored = bool(rng.integers(2))
        step = zoom * MOUTH_SIZE[0] / PATCH_SIZE[0]  # pixels of the lower half under one of the patch
        left = (LOWER_HALF_SIZE[0] - 1) / 2 + right - step * (PATCH_SIZE[0] - 1) / 2
        top = (LOWER_HALF_SIZE[1] - 1) / 2 + down - step * (PATCH_SIZE[1] - 1) / 2
        matrix = np.array([[step, 0, left], [0, step, top]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        patches = [
            cv2.warpAffine(image, matrix, PATCH_SIZE, flags=flags, borderMode=cv2.BORDER_REPLICATE)
            for image in self.images
        ]
        stacked = np.stack(patches).astype(np.float32)
        return (stacked[..., ::-1] if mirrored else stacked).reshape(len(patches), -1)


def _lower_half(crop: np.ndarray) -> np.ndarray:
    gray = cv2.cvtColor(crop[len(crop) // 2 :], cv2.COLOR_RGB2GRAY)
    return cv2.resize(gray, LOWER_HALF_SIZE, interpolation=cv2.INTER_AREA)


def pool_mels(mels: np.ndarray) -> np.ndarray:
    """Pool mel windows (T, 80, 16) to (T, NUM_BANDS * NUM_MOMENTS) float16."""
    count, bands, columns = mels.shape
    blocks = mels.reshape(count, NUM_BANDS, bands // NUM_BANDS, NUM_MOMENTS, columns // NUM_MOMENTS)
    return blocks.mean(axis=(2, 4)).reshape(count, NUM_BANDS * NUM_MOMENTS).astype(np.float16)


@dataclass(frozen=True)
class CCAExpert:
    """Projections of windows of mouth and of audio to the canonical directions."""

    shapes: np.ndarray  # (140, NUM_SHAPES): from a mouth image to its principal components
    motions: np.ndarray  # (140, NUM_MOTIONS)
    lips: np.ndarray  # (WINDOW_FRAMES * (NUM_SHAPES + NUM_MOTIONS), NUM_DIRECTIONS)
    audio: np.ndarray  # (80, NUM_DIRECTIONS)
    weights: np.ndarray  # (NUM_DIRECTIONS,): canonical correlations

    @classmethod
    def fit(cls, clips: Sequence[ClipFeatures], offsets: Sequence[int]) -> CCAExpert:
        """Fit to clips whose audio lags the video by `offsets` frames."""
        mouths = [clip.mouth() for clip in clips]
        shapes = _principal_components([appearance for appearance, _ in mouths], NUM_SHAPES)
        motions = _principal_components([change for _, change in mouths], NUM_MOTIONS)
        moments = _Moments()
        for number, mouth in enumerate(_augmented_mouths(clips)):
            clip, offset = clips[number // NUM_COPIES], offsets[number // NUM_COPIES]
            lips, audio = _windows(clip.starts, clip.frames, *mouth, shapes, motions), _center(clip.audio)
            rows = clip.starts + offset
            inside = (rows >= 0) & (rows < len(audio))
            moments.add(lips[inside], audio[rows[inside]])
        return cls(shapes, motions, *moments.canonical_directions())

    def embed_features(self, clip: ClipFeatures) -> Embedding:
        """Embed the windows of a clip from its features."""
        starts = clip.starts
        lips = _windows(starts, clip.frames, *clip.mouth(), self.shapes, self.motions) @ self.lips
        audio = _center(clip.audio) @ self.audio
        return Embedding(starts, _high_pass(lips) * self.weights, _high_pass(audio))

    def embed(self, clip: Clip) -> Embedding:
        """Embed a clip; see `wav2lip.sync.expert.Expert`."""
        return self.embed_features(ClipFeatures.from_clip(clip))


def _augmented_mouths(clips: Sequence[ClipFeatures]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the mouths of all copies of all clips, the same on every call."""
    for number, clip in enumerate(clips):
        for copy in range(NUM_COPIES):
            yield clip.mouth(np.random.default_rng((number, copy)))


def _principal_components(batches: Sequence[np.ndarray], number: int) -> np.ndarray:
    """Return the projection of rows (N, D) to their first principal components, of variance 1 each: (D, number)."""
    covariance = sum(rows.T @ rows for rows in batches) / max(1, sum(map(len, batches)))
    variances, directions = np.linalg.eigh(covariance)
    largest = slice(None, -number - 1, -1)
    return (directions[:, largest] / np.sqrt(np.maximum(variances[largest], 1e-6))).astype(np.float32)


def _windows(
    starts: np.ndarray,
    frames: np.ndarray,
    appearance: np.ndarray,
    change: np.ndarray,
    shapes: np.ndarray,
    motions: np.ndarray,
) -> np.ndarray:
    """Concatenate the components of each window's frames: (W, WINDOW_FRAMES * (NUM_SHAPES + NUM_MOTIONS)) float32."""
    components = np.concatenate([appearance @ shapes, change @ motions], axis=1)
    rows = np.searchsorted(frames, starts)[:, None] + np.arange(WINDOW_FRAMES)
    return components[rows].reshape(len(starts), WINDOW_FRAMES * components.shape[1])


def _center(audio: np.ndarray) -> np.ndarray:
    wide = audio.astype(np.float32)
    return wide - wide.mean(axis=0) if len(wide) else wide


def _high_pass(rows: np.ndarray) -> np.ndarray:
    """Remove slow changes from rows (N, D) and scale each column to variance 1."""
    if not len(rows):
        return rows
    fast = rows - uniform_filter1d(rows, HIGH_PASS_FRAMES, axis=0, mode="nearest")
    return (fast / np.maximum(fast.std(axis=0), 1e-6)).astype(np.float32)


class _Moments:
    """First and second moments of paired rows of lips (N, P) and audio (N, Q)."""

    def __init__(self) -> None:
        self.count = 0
        self.sum: np.ndarray = np.zeros(())
        self.square: np.ndarray = np.zeros(())
        self.lips_size = 0  # P

    def add(self, lips: np.ndarray, audio: np.ndarray) -> None:
        """Accumulate pairs."""
        both = np.concatenate([lips, audio], axis=1).astype(np.float64)
        self.lips_size, self.count = lips.shape[1], self.count + len(both)
        self.sum, self.square = self.sum + both.sum(axis=0), self.square + both.T @ both

    def canonical_directions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the most correlated directions of lips (P, D) and audio (Q, D), and their correlations."""
        mean, p = self.sum / max(1, self.count), self.lips_size
        covariance = self.square / max(1, self.count) - np.outer(mean, mean)
        white_lips, white_audio = _whitening(covariance[:p, :p]), _whitening(covariance[p:, p:])
        left, correlations, right = np.linalg.svd(white_lips @ covariance[:p, p:] @ white_audio.T)
        return (
            (white_lips.T @ left[:, :NUM_DIRECTIONS]).astype(np.float32),
            (white_audio.T @ right[:NUM_DIRECTIONS].T).astype(np.float32),
            correlations[:NUM_DIRECTIONS].astype(np.float32),
        )


def _whitening(covariance: np.ndarray) -> np.ndarray:
    size = len(covariance)
    ridge = RIDGE * max(float(np.trace(covariance)) / size, 1e-9)
    return np.linalg.inv(np.linalg.cholesky(covariance + ridge * np.eye(size)))
