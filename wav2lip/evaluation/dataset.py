"""Input videos for the generator: clips of a data set, and ReSyncED's videos prepared as by the paper's script.

ReSyncED's frames whose shorter side exceeds 720 pixels are downscaled to that. The script would then divide the size
by 2 to 15 if the shorter side stayed at 480 pixels or more, which is impossible after the first step. A video too
short for synthetic speech is lengthened by repeating frames evenly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from wav2lip.audio import load_wav
from wav2lip.audio.windows import FPS, SAMPLES_PER_FRAME
from wav2lip.dataset.clip import AUDIO, Clip
from wav2lip.dataset.filelist import read_filelist
from wav2lip.errors import InputError
from wav2lip.evaluation.cache import write_json
from wav2lip.evaluation.protocols import Pair
from wav2lip.evaluation.settings import short_hash
from wav2lip.media import Encoding, VideoWriter, probe, read_frames, read_image
from wav2lip.synthetic import encode_video, write_wav

MIN_RUN_FRAMES = 50  # 2 s; a shorter run has hardly any complete window
MAX_SHORT_SIDE = 720  # pixels
ENCODING = Encoding(crf=5)  # nearly lossless, because it is the generator's input


@dataclass(frozen=True)
class RealClip:
    """A clip of a data set as a video of faces."""

    clip: str
    video: Path
    audio: Path  # exactly as long as the video, which coded audio is not


def prepare_clips(
    data_root: Path, split: str, folder: Path, limit: int | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[RealClip]:  # fmt: skip
    """Write the clips of filelists/SPLIT.txt as videos below a folder, skipping those that exist.

    Raises: InputError if the list is missing, or a clip cannot be used.
    """
    names = list(dict.fromkeys(read_filelist(data_root / "filelists" / f"{split}.txt", data_root)))[:limit]
    clips = []
    for number, name in enumerate(names):
        video = folder / f"{name}.mp4"
        write_clip_video(Clip.open(data_root / name), video)
        clips.append(RealClip(name, video, video.with_suffix(".wav")))
        progress(number + 1, len(names))
    return clips


def write_clip_video(clip: Clip, video: Path) -> None:
    """Write the longest run of a clip's frames, as squares of the first one's size, with its audio.

    Raises: InputError if the clip is corrupt, or no run lasts two seconds.
    """
    stamps = [clip.frame_path(frame).stat().st_mtime_ns for frame in clip.frames]
    state = {"audio": short_hash(clip.path / AUDIO), "frames": clip.frames.tolist(), "stamps": stamps}
    state_file = video.with_suffix(".json")
    if video.is_file() and state_file.is_file() and json.loads(state_file.read_text(encoding="utf-8")) == state:
        return
    run = longest_run(clip.frames)
    if len(run) < MIN_RUN_FRAMES:
        raise InputError(
            f"{clip.path}: the longest run has {len(run)} frames: must be {MIN_RUN_FRAMES} or more; remove the clip"
        )
    wav = load_wav(clip.path / AUDIO)[int(run[0]) * SAMPLES_PER_FRAME : int(run[-1] + 1) * SAMPLES_PER_FRAME]
    encode_video(video, _read_crops(clip, run), wav)
    write_wav(video.with_suffix(".wav"), wav)
    write_json(state_file, state)


def longest_run(frames: np.ndarray) -> np.ndarray:
    """Return the longest stretch of consecutive numbers, the first one on ties; frames: (N,) ascending."""
    runs = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return max(runs, key=len)


def _read_crops(clip: Clip, run: np.ndarray) -> Iterator[np.ndarray]:
    height, width = read_image(clip.frame_path(run[0])).shape[:2]
    size = (max(height, width) + 1) // 2 * 2  # even, which H.264 requires
    return (clip.read(frame, size) for frame in run.tolist())


def prepare_resynced(pairs: Sequence[Pair], folder: Path, lengthen: bool) -> list[Pair]:
    """Return the pairs with prepared copies of those videos that require it, skipping copies that exist.

    lengthen: repeat frames of videos shorter than their audio, as for synthetic speech.
    Raises: InputError if a file cannot be read.
    """
    return [replace(pair, prepared=_prepare(pair, folder, lengthen)) for pair in pairs]


def _prepare(pair: Pair, folder: Path, lengthen: bool) -> Path:
    media = probe(pair.face)
    stream = media.require_video()
    min_frames = math.ceil(probe(pair.audio).seconds * FPS) if lengthen else 0
    if media.seconds * FPS >= min_frames and min(stream.height, stream.width) <= MAX_SHORT_SIDE:
        return pair.face
    copy = folder / f"{short_hash(pair.face)}-{min_frames}.mp4"
    if not copy.is_file():
        frames = sum(1 for _ in read_frames(pair.face, FPS))
        with VideoWriter(copy, FPS, encoding=ENCODING) as video:
            for frame in repeat_evenly(map(downscale, read_frames(pair.face, FPS)), frames, max(frames, min_frames)):
                video.write(frame)
    return copy


def downscale(frame: np.ndarray) -> np.ndarray:
    """Limit the shorter side of a frame (H, W, 3) uint8 to 720 pixels."""
    height, width = frame.shape[:2]
    short = min(height, width)
    if short <= MAX_SHORT_SIDE:
        return frame
    size = (width * MAX_SHORT_SIDE // short, height * MAX_SHORT_SIDE // short)
    return np.asarray(cv2.resize(frame, size), np.uint8)


def repeat_evenly(frames: Iterator[np.ndarray], count: int, total: int) -> Iterator[np.ndarray]:
    """Yield `total` frames from `count` fewer ones, each as often as the others or once more."""
    done = 0
    for number, frame in enumerate(frames):
        while done * count < (number + 1) * total and done < total:
            yield frame
            done += 1
