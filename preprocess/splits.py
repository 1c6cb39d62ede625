"""Which clips are trained on, and which are held out, so that nothing that is held out was seen in training.

A source goes to one split as a whole; sources that share copies of a recording go together. Where there is one source
only, its end is held out, with a gap before it that is in no list.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wav2lip.errors import InputError

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
BY = ("auto", "group", "video", "time")
FEWEST_GROUPS = 3  # groups from which on a whole group can be held out without taking too much
GAP_SECONDS = 2.0  # between what is trained on and what is held out of one source


@dataclass(frozen=True)
class Entry:
    """A clip as far as it matters for where it goes."""

    clip: str  # GROUP/CLIP
    source: str  # the video it is from
    group: str  # the folder of it and its like, such as all videos of one speaker
    start: float | None  # seconds into the source; None: unknown
    seconds: float

    @classmethod
    def of(cls, clip: str, seconds: float, info: dict[str, Any] | None) -> Entry:
        """From a clip's clip.json. Without one, as in foreign data, the folder that the clip is in is its source."""
        group = clip.rpartition("/")[0] or clip
        if info is None or "source" not in info:
            return cls(clip, group, group, None, seconds)
        return cls(clip, info["source"], group, info.get("start", 0.0), seconds)


@dataclass(frozen=True)
class Left:
    """Why a clip is in no list although nothing is wrong with it."""

    cause: str  # the same for all such clips
    reason: str


@dataclass(frozen=True)
class Dealt:
    """Where each clip went."""

    splits: dict[str, list[str]]  # sorted clips of train, val and test
    by: str  # "group", "video" or "time": what was held out
    left: dict[str, Left] = field(default_factory=dict)  # clips in no list

    def split_of(self) -> dict[str, str]:
        """The split of every clip in one; "train" where validation is on what is trained on."""
        return {clip: name for name in reversed(SPLITS) for clip in self.splits[name]}


def check_shares(val: float, test: float) -> None:
    """Raises: InputError if the shares are impossible."""
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        raise InputError(f"val={val}, test={test}: leave nothing to train on; give shares that add up to less than 1")


def deal(
    entries: Iterable[Entry], *, val: float = 0.05, test: float = 0.05, seed: int = 0, by: str = "auto",
    gap_seconds: float = GAP_SECONDS, copies: Iterable[Sequence[str]] = (),
) -> Dealt:  # fmt: skip
    """Deal clips out to train, val and test.

    val, test: shares of the seconds, to the nearest source; val gets one source at least.
    seed: another one holds out other sources. The order of a source depends on its name and the seed alone.
    by: what is held out. "group": whole folders; "video": whole videos; "time": the end of every video;
        "auto": folders if there are three or more, else videos, else the end of the only one.
    gap_seconds: what lies nearer to a held-out clip of its source is in no list.
    copies: clips that show the same recording (`duplicates.groups`); these never end up in different splits.
    Where too little is there to hold anything out, train and val are the same; `is_held_out` tells.
    Raises: InputError if the shares, the gap or `by` are impossible.
    """
    check_shares(val, test)
    if by not in BY:
        raise InputError(f"split_by={by}: is none of {', '.join(BY)}; choose one of these")
    if gap_seconds < 0:
        raise InputError(f"gap_seconds={gap_seconds}: is below 0; give a time in seconds, 0 for none")
    entries = sorted(entries, key=lambda entry: entry.clip)
    copies = [list(group) for group in copies]
    fewest = {"auto": {"group": FEWEST_GROUPS, "video": 2}, "group": {"group": 2, "video": 2}, "video": {"video": 2}}
    for kind, enough in fewest.get(by, {}).items():
        units = _units(entries, kind, copies)
        if len(units) >= enough:
            return Dealt(_listed(_whole(units, val, test, seed)), kind)
    return _by_time(entries, val, test, gap_seconds, copies)


def _listed(split_of: dict[str, str]) -> dict[str, list[str]]:
    return {name: sorted(clip for clip, split in split_of.items() if split == name) for name in SPLITS}


def _units(entries: Sequence[Entry], kind: str, copies: Sequence[Sequence[str]]) -> dict[str, list[Entry]]:
    """What goes to one split as a whole: the clips of a folder or a video, and of those that share copies with it."""
    key = {entry.clip: entry.group if kind == "group" else entry.source for entry in entries}
    parent = {name: name for name in key.values()}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    for group in copies:
        names = sorted({root(key[clip]) for clip in group if clip in key})
        for name in names[1:]:
            parent[root(name)] = root(names[0])
    units: dict[str, list[Entry]] = {}
    for entry in entries:
        units.setdefault(root(key[entry.clip]), []).append(entry)
    return units


def _whole(units: dict[str, list[Entry]], val: float, test: float, seed: int) -> dict[str, str]:
    """Split of each clip, unit by unit in the order that the seed gives."""
    seconds = {name: max(sum(entry.seconds for entry in unit), 1 / 25) for name, unit in units.items()}
    total = sum(seconds.values())
    order = sorted(units, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    chosen = dict.fromkeys(order, "train")
    for split, share in (("val", val), ("test", test)):
        rest = [name for name in order if chosen[name] == "train"]
        taken, wanted = 0.0, share * total
        for name in rest[:-1]:  # one stays to train on
            if taken + seconds[name] / 2 <= wanted:
                chosen[name] = split
                taken += seconds[name]
        if split == "val" and not taken:
            chosen[min(rest, key=lambda name: seconds[name])] = split
    return {entry.clip: chosen[name] for name, unit in units.items() for entry in unit}


def _by_time(entries: Sequence[Entry], val: float, test: float, gap: float, copies: Sequence[Sequence[str]]) -> Dealt:
    """Hold out the end of every source: its last share to validate on, the one before to test on."""
    split_of: dict[str, str] = {}
    left: dict[str, Left] = {}
    for source, of_source in _timed(entries).items():
        rest, total = of_source, sum(entry.seconds for entry in of_source)
        for split, share in (("val", val), ("test", test)):
            if split == "test" and not share:
                continue
            head, tail = _cut(rest, share * total, gap)
            if split == "test" and sum(entry.seconds for entry in tail) > 2 * share * total:
                head, tail = rest, []  # so little is wanted that nothing is nearer
            split_of |= {entry.clip: split for entry in tail}
            inside = {entry.clip for entry in rest} - {entry.clip for entry in [*head, *tail]}
            reason = f"lies within {gap:g} s of what is held out of {source}; gap_seconds changes that"
            left |= dict.fromkeys(sorted(inside), Left("gap before held-out clips", reason))
            rest = head
        split_of |= {entry.clip: "train" for entry in rest}
    for group in copies:
        left |= _shadowed(group, split_of)
    splits = _listed({clip: split for clip, split in split_of.items() if clip not in left})
    if not splits["train"] or not splits["val"]:
        clips = sorted(entry.clip for entry in entries)
        return Dealt({"train": clips, "val": clips, "test": []}, "time")
    return Dealt(splits, "time", left)


def _timed(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Entries of each source in order of time; where times are not known, end to end in the order of their names."""
    sources: dict[str, list[Entry]] = {}
    for entry in entries:
        sources.setdefault(entry.source, []).append(entry)
    for source, of_source in sources.items():
        if any(entry.start is None for entry in of_source):
            now = 0.0
            for number, entry in enumerate(of_source):
                of_source[number] = replace(entry, start=now)
                now += entry.seconds
        sources[source] = sorted(of_source, key=_start)
    return sources


def _start(entry: Entry) -> float:
    assert entry.start is not None  # `_timed` saw to it
    return entry.start


def _cut(entries: list[Entry], wanted: float, gap: float) -> tuple[list[Entry], list[Entry]]:
    """Head and tail of a source, a gap apart, so that the tail comes nearest to the seconds wanted.

    entries: in order of time. All of it is the head if no cut leaves something on both sides.
    """
    first_end = min(_start(entry) + entry.seconds for entry in entries)
    best, nearest, after = None, float("inf"), 0.0
    for number in range(len(entries) - 1, -1, -1):
        begin = _start(entries[number])
        after += entries[number].seconds
        if number and _start(entries[number - 1]) == begin:
            continue  # of several faces at a time, all or none
        if first_end + gap <= begin and abs(after - wanted) < nearest:
            best, nearest = begin, abs(after - wanted)
    if best is None:
        return entries, []
    head = [entry for entry in entries if _start(entry) + entry.seconds + gap <= best]
    return head, [entry for entry in entries if _start(entry) >= best]


def _shadowed(group: Sequence[str], split_of: dict[str, str]) -> dict[str, Left]:
    """Clips of a group of copies that are not held out as its most protected one is."""
    for split in ("val", "test"):
        held = [clip for clip in group if split_of.get(clip) == split]
        if held:
            left = Left("copy of a held-out clip", f"shows the same recording as {min(held)}, which is held out")
            return {clip: left for clip in group if split_of.get(clip) not in (split, None)}
    return {}


def is_held_out(splits: dict[str, list[str]]) -> bool:
    """Whether validation is on clips that are not trained on."""
    return bool(splits["val"]) and not set(splits["val"]) & set(splits["train"])


def write_filelists(folder: Path, splits: dict[str, list[str]]) -> None:
    """Write train.txt, val.txt and test.txt, one clip a line; a list that is right already is not touched.

    With no clip at all there are no lists: older ones would name what is no good any more.
    """
    if not any(splits.values()):
        for name in splits:
            (folder / f"{name}.txt").unlink(missing_ok=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, clips in splits.items():
        replace_text(folder / f"{name}.txt", "".join(f"{clip}\n" for clip in clips))
    if not is_held_out(splits):
        log.warning(
            "one source only, and too short to hold its end out: %s names what is trained on, so validation says "
            "nothing about other videos; add a second video", folder / "val.txt"
        )  # fmt: skip


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, and only if that changes it."""
    if path.exists() and path.read_bytes() == text.encode():
        return
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(text.encode())
    os.replace(partial, path)
