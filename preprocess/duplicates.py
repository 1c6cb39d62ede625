"""Clips of the same recording: encoded again, rescaled, brightened or trimmed; found without all pairs.

A clip's print is made of its sound and its pictures. From the sound come words: at the moments at which the shape of
the spectrum changes most clearly, the signs of the changes between neighbouring bands, which neither the volume nor
the codec turns. Copies share words at times that differ by one constant; others do not, be they one voice in one room.
The mean face then has to agree as well, so one sound under two pictures is no copy. Sound without words, which is
silent sound, is never called a copy.
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

from preprocess.places import Place
from wav2lip.audio import MEL_LIMIT, MEL_RATE
from wav2lip.windows import FPS

SOUND_SECONDS = 50.0  # at the beginning of a clip, of which the words are kept; columns must fit into COLUMN_BITS
COLUMN_BITS = 12  # for the mel column of a word
WORDS_A_SECOND = 6
MOST_WORDS = 60  # of a clip: 320 characters

LOWEST, HIGHEST = 4, 70  # mel bands that are used; codecs drop what is above
EDGES = 10  # differences between neighbouring groups of bands
SPREAD = 16  # mel columns (0.2 s) averaged over, so that it does not matter where a copy's columns fall
LAGS = (12, 36)  # mel columns (0.15 and 0.45 s) over which a change is taken
DYNAMICS = MEL_LIMIT  # below the loudest: 50 dB; what is softer is noise
CLEAR = 3  # weakest changes that are to be clear
APART = 9  # mel columns within which one moment is kept

PICTURE = 32  # pixels, side of the mean face
WAVES = 8  # lowest frequencies each way that are kept

FEWEST_WORDS = 3  # shared at one shift
SHIFT = 3  # mel columns by which a shift may differ from word to word
# Of the picture's 63 that may differ: encoded anew 0-4, cut otherwise 2-18, a real pair 8-12; others' median is 16.
MOST_BITS = 14
NEIGHBOURS = 128  # clips with the same word that each is compared with, so that a word all clips have costs little
CLIP_BITS = 22  # for the number of a clip, when words are sorted: four million
AGREEING = 0.5  # share of what two clips have in common that the words they share must span: more than a jingle
SURPLUS = 0.5  # share of a clip in another from which on it is not needed


@dataclass(frozen=True)
class Copies:
    """Two clips of the same recording."""

    one: str
    other: str
    shared: float  # seconds that are in both


def fingerprint(pictures: Sequence[np.ndarray], mel: np.ndarray, frames: int) -> str:
    """What `find` knows a clip by: FRAMES:PICTURE:WORDS, at most some 350 characters.

    pictures: grey (h, w) uint8, spread over the clip. mel: (80, T) of its sound. frames: its length at 25 a second.
    """
    words = _words(mel[:, : int(SOUND_SECONDS * MEL_RATE)])
    packed = base64.b64encode(words.astype("<u4").tobytes()).decode("ascii")
    return f"{frames}:{_picture_bits(pictures):016x}:{packed}"


def _picture_bits(pictures: Sequence[np.ndarray]) -> int:
    """Signs of the lowest waves of the mean face, 63 bits."""
    mean = np.mean([cv2.resize(p, (PICTURE, PICTURE), interpolation=cv2.INTER_AREA) for p in pictures], axis=0)
    waves = cv2.dct(mean.astype(np.float32))[:WAVES, :WAVES].ravel()[1:]  # the first is the brightness
    return int("".join("1" if wave > np.median(waves) else "0" for wave in waves), 2)


def _words(mel: np.ndarray) -> np.ndarray:
    """(N,) uint32 in order of time: signs of 20 changes of the spectrum, and the mel column in the lower 12 bits."""
    if mel.shape[1] <= LAGS[-1] + SPREAD or mel.max() <= -MEL_LIMIT:
        return np.zeros(0, np.uint32)
    mel = np.maximum(mel[LOWEST:HIGHEST], mel.max() - DYNAMICS)
    groups = mel.reshape(EDGES + 1, -1, mel.shape[1]).mean(axis=1)
    shape = np.diff(uniform_filter1d(groups, SPREAD, axis=1), axis=0)
    changes = np.concatenate([shape[:, LAGS[-1] :] - shape[:, LAGS[-1] - lag : -lag] for lag in LAGS])
    clarity = np.partition(np.abs(changes), CLEAR, axis=0)[:CLEAR].mean(axis=0)
    moments = np.flatnonzero((clarity == maximum_filter1d(clarity, APART)) & (clarity > 0))
    most = min(MOST_WORDS, round(WORDS_A_SECOND * mel.shape[1] / MEL_RATE))
    moments = np.sort(moments[np.argsort(-clarity[moments], kind="stable")[:most]])
    signs = (changes[:, moments] > 0).T @ (1 << np.arange(len(changes)))
    return (signs << COLUMN_BITS | moments).astype(np.uint32)


def find(prints: Mapping[str, str], places: Mapping[str, Place] | None = None) -> list[Copies]:
    """Pairs of clips that are copies, in order of their names. 100,000 clips take some seconds.

    prints: `fingerprint` of each clip. places: where they were cut from: of two clips from the same seconds of a video
        neither is a copy, as they show two people. None: each from a video of its own.
    """
    names = sorted(prints)
    if not names:
        return []
    parts = [prints[name].split(":") for name in names]
    frames = np.array([int(part[0]) for part in parts])
    pictures = np.array([int(part[1], 16) for part in parts], np.uint64)
    words = [np.frombuffer(base64.b64decode(part[2]), "<u4") for part in parts]
    one, other, shift = _agreeing(words, pictures)
    # The other's clock is `late` behind the one's; what both have lies between the later start and the earlier end.
    late = shift * FPS / MEL_RATE
    shared = (np.minimum(frames[one], frames[other] + late) - np.maximum(0, late)) / FPS
    return [
        Copies(names[a], names[b], round(float(seconds), 2))
        for a, b, seconds in zip(one, other, shared, strict=True)
        if seconds > 0 and not (places and places[names[a]].overlaps(places[names[b]]))
    ]


def _agreeing(words: Sequence[np.ndarray], pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of clips (a < b) alike in their pictures, and in enough words at one shift all over what they share.

    Returns: a, b, and the mel columns by which a word comes later in a than in b.
    """
    hits = _shared_words(words, pictures)
    pair, shift, column = hits[0] * len(words) + hits[1], hits[2], hits[3]
    order = np.lexsort((shift, pair))
    pair, shift, column = pair[order], shift[order], column[order]
    # For each hit, the end of those of its pair at about its shift; of each pair, the shift that has the most.
    far = 4 << COLUMN_BITS  # more than two shifts can lie apart
    end = np.searchsorted(pair * far + shift, pair * far + shift + SHIFT, side="right")
    count = end - np.arange(len(end))
    best = np.lexsort((-count, pair))
    best = best[np.unique(pair[best], return_index=True)[1]]
    best = best[count[best] >= FEWEST_WORDS]
    if not len(best):
        return best, best, best
    edges = np.stack([best, end[best]], axis=1).ravel()
    first = np.minimum.reduceat(np.append(column, 0), edges)[::2]
    last = np.maximum.reduceat(np.append(column, 0), edges)[::2]
    a, b, shift = pair[best] // len(words), pair[best] % len(words), shift[best]
    begins, ends = _reach(words)
    # In the clock of a: what both have lies between the later first and the earlier last of their words.
    room = np.minimum(ends[a], ends[b] + shift) - np.maximum(begins[a], begins[b] + shift)
    enough = last - first >= AGREEING * room
    return a[enough], b[enough], shift[enough]


def _reach(words: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mel columns of the first and the last word of each clip; 0 where it has none."""
    columns = [w & (1 << COLUMN_BITS) - 1 for w in words]
    first = np.array([int(c.min()) if len(c) else 0 for c in columns])
    return first, np.array([int(c.max()) if len(c) else 0 for c in columns])


def _shared_words(words: Sequence[np.ndarray], pictures: np.ndarray) -> np.ndarray:
    """Words that two clips alike in their pictures share: sorted by word, equal ones stand side by side.

    Returns: (4, N) int64: a, b, the mel columns by which the word comes later in a than in b, and its column in a.
    """
    clip = np.repeat(np.arange(len(words)), [len(w) for w in words])
    both = np.concatenate(words).astype(np.int64)
    columns, clips = (1 << COLUMN_BITS) - 1, (1 << CLIP_BITS) - 1
    entries = np.sort((both >> COLUMN_BITS) << CLIP_BITS + COLUMN_BITS | clip << COLUMN_BITS | both & columns)
    word, clip, column = entries >> CLIP_BITS + COLUMN_BITS, entries >> COLUMN_BITS & clips, entries & columns
    hits = [np.zeros((4, 0), np.int64)]
    first = np.arange(len(entries))
    for step in range(1, NEIGHBOURS + 1):
        first = first[first + step < len(entries)]
        first = first[word[first] == word[first + step]]
        a, b = clip[first], clip[first + step]
        alike = np.bitwise_count(pictures[a] ^ pictures[b]) <= MOST_BITS
        kept = first[alike & (a != b)]
        hits.append(np.stack([clip[kept], clip[kept + step], column[kept] - column[kept + step], column[kept]]))
    return np.concatenate(hits, axis=1)


def groups(pairs: Sequence[Copies]) -> list[list[str]]:
    """Clips that hang together by being copies, directly or over others: these must not be in different splits."""
    names = sorted({name for pair in pairs for name in (pair.one, pair.other)})
    number = {name: n for n, name in enumerate(names)}
    ends = ([number[pair.one] for pair in pairs], [number[pair.other] for pair in pairs])
    graph = coo_array((np.ones(len(pairs)), ends), shape=(len(names), len(names)))
    count, label = connected_components(graph, directed=False) if names else (0, [])
    found: list[list[str]] = [[] for _ in range(count)]
    for name, group in zip(names, label, strict=True):
        found[group].append(name)
    return found


def surplus(pairs: Sequence[Copies], face_pixels: Mapping[str, float], seconds: Mapping[str, float]) -> dict[str, str]:
    """Clips that are not needed, each with the one to keep in its place: the one that shows the face largest.

    A clip goes if half of it is in one that is kept, so a chain of clips that overlap by little is not lost whole.
    face_pixels, seconds: of every clip in the pairs.
    """
    partners: dict[str, list[tuple[str, float]]] = {}
    for pair in pairs:
        partners.setdefault(pair.one, []).append((pair.other, pair.shared))
        partners.setdefault(pair.other, []).append((pair.one, pair.shared))
    kept_instead: dict[str, str] = {}
    kept: set[str] = set()
    for clip in sorted(partners, key=lambda name: (-face_pixels[name], name)):
        better = [other for other, shared in partners[clip] if other in kept and shared >= SURPLUS * seconds[clip]]
        if better:
            kept_instead[clip] = min(better, key=lambda name: (-face_pixels[name], name))
        else:
            kept.add(clip)
    return kept_instead
