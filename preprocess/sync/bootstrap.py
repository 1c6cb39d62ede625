"""Bootstrap sync experts from a data set alone: fit, score, realign or drop clips, until the selection is stable.

This works because most clips are in sync and the others are wrong in different ways, so that only true sync is common.
A clip is never scored by an expert that was fitted on it, on a duplicate of it or on its source: that expert would
prefer the offset it was fitted to.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from preprocess.curation.clip_origin import ClipOrigin
from wav2lip.audio.windows import FPS
from wav2lip.sync.cca_expert import CCAExpert, ClipFeatures
from wav2lip.sync.offset import OffsetEstimate, estimate_offset

log = logging.getLogger(__name__)

MAX_ROUNDS = 8
MIN_CLIPS = 6  # fewer clips cannot be compared with one another


def assign_folds(origins: Sequence[ClipOrigin], num_folds: int) -> dict[str, int]:
    """Return a fold for each clip. The clips of a source share a fold, but a large source is divided by time.

    Duplicates are placed where the first of them was cut, and their sources count as one.
    """
    first_of_recording: dict[str, ClipOrigin] = {}
    for origin in sorted(origins, key=lambda origin: (origin.source, origin.first, origin.clip)):
        first_of_recording.setdefault(origin.recording or origin.clip, origin)
    placements = {origin.clip: first_of_recording[origin.recording or origin.clip] for origin in origins}
    merged = _merge_names((origin.source, placements[origin.clip].source) for origin in origins)
    by_source: dict[str, list[ClipOrigin]] = {}
    for origin in origins:
        by_source.setdefault(merged[origin.source], []).append(origin)
    sizes = [0] * num_folds
    folds: dict[str, int] = {}
    for source in sorted(by_source, key=lambda name: (-len(by_source[name]), name)):
        members = by_source[source]
        times = sorted({(placements[o.clip].source, placements[o.clip].first) for o in members})
        fold_by_time = {time: index * num_folds // len(times) for index, time in enumerate(times)}
        smallest = int(np.argmin(sizes))
        is_large = len(members) > len(origins) / (2 * num_folds)
        for origin in members:
            placement = placements[origin.clip]
            folds[origin.clip] = fold_by_time[placement.source, placement.first] if is_large else smallest
            sizes[folds[origin.clip]] += 1
    return folds


def _merge_names(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the smallest name of each connected group, by name."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for first, second in pairs:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return {name: root(name) for name in list(parent)}


@dataclass(frozen=True)
class BootstrapResult:
    """Fitted experts and their measurements."""

    experts: list[CCAExpert]  # one per fold, fitted on the clips of the other folds
    folds: dict[str, int]  # key: clip
    estimates: dict[str, OffsetEstimate | None]  # key: clip
    rounds: list[dict[str, int]]  # number of clips, of confident ones and of shifted ones after each round


def bootstrap(
    features: Mapping[str, ClipFeatures],
    origins: Sequence[ClipOrigin],
    *,
    min_confidence: float,
    max_offset: int,
    num_folds: int,
    num_negatives: int,
) -> BootstrapResult:
    """Fit experts to clips with unknown offsets, and estimate the offsets.

    features: by clip. origins: of these clips. max_offset: frames.
    num_negatives: clips with whose audio the lips of each clip are compared.
    """
    folds = assign_folds(origins, num_folds)
    offsets = dict.fromkeys(features, 0)
    training_clips = set(features)
    rounds: list[dict[str, int]] = []
    while True:
        experts = _fit_experts(features, offsets, training_clips, folds, num_folds)
        estimates = _estimate_offsets(experts, features, origins, folds, max_offset, num_negatives)
        confident = {
            clip for clip, est in estimates.items() if est and est.confidence >= min_confidence and not est.at_edge
        }
        common = _most_common_offset([est.offset for clip, est in estimates.items() if est and clip in confident])
        previous = offsets, training_clips
        offsets = {clip: est.offset - common if est else 0 for clip, est in estimates.items()}
        has_enough = len(confident) >= max(MIN_CLIPS, len(features) / 4)
        training_clips = confident if has_enough else _most_confident_half(estimates)
        shifted = sum(offsets[clip] != 0 for clip in confident)
        rounds.append({"clips": len(features), "confident": len(confident), "shifted": shifted})
        log.info("bootstrap round %d: %d of %d clips confident, %d shifted", len(rounds), len(confident),
                 len(features), shifted)  # fmt: skip
        is_stable = training_clips == previous[1] and all(offsets[clip] == previous[0][clip] for clip in training_clips)
        if is_stable or len(rounds) == MAX_ROUNDS:
            return BootstrapResult(experts, folds, estimates, rounds)


def _fit_experts(
    features: Mapping[str, ClipFeatures],
    offsets: Mapping[str, int],
    training_clips: set[str],
    folds: Mapping[str, int],
    num_folds: int,
) -> list[CCAExpert]:
    """Fit an expert for each fold to the clips of the others."""
    experts = []
    for fold in range(num_folds):
        clips = [clip for clip in sorted(training_clips) if folds[clip] != fold] or sorted(training_clips)
        experts.append(CCAExpert.fit([features[clip] for clip in clips], [offsets[clip] for clip in clips]))
    return experts


def _estimate_offsets(
    experts: Sequence[CCAExpert],
    features: Mapping[str, ClipFeatures],
    origins: Sequence[ClipOrigin],
    folds: Mapping[str, int],
    max_offset: int,
    num_negatives: int,
) -> dict[str, OffsetEstimate | None]:
    sampled = sample_evenly(origins, num_negatives)
    estimates: dict[str, OffsetEstimate | None] = {}
    for fold, expert in enumerate(experts):
        negatives = [(origin, expert.embed_features(features[origin.clip]).audio) for origin in sampled]
        for origin in origins:
            if folds[origin.clip] == fold:
                other_audio = [audio for other, audio in negatives if not origin.shares_audio_with(other)]
                embedding = expert.embed_features(features[origin.clip])
                estimates[origin.clip] = estimate_offset(embedding, other_audio, max_offset)
    return estimates


def sample_evenly(origins: Sequence[ClipOrigin], count: int) -> list[ClipOrigin]:
    """Return at most `count` clips spread evenly over the data set, the same in every run."""
    ordered = sorted(origins, key=lambda origin: (origin.source, origin.first, origin.clip))
    indices = np.unique(np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int))
    return [ordered[index] for index in indices]


def sample_minutes(origins: Sequence[ClipOrigin], minutes: float) -> list[ClipOrigin]:
    """Return about so many minutes of clips, spread evenly, but at least MIN_CLIPS."""
    fraction = minutes * 60 * FPS / max(1, sum(origin.frames for origin in origins))
    return sample_evenly(origins, max(MIN_CLIPS, int(len(origins) * min(1.0, fraction))))


def _most_common_offset(offsets: Sequence[int]) -> int:
    """Return the offset that is defined as zero: a delay common to all clips is not observable without an expert."""
    counts = Counter(offsets)
    return min(counts, key=lambda offset: (-counts[offset], abs(offset), offset)) if counts else 0


def _most_confident_half(estimates: Mapping[str, OffsetEstimate | None]) -> set[str]:
    def rank(clip: str) -> tuple[float, str]:
        estimate = estimates[clip]
        return -(estimate.confidence if estimate else -np.inf), clip

    return set(sorted(estimates, key=rank)[: max(1, len(estimates) // 2)])
