"""Clips of a data set as videos that a generator can be given: their face crops, with their sound."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from wav2lip.audio import load_wav
from wav2lip.clips import AUDIO, Clip, read_filelist
from wav2lip.errors import InputError
from wav2lip.evaluation.records import write_json
from wav2lip.evaluation.settings import digest
from wav2lip.evaluation.systems import RealClip
from wav2lip.lse import SAMPLES_PER_FRAME
from wav2lip.media import read_picture
from wav2lip.sample import write_clip, write_wav

SHORTEST = 50  # frames: 2 s; a shorter run has hardly a curve


def real_clips(
    data_root: Path, split: str, folder: Path, limit: int | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[RealClip]:  # fmt: skip
    """The clips of filelists/SPLIT.txt as videos below a folder; what is there already stays.

    Raises: InputError if there is no such list, or a clip cannot be used.
    """
    names = list(dict.fromkeys(read_filelist(data_root / "filelists" / f"{split}.txt", data_root)))[:limit]
    found = []
    for number, name in enumerate(names):
        video = folder / f"{name}.mp4"
        write_real(Clip.open(data_root / name), video)
        found.append(RealClip(name, video, video.with_suffix(".wav")))
        progress(number + 1, len(names))
    return found


def write_real(clip: Clip, video: Path) -> None:
    """The longest run of a clip's frames, squares of the first one's size, with the sound that belongs to it.

    Raises: InputError if the clip is damaged, or no run is of two seconds.
    """
    stamps = [(clip.path / f"{frame}.jpg").stat().st_mtime_ns for frame in clip.frames]
    mark = {"sound": digest(clip.path / AUDIO), "frames": clip.frames.tolist(), "stamps": stamps}
    noted = video.with_suffix(".json")
    if video.is_file() and noted.is_file() and json.loads(noted.read_text(encoding="utf-8")) == mark:
        return
    run = longest_run(clip.frames)
    if len(run) < SHORTEST:
        raise InputError(f"{clip.path}: its longest run of frames is {len(run)}, of {SHORTEST} needed; leave it out")
    wav = load_wav(clip.path / AUDIO)[int(run[0]) * SAMPLES_PER_FRAME : int(run[-1] + 1) * SAMPLES_PER_FRAME]
    write_clip(video, _frames(clip, run), wav)
    write_wav(video.with_suffix(".wav"), wav)
    write_json(noted, mark)


def longest_run(frames: np.ndarray) -> np.ndarray:
    """The longest stretch of consecutive numbers, the first of equal ones; frames: (N,) ascending."""
    runs = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return max(runs, key=len)


def _frames(clip: Clip, run: np.ndarray) -> Iterator[np.ndarray]:
    side = 0
    for frame in run.tolist():
        side = side or _side(clip, frame)
        yield clip.read(frame, side)


def _side(clip: Clip, frame: int) -> int:
    """The larger side of a crop, rounded up to an even number, which H.264 needs."""
    picture = read_picture(clip.path / f"{frame}.jpg")
    return (max(picture.shape[:2]) + 1) // 2 * 2
