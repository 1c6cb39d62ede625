"""Inputs of the clip stages: the clips of a data root with their origin and sync state."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from preprocess.curation.clip_origin import ClipOrigin, read_origin
from preprocess.sync.apply_offset import ClipState, read_state
from wav2lip.dataset.clip import AUDIO
from wav2lip.dataset.input_folder import is_ignored
from wav2lip.errors import InputError
from wav2lip.execution.interface import Crash, Executor, Progress, Work, WorkerContext
from wav2lip.execution.manifest import FAILED, REJECTED, Record

log = logging.getLogger(__name__)

BAR_FORMAT = "{desc:9} {bar}| {n_fmt} of {total_fmt} [{elapsed}, {remaining} left]"

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class ClipInput:
    """A clip as the clip stages work on it."""

    origin: ClipOrigin
    state: ClipState
    fingerprint: str = ""  # hash of the clip, the expert and the settings of the sync stage
    fold: int = 0  # index of the bootstrapped expert that was not fitted on this clip

    @property
    def clip(self) -> str:
        """GROUP/CLIP."""
        return self.origin.clip


@dataclass(frozen=True)
class InspectClip:
    """Read the origin and the state of a clip."""

    root: Path

    def __call__(self, clip: str, context: WorkerContext, progress: Progress) -> ClipInput | str:
        """Return the input, or an error message for an unreadable clip."""
        try:
            return ClipInput(read_origin(self.root, clip), read_state(self.root, clip))
        except InputError as error:
            return str(error)


def find_clips(root: Path) -> list[str]:
    """Return the ids of all clips under a data root, sorted."""
    paths = (path.parent.relative_to(root) for path in root.glob(f"*/*/{AUDIO}"))
    return sorted(path.as_posix() for path in paths if not any(is_ignored(part) for part in path.parts))


def locate_clips(folder: Path) -> tuple[Path, list[str]]:
    """Return the data root and the clip ids of a folder: a data root, the folder above it, a group, or one clip.

    Without clips at any of these levels, the folder itself and no ids. Another data root than the folder is logged.
    """
    if clips := find_clips(folder):
        return folder, clips
    above = folder.resolve()
    group = [f"{above.name}/{path.parent.name}" for path in sorted(folder.glob(f"*/{AUDIO}"))]
    is_clip = (folder / AUDIO).is_file() and above != above.parent.parent
    below = [path for path in sorted(folder.iterdir()) if path.is_dir() and not is_ignored(path.name)]
    with_clips = [path for path in below if find_clips(path)]
    if is_clip:
        root, clips = above.parent.parent, [f"{above.parent.name}/{above.name}"]
    elif group:
        root, clips = above.parent, [clip for clip in group if not is_ignored(clip.rpartition("/")[2])]
    elif with_clips:
        root, clips = with_clips[0], find_clips(with_clips[0])
        if len(with_clips) > 1:
            names = ", ".join(path.name for path in with_clips)
            raise InputError(f"{folder}: {len(with_clips)} folders in it are data sets ({names}); give one of them")
    else:
        return folder, []
    log.info("%s: its clips are those of the data root %s", folder, root)
    return root, clips


def inspect_clips(
    root: Path, clips: Sequence[str], executor: Executor, stage: str
) -> tuple[dict[str, ClipInput], dict[str, Record]]:
    """Return the inputs by clip id, and records of the given stage for unreadable clips."""
    inputs: dict[str, ClipInput] = {}
    unreadable: dict[str, Record] = {}
    for clip, result in map_with_bar(executor, InspectClip(root), clips, "clips"):
        if isinstance(result, ClipInput):
            inputs[clip] = result
        elif isinstance(result, Crash):
            unreadable[clip] = Record(stage, clip, "", FAILED, result.cause, result.reason)
        else:
            unreadable[clip] = Record(stage, clip, "", REJECTED, "unreadable", result)
    return inputs, unreadable


def map_with_bar(
    executor: Executor, work: Work[T, R], inputs: Sequence[T], description: str
) -> Iterator[tuple[T, R | Crash]]:
    """Map work over inputs with a progress bar."""
    with tqdm(total=len(inputs), desc=description, disable=None if inputs else True, bar_format=BAR_FORMAT) as bar:
        for result in executor.map(work, inputs):
            bar.update()
            yield result
