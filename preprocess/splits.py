"""Which clips are trained on, and which are held out."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from wav2lip.errors import InputError

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
BY = ("auto", "group", "video")
FEWEST_GROUPS = 3  # groups from which on a whole group can be held out without taking too much


def check_shares(val: float, test: float) -> None:
    """Raises: InputError if the shares are impossible."""
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        raise InputError(f"val={val}, test={test}: leave nothing to train on; give shares that add up to less than 1")


def split(
    clips: Iterable[str], val: float = 0.05, test: float = 0.05, seed: int = 0, by: str = "auto"
) -> dict[str, list[str]]:
    """Deal clips out to train, val and test, all clips of a source to the same.

    clips: GROUP/CLIP. val, test: shares of the sources; val gets one at least if there are two or more.
    seed: another one holds out other sources. The order of a source depends on its name and the seed alone.
    by: what a source is. "group": the folder, such as all videos of one speaker; "video": each video by itself;
        "auto": the folder if there are three or more.
    Returns: sorted clips of each split. With a single source, train and val are the same: nothing is held out.
    """
    clips = sorted(clips)
    if by not in BY:
        raise InputError(f"split_by={by}: is none of {', '.join(BY)}; choose one of these")
    sources = _sources(clips, by)
    order = sorted(set(sources.values()), key=lambda source: hashlib.sha256(f"{seed}:{source}".encode()).digest())
    if len(order) == 1:
        return {"train": clips, "val": clips, "test": []}
    for_val = min(len(order) - 1, max(1, int(val * len(order) + 0.5)))
    for_test = min(len(order) - 1 - for_val, int(test * len(order) + 0.5))
    split_of = {source: "train" for source in order}
    split_of |= dict.fromkeys(order[:for_val], "val")
    split_of |= dict.fromkeys(order[len(order) - for_test :], "test")
    return {name: [clip for clip in clips if split_of[sources[clip]] == name] for name in SPLITS}


def _sources(clips: list[str], by: str) -> dict[str, str]:
    groups = {clip: clip.split("/")[0] for clip in clips}
    if by == "group" or (by == "auto" and len(set(groups.values())) >= FEWEST_GROUPS):
        return groups
    return {clip: clip for clip in clips}


def is_held_out(splits: dict[str, list[str]]) -> bool:
    """Whether validation is on clips that are not trained on."""
    return bool(splits["val"]) and not set(splits["val"]) & set(splits["train"])


def write_filelists(folder: Path, splits: dict[str, list[str]]) -> None:
    """Write train.txt, val.txt and test.txt, one clip a line; a list that is right already is not touched."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, clips in splits.items():
        replace_text(folder / f"{name}.txt", "".join(f"{clip}\n" for clip in clips))
    if not is_held_out(splits):
        log.warning(
            "one source only: %s names what is trained on, so validation says nothing about other videos; "
            "add a second video, or cut this one in two files", folder / "val.txt"
        )  # fmt: skip


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, and only if that changes it."""
    if path.exists() and path.read_bytes() == text.encode():
        return
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(text.encode())
    os.replace(partial, path)
