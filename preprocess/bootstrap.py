"""Judge a data set's sync with nothing but the data: learn, score, correct or set aside, until it is stable.

What makes it work: most clips are right, and those that are not are wrong each in its own way, so that what they have
in common is the truth. No clip is ever scored by an expert that learned from it, from a copy of it or from its source:
such an expert would have learned to like the shift it was shown.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from preprocess.places import Place
from wav2lip.linear_expert import LinearExpert, Views
from wav2lip.sync import Sync, measure
from wav2lip.windows import FPS

log = logging.getLogger(__name__)

MOST_ROUNDS = 8
FEWEST_CLIPS = 6  # fewer say nothing about one another


def deal(places: Sequence[Place], folds: int) -> dict[str, int]:
    """A fold for each clip. All clips of a source go together, but a large source is cut up by time.

    Copies are dealt as if all were cut from where the first of them was, and make one source of those they are from.
    """
    first_of: dict[str, Place] = {}
    for place in sorted(places, key=lambda place: (place.source, place.first, place.clip)):
        first_of.setdefault(place.recording or place.clip, place)
    origins = {place.clip: first_of[place.recording or place.clip] for place in places}
    source_of = _joined((place.source, origins[place.clip].source) for place in places)
    by_source: dict[str, list[Place]] = {}
    for place in places:
        by_source.setdefault(source_of[place.source], []).append(place)
    filled = [0] * folds
    dealt: dict[str, int] = {}
    for source in sorted(by_source, key=lambda name: (-len(by_source[name]), name)):
        inside = by_source[source]
        moments = sorted({(origins[p.clip].source, origins[p.clip].first) for p in inside})
        block = {moment: number * folds // len(moments) for number, moment in enumerate(moments)}
        least = int(np.argmin(filled))
        for place in inside:
            origin = origins[place.clip]
            large = len(inside) > len(places) / (2 * folds)
            dealt[place.clip] = block[origin.source, origin.first] if large else least
            filled[dealt[place.clip]] += 1
    return dealt


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A name for each of the groups that pairs of names hang together in, by name."""
    joined: dict[str, str] = {}

    def root(name: str) -> str:
        while joined.setdefault(name, name) != name:
            name = joined[name]
        return name

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        joined[high] = low
    return {name: root(name) for name in list(joined)}


@dataclass(frozen=True)
class Bootstrapped:
    """What came of it."""

    experts: list[LinearExpert]  # by fold: the one that saw nothing of it
    folds: dict[str, int]  # by clip
    syncs: dict[str, Sync | None]  # by clip, as the experts judge it
    rounds: list[dict[str, int]]  # how many clips were sure and how many shifted after each


def bootstrap(
    views: Mapping[str, Views], places: Sequence[Place], *, sure: float, reach: int, folds: int, others: int
) -> Bootstrapped:
    """Learn to judge sync from the clips that are to be judged.

    views: by clip. places: of these clips. sure: confidence from which on an offset is believed.
    others: clips whose sounds the lips of each clip are held against.
    """
    dealt = deal(places, folds)
    offsets = dict.fromkeys(views, 0)
    learned = set(views)
    rounds: list[dict[str, int]] = []
    while True:
        experts = _learn(views, offsets, learned, dealt, folds)
        syncs = _judge(experts, views, places, dealt, reach, others)
        believed = {clip for clip, found in syncs.items() if found and found.confidence >= sure and not found.at_edge}
        usual = _usual([found.offset for clip, found in syncs.items() if found and clip in believed])
        before = offsets, learned
        offsets = {clip: found.offset - usual if found else 0 for clip, found in syncs.items()}
        learned = believed if len(believed) >= max(FEWEST_CLIPS, len(views) / 4) else _better_half(syncs)
        shifted = sum(offsets[clip] != 0 for clip in believed)
        rounds.append({"clips": len(views), "sure": len(believed), "shifted": shifted})
        log.info(
            "round %d: %d of %d clips are sure, %d of them shifted", len(rounds), len(believed), len(views), shifted
        )
        stable = learned == before[1] and all(offsets[clip] == before[0][clip] for clip in learned)
        if stable or len(rounds) == MOST_ROUNDS:
            return Bootstrapped(experts, dealt, syncs, rounds)


def _learn(
    views: Mapping[str, Views], offsets: Mapping[str, int], learned: set[str], dealt: Mapping[str, int], folds: int
) -> list[LinearExpert]:
    """An expert for each fold, from the clips of the others."""
    experts = []
    for fold in range(folds):
        clips = [clip for clip in sorted(learned) if dealt[clip] != fold] or sorted(learned)
        experts.append(LinearExpert.fit([views[clip] for clip in clips], [offsets[clip] for clip in clips]))
    return experts


def _judge(
    experts: Sequence[LinearExpert],
    views: Mapping[str, Views],
    places: Sequence[Place],
    dealt: Mapping[str, int],
    reach: int,
    others: int,
) -> dict[str, Sync | None]:
    compared = spread_evenly(places, others)
    found: dict[str, Sync | None] = {}
    for fold, expert in enumerate(experts):
        sounds = [(place, expert.judge(views[place.clip]).sound) for place in compared]
        for place in places:
            if dealt[place.clip] == fold:
                foreign = [sound for other, sound in sounds if not place.shares_sound_with(other)]
                found[place.clip] = measure(expert.judge(views[place.clip]), foreign, reach)
    return found


def spread_evenly(places: Sequence[Place], number: int) -> list[Place]:
    """So many clips from all over the set, the same every time."""
    ordered = sorted(places, key=lambda place: (place.source, place.first, place.clip))
    picked = np.unique(np.linspace(0, len(ordered) - 1, min(number, len(ordered))).round().astype(int))
    return [ordered[index] for index in picked]


def _usual(offsets: Sequence[int]) -> int:
    """The commonest offset, which is called zero: that all clips are late alike cannot be seen without an expert."""
    counted = Counter(offsets)
    return min(counted, key=lambda offset: (-counted[offset], abs(offset), offset)) if counted else 0


def _better_half(syncs: Mapping[str, Sync | None]) -> set[str]:
    ranked = sorted(syncs, key=lambda clip: (-(found.confidence if (found := syncs[clip]) else -np.inf), clip))
    return set(ranked[: max(1, len(ranked) // 2)])


def sample(places: Sequence[Place], minutes: float) -> list[Place]:
    """So many minutes of clips at most, but enough to say something about one another, from all over the set."""
    share = minutes * 60 * FPS / max(1, sum(place.frames for place in places))
    return spread_evenly(places, max(FEWEST_CLIPS, int(len(places) * min(1.0, share))))
