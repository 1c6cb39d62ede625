"""Train, validation and test splits without leakage.

A source belongs to one split as a whole; sources that share duplicates of a recording stay together. The end of a
single source is held out, with a gap before it that is in no list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wav2lip.audio.windows import FPS
from wav2lip.errors import InputError

SPLITS = ("train", "val", "test")
SPLIT_MODES = ("auto", "group", "video", "time")
MIN_GROUPS = 3  # minimum for holding out whole groups with split_by=auto; half of two is too much
GAP_SECONDS = 2.0  # minimum distance of train and held-out clips of one source


@dataclass(frozen=True)
class SplitSettings:
    """Assignment of clips to splits.

    val, test: fractions of the seconds, to the nearest source; val gets at least one source.
    seed: another seed holds out other sources. The rank of a source depends on its name and the seed alone.
    by: unit that is held out. "group": whole folders; "video": whole videos; "time": the end of every video;
        "auto": folders if there are at least three, else videos, else the end of the only one.
    gap_seconds: clips nearer to a held-out clip of their source are in no list.
    """

    val: float = 0.05
    test: float = 0.05
    seed: int = 0
    by: str = "auto"
    gap_seconds: float = GAP_SECONDS

    def __post_init__(self) -> None:
        if not (0 <= self.val < 1 and 0 <= self.test < 1 and self.val + self.test < 1):
            raise InputError(f"val={self.val}, test={self.test}: must add up to less than 1")
        if self.by not in SPLIT_MODES:
            raise InputError(f"split_by={self.by}: must be one of {', '.join(SPLIT_MODES)}")
        if self.gap_seconds < 0:
            raise InputError(f"gap_seconds={self.gap_seconds}: must be 0 or more")


@dataclass(frozen=True)
class SplitEntry:
    """Properties of a clip that decide its split."""

    clip: str  # GROUP/CLIP
    source: str  # video from which it was cut
    group: str  # folder, such as all videos of one speaker
    start: float | None  # seconds into the source; None: unknown
    seconds: float

    @classmethod
    def from_info(cls, clip: str, seconds: float, info: Mapping[str, Any] | None) -> SplitEntry:
        """Read clip.json; without one, as in foreign data, the folder of the clip is its source."""
        group = clip.rpartition("/")[0] or clip
        if info is None or "source" not in info:
            return cls(clip, group, group, None, seconds)
        return cls(clip, info["source"], group, info.get("start", 0.0), seconds)


@dataclass(frozen=True)
class Exclusion:
    """Reason for which a good clip is in no list."""

    cause: str
    reason: str


@dataclass(frozen=True)
class SplitAssignment:
    """Split of each clip."""

    splits: dict[str, list[str]]  # sorted clips of train, val and test
    by: str  # unit that was held out: "group", "video" or "time"
    excluded: dict[str, Exclusion] = field(default_factory=dict)  # clips in no list

    def split_by_clip(self) -> dict[str, str]:
        """Return the split of every listed clip; "train" where train and val are the same."""
        return {clip: name for name in reversed(SPLITS) for clip in self.splits[name]}


def assign_splits(
    entries: Iterable[SplitEntry], settings: SplitSettings, duplicates: Iterable[Sequence[str]] = ()
) -> SplitAssignment:
    """Assign clips to train, val and test.

    duplicates: groups of clips of one recording (`duplicates.group_duplicates`), which are never divided.
    Where there is too little data to hold out any, train and val are the same; see `is_held_out`.
    """
    entries = sorted(entries, key=lambda entry: entry.clip)
    duplicates = [list(group) for group in duplicates]
    min_units = {"auto": {"group": MIN_GROUPS, "video": 2}, "group": {"group": 2, "video": 2}, "video": {"video": 2}}
    for unit, minimum in min_units.get(settings.by, {}).items():
        units = _group_units(entries, unit, duplicates)
        if len(units) >= minimum:
            return SplitAssignment(_list_splits(_assign_units(units, settings)), unit)
    return _assign_by_time(entries, settings, duplicates)


def _list_splits(split_by_clip: dict[str, str]) -> dict[str, list[str]]:
    return {name: sorted(clip for clip, split in split_by_clip.items() if split == name) for name in SPLITS}


def _group_units(
    entries: Sequence[SplitEntry], unit: str, duplicates: Sequence[Sequence[str]]
) -> dict[str, list[SplitEntry]]:
    """Return the clips of each folder or video, merged where they share duplicates."""
    key = {entry.clip: entry.group if unit == "group" else entry.source for entry in entries}
    parent = {name: name for name in key.values()}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    for group in duplicates:
        names = sorted({root(key[clip]) for clip in group if clip in key})
        for name in names[1:]:
            parent[root(name)] = root(names[0])
    units: dict[str, list[SplitEntry]] = {}
    for entry in entries:
        units.setdefault(root(key[entry.clip]), []).append(entry)
    return units


def _assign_units(units: dict[str, list[SplitEntry]], settings: SplitSettings) -> dict[str, str]:
    """Return the split of each clip, assigning unit by unit in an order given by the seed."""
    seconds = {name: max(sum(entry.seconds for entry in unit), 1 / FPS) for name, unit in units.items()}
    total = sum(seconds.values())
    order = sorted(units, key=lambda name: hashlib.sha256(f"{settings.seed}:{name}".encode()).digest())
    split_by_unit = dict.fromkeys(order, "train")
    for split, fraction in (("val", settings.val), ("test", settings.test)):
        remaining = [name for name in order if split_by_unit[name] == "train"]
        assigned, target = 0.0, fraction * total
        for name in remaining[:-1]:  # The last one stays in train.
            if assigned + seconds[name] / 2 <= target:
                split_by_unit[name] = split
                assigned += seconds[name]
        if split == "val" and not assigned:
            split_by_unit[min(remaining, key=lambda name: seconds[name])] = split
    return {entry.clip: split_by_unit[name] for name, unit in units.items() for entry in unit}


def _assign_by_time(
    entries: Sequence[SplitEntry], settings: SplitSettings, duplicates: Sequence[Sequence[str]]
) -> SplitAssignment:
    """Hold out the end of every source: the last fraction for validation, the one before for the test."""
    split_by_clip: dict[str, str] = {}
    excluded: dict[str, Exclusion] = {}
    gap = settings.gap_seconds
    for source, source_entries in _order_by_time(entries).items():
        remaining, total = source_entries, sum(entry.seconds for entry in source_entries)
        for split, fraction in (("val", settings.val), ("test", settings.test)):
            if split == "test" and not fraction:
                continue
            head, tail = _divide(remaining, fraction * total, gap)
            if split == "test" and sum(entry.seconds for entry in tail) > 2 * fraction * total:
                head, tail = remaining, []  # An empty test split is nearer to the fraction.
            split_by_clip |= {entry.clip: split for entry in tail}
            in_gap = {entry.clip for entry in remaining} - {entry.clip for entry in [*head, *tail]}
            reason = f"lies within {gap:g} s of held-out clips of {source}; gap_seconds changes that"
            excluded |= dict.fromkeys(sorted(in_gap), Exclusion("gap before held-out clips", reason))
            remaining = head
        split_by_clip |= {entry.clip: "train" for entry in remaining}
    for group in duplicates:
        excluded |= _exclude_leaks(group, split_by_clip)
    splits = _list_splits({clip: split for clip, split in split_by_clip.items() if clip not in excluded})
    if not splits["train"] or not splits["val"]:
        clips = sorted(entry.clip for entry in entries)
        return SplitAssignment({"train": clips, "val": clips, "test": []}, "time")
    return SplitAssignment(splits, "time", excluded)


def _order_by_time(entries: Iterable[SplitEntry]) -> dict[str, list[SplitEntry]]:
    """Return the entries of each source in time order; unknown times follow the order of the names, end to end."""
    sources: dict[str, list[SplitEntry]] = {}
    for entry in entries:
        sources.setdefault(entry.source, []).append(entry)
    for source, source_entries in sources.items():
        if any(entry.start is None for entry in source_entries):
            time = 0.0
            for index, entry in enumerate(source_entries):
                source_entries[index] = replace(entry, start=time)
                time += entry.seconds
        sources[source] = sorted(source_entries, key=_start)
    return sources


def _start(entry: SplitEntry) -> float:
    assert entry.start is not None  # set by `_order_by_time`
    return entry.start


def _divide(entries: list[SplitEntry], target: float, gap: float) -> tuple[list[SplitEntry], list[SplitEntry]]:
    """Divide a source into head and tail, a gap apart, with the tail nearest to the target seconds.

    entries: in time order. The head is the whole source if no division leaves clips on both sides.
    """
    first_end = min(_start(entry) + entry.seconds for entry in entries)
    best, smallest_error, tail_seconds = None, float("inf"), 0.0
    for index in range(len(entries) - 1, -1, -1):
        begin = _start(entries[index])
        tail_seconds += entries[index].seconds
        if index and _start(entries[index - 1]) == begin:
            continue  # Simultaneous faces stay together.
        if first_end + gap <= begin and abs(tail_seconds - target) < smallest_error:
            best, smallest_error = begin, abs(tail_seconds - target)
    if best is None:
        return entries, []
    head = [entry for entry in entries if _start(entry) + entry.seconds + gap <= best]
    return head, [entry for entry in entries if _start(entry) >= best]


def _exclude_leaks(group: Sequence[str], split_by_clip: dict[str, str]) -> dict[str, Exclusion]:
    """Exclude the clips of a group of duplicates that are not in its most protected split."""
    for split in ("val", "test"):
        held_out = [clip for clip in group if split_by_clip.get(clip) == split]
        if held_out:
            reason = f"shows the same recording as {min(held_out)}, which is held out"
            exclusion = Exclusion("copy of a held-out clip", reason)
            return {clip: exclusion for clip in group if split_by_clip.get(clip) not in (split, None)}
    return {}


def is_held_out(splits: dict[str, list[str]]) -> bool:
    """Return whether the validation clips are not in train."""
    return bool(splits["val"]) and not set(splits["val"]) & set(splits["train"])
