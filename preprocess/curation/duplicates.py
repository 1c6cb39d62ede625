"""Find clips of the same recording, re-encoded, rescaled, brightened or trimmed, without comparing all pairs.

A clip's fingerprint has an audio part and an image part. The audio part is a set of landmarks: at the times at which
the spectral shape changes most clearly, the signs of the changes between neighboring bands, which neither volume nor
codec flips, are hashed. Duplicates share hashes at one constant time shift; other clips do not, even of one voice in
one room. The perceptual hash of the mean face has to agree as well, so one audio track under two faces is no duplicate.
Silent audio has no landmarks and is never a duplicate.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from preprocess.curation.clip_origin import ClipOrigin
from wav2lip.audio.mel import MEL_LIMIT, MEL_RATE
from wav2lip.audio.windows import FPS

MAX_AUDIO_SECONDS = 50.0  # from the start of a clip; the mel columns must fit into COLUMN_BITS
COLUMN_BITS = 12  # low bits of a landmark: its mel column
LANDMARKS_PER_SECOND = 6
MAX_LANDMARKS = 60  # per clip: 320 characters

LOW_BAND, HIGH_BAND = 4, 70  # range of mel bands; codecs drop what is above
BAND_EDGES = 10  # differences between neighboring groups of bands
SMOOTHING_COLUMNS = 16  # mel columns (0.2 s), so that the alignment of a duplicate's columns does not matter
LAG_COLUMNS = (12, 36)  # mel columns (0.15 and 0.45 s) over which a change is measured
DYNAMIC_RANGE = MEL_LIMIT  # below the loudest value: 50 dB; softer values are noise
NUM_WEAKEST = 3  # weakest changes that must be clear
MIN_DISTANCE_COLUMNS = 9  # minimum distance of two landmarks

IMAGE_SIZE = 32  # pixels, of the mean face
NUM_FREQUENCIES = 8  # lowest DCT frequencies in each direction

MIN_SHARED_LANDMARKS = 3  # minimum for a pair, all at one shift
SHIFT_TOLERANCE_COLUMNS = 3  # mel columns; the shift may differ by so much between landmarks
# Of the 63 bits of the image hash: re-encoded 0-4, cropped differently 2-18, a real pair 8-12; others' median is 16.
MAX_IMAGE_BITS = 14
MAX_NEIGHBORS = 128  # clips with the same landmark that each is compared with, which bounds the cost of frequent ones
CLIP_BITS = 22  # bits of a clip's index while landmarks are sorted: four million clips
MIN_SPAN_FRACTION = 0.5  # share of the common time that the landmarks must span: more than a jingle
REDUNDANT_FRACTION = 0.5  # share of a clip that another one must contain to replace it


@dataclass(frozen=True)
class DuplicatePair:
    """Two clips of the same recording."""

    first: str
    second: str
    shared_seconds: float


def fingerprint_clip(images: Sequence[np.ndarray], mel: np.ndarray, frames: int) -> str:
    """Return FRAMES:IMAGE:LANDMARKS, at most about 350 characters.

    images: gray (h, w) uint8, spread over the clip. mel: (80, T). frames: length at 25 fps.
    """
    landmarks = _audio_landmarks(mel[:, : int(MAX_AUDIO_SECONDS * MEL_RATE)])
    encoded = base64.b64encode(landmarks.astype("<u4").tobytes()).decode("ascii")
    return f"{frames}:{_image_hash(images):016x}:{encoded}"


def _image_hash(images: Sequence[np.ndarray]) -> int:
    """Return the perceptual hash of the mean face: 63 signs of its lowest DCT coefficients."""
    size = (IMAGE_SIZE, IMAGE_SIZE)
    mean = np.mean([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images], axis=0)
    # The first coefficient is the brightness.
    coefficients = cv2.dct(mean.astype(np.float32))[:NUM_FREQUENCIES, :NUM_FREQUENCIES].ravel()[1:]
    return int("".join("1" if value > np.median(coefficients) else "0" for value in coefficients), 2)


def _audio_landmarks(mel: np.ndarray) -> np.ndarray:
    """Return (N,) uint32 in time order: signs of 20 spectral changes, and the mel column in the lower 12 bits."""
    if mel.shape[1] <= LAG_COLUMNS[-1] + SMOOTHING_COLUMNS or mel.max() <= -MEL_LIMIT:
        return np.zeros(0, np.uint32)
    mel = np.maximum(mel[LOW_BAND:HIGH_BAND], mel.max() - DYNAMIC_RANGE)
    bands = mel.reshape(BAND_EDGES + 1, -1, mel.shape[1]).mean(axis=1)
    shape = np.diff(uniform_filter1d(bands, SMOOTHING_COLUMNS, axis=1), axis=0)
    longest = LAG_COLUMNS[-1]
    changes = np.concatenate([shape[:, longest:] - shape[:, longest - lag : -lag] for lag in LAG_COLUMNS])
    clarity = np.partition(np.abs(changes), NUM_WEAKEST, axis=0)[:NUM_WEAKEST].mean(axis=0)
    times = np.flatnonzero((clarity == maximum_filter1d(clarity, MIN_DISTANCE_COLUMNS)) & (clarity > 0))
    count = min(MAX_LANDMARKS, round(LANDMARKS_PER_SECOND * mel.shape[1] / MEL_RATE))
    times = np.sort(times[np.argsort(-clarity[times], kind="stable")[:count]])
    signs = (changes[:, times] > 0).T @ (1 << np.arange(len(changes)))
    return (signs << COLUMN_BITS | times).astype(np.uint32)


def find_duplicates(
    fingerprints: Mapping[str, str], origins: Mapping[str, ClipOrigin] | None = None
) -> list[DuplicatePair]:
    """Return the pairs of duplicates, sorted by name. 100,000 clips take some seconds.

    fingerprints: by clip. origins: by clip; two clips of the same seconds of a video show two people and are no
        duplicates. None: each clip is from a video of its own.
    """
    names = sorted(fingerprints)
    if not names:
        return []
    fields = [fingerprints[name].split(":") for name in names]
    frames = np.array([int(field[0]) for field in fields])
    image_hashes = np.array([int(field[1], 16) for field in fields], np.uint64)
    landmarks = [np.frombuffer(base64.b64decode(field[2]), "<u4") for field in fields]
    first, second, shift = _match_pairs(landmarks, image_hashes)
    # The clock of the second clip is `delay` behind that of the first: they share the time between the later start
    # and the earlier end.
    delay = shift * FPS / MEL_RATE
    shared = (np.minimum(frames[first], frames[second] + delay) - np.maximum(0, delay)) / FPS
    return [
        DuplicatePair(names[a], names[b], round(float(seconds), 2))
        for a, b, seconds in zip(first, second, shared, strict=True)
        if seconds > 0 and not (origins and origins[names[a]].overlaps(origins[names[b]]))
    ]


def _match_pairs(
    landmarks: Sequence[np.ndarray], image_hashes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs of clips (a < b) with similar images and enough common landmarks at one shift.

    Returns: a, b, and the mel columns by which a landmark is later in a than in b.
    """
    matches = _shared_landmarks(landmarks, image_hashes)
    pair, shift, column = matches[0] * len(landmarks) + matches[1], matches[2], matches[3]
    order = np.lexsort((shift, pair))
    pair, shift, column = pair[order], shift[order], column[order]
    # For each match, find the end of the matches of its pair within the tolerance of its shift; for each pair, keep
    # the shift with the most matches.
    stride = 4 << COLUMN_BITS  # larger than the difference of any two shifts
    end = np.searchsorted(pair * stride + shift, pair * stride + shift + SHIFT_TOLERANCE_COLUMNS, side="right")
    count = end - np.arange(len(end))
    best = np.lexsort((-count, pair))
    best = best[np.unique(pair[best], return_index=True)[1]]
    best = best[count[best] >= MIN_SHARED_LANDMARKS]
    if not len(best):
        return best, best, best
    edges = np.stack([best, end[best]], axis=1).ravel()
    first = np.minimum.reduceat(np.append(column, 0), edges)[::2]
    last = np.maximum.reduceat(np.append(column, 0), edges)[::2]
    a, b, shift = pair[best] // len(landmarks), pair[best] % len(landmarks), shift[best]
    starts, ends = _landmark_ranges(landmarks)
    # In the clock of a, the common time lies between the later first and the earlier last landmark of the two.
    common = np.minimum(ends[a], ends[b] + shift) - np.maximum(starts[a], starts[b] + shift)
    is_match = last - first >= MIN_SPAN_FRACTION * common
    return a[is_match], b[is_match], shift[is_match]


def _landmark_ranges(landmarks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mel columns of the first and the last landmark of each clip; 0 where it has none."""
    columns = [values & (1 << COLUMN_BITS) - 1 for values in landmarks]
    first = np.array([int(c.min()) if len(c) else 0 for c in columns])
    return first, np.array([int(c.max()) if len(c) else 0 for c in columns])


def _shared_landmarks(landmarks: Sequence[np.ndarray], image_hashes: np.ndarray) -> np.ndarray:
    """Return landmarks with equal hashes in two clips with similar images; sorting puts equal hashes side by side.

    Returns: (4, N) int64: a, b, the mel columns by which the landmark is later in a than in b, and its column in a.
    """
    clip = np.repeat(np.arange(len(landmarks)), [len(values) for values in landmarks])
    values = np.concatenate(landmarks).astype(np.int64)
    column_mask, clip_mask = (1 << COLUMN_BITS) - 1, (1 << CLIP_BITS) - 1
    hashes = (values >> COLUMN_BITS) << CLIP_BITS + COLUMN_BITS
    entries = np.sort(hashes | clip << COLUMN_BITS | values & column_mask)
    key, clip, column = entries >> CLIP_BITS + COLUMN_BITS, entries >> COLUMN_BITS & clip_mask, entries & column_mask
    matches = [np.zeros((4, 0), np.int64)]
    first = np.arange(len(entries))
    for step in range(1, MAX_NEIGHBORS + 1):
        first = first[first + step < len(entries)]
        first = first[key[first] == key[first + step]]
        a, b = clip[first], clip[first + step]
        is_similar = np.bitwise_count(image_hashes[a] ^ image_hashes[b]) <= MAX_IMAGE_BITS
        index = first[is_similar & (a != b)]
        shift = column[index] - column[index + step]
        matches.append(np.stack([clip[index], clip[index + step], shift, column[index]]))
    return np.concatenate(matches, axis=1)


def group_duplicates(pairs: Sequence[DuplicatePair]) -> list[list[str]]:
    """Return connected groups of duplicates, which must not be divided between splits."""
    names = sorted({name for pair in pairs for name in (pair.first, pair.second)})
    index = {name: n for n, name in enumerate(names)}
    edges = ([index[pair.first] for pair in pairs], [index[pair.second] for pair in pairs])
    graph = coo_array((np.ones(len(pairs)), edges), shape=(len(names), len(names)))
    count, labels = connected_components(graph, directed=False) if names else (0, [])
    groups: list[list[str]] = [[] for _ in range(count)]
    for name, label in zip(names, labels, strict=True):
        groups[label].append(name)
    return groups


def select_redundant(
    pairs: Sequence[DuplicatePair], face_pixels: Mapping[str, float], seconds: Mapping[str, float]
) -> dict[str, str]:
    """Return redundant clips, each with the clip to keep instead: the one with the largest face.

    A clip is redundant if a kept clip contains half of it, so a chain of clips with short overlaps is not lost.
    face_pixels, seconds: of every clip in the pairs.
    """
    neighbors: dict[str, list[tuple[str, float]]] = {}
    for pair in pairs:
        neighbors.setdefault(pair.first, []).append((pair.second, pair.shared_seconds))
        neighbors.setdefault(pair.second, []).append((pair.first, pair.shared_seconds))
    replacement: dict[str, str] = {}
    kept_clips: set[str] = set()
    for clip in sorted(neighbors, key=lambda name: (-face_pixels[name], name)):
        min_seconds = REDUNDANT_FRACTION * seconds[clip]
        better = [other for other, shared in neighbors[clip] if other in kept_clips and shared >= min_seconds]
        if better:
            replacement[clip] = min(better, key=lambda name: (-face_pixels[name], name))
        else:
            kept_clips.add(clip)
    return replacement
