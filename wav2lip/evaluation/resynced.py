"""ReSyncED's videos as the paper's script for it shows them to the generator.

Frames whose short side exceeds 720 pixels are scaled down to that. The script then tries to divide the size by 2 to 15
towards a face of 180 pixels, as long as the short side stays 480 or more: after the first step no division does, so
there is nothing more to do. A video too short for synthetic speech is lengthened by showing frames twice, evenly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from wav2lip.evaluation.lists import Pair
from wav2lip.evaluation.settings import digest
from wav2lip.media import Encoding, VideoWriter, probe, read_frames
from wav2lip.windows import FPS

LARGEST = 720  # pixels of the short side
ENCODING = Encoding(crf=5)  # hardly any loss: the generator is to see the video, not its copy


def made_ready(pairs: Sequence[Pair], folder: Path, lengthen: bool) -> list[Pair]:
    """The pairs with copies of those videos that have to be other ones, written into a folder; those there stay.

    lengthen: as for synthetic speech (tts).
    Raises: InputError if a file cannot be read.
    """
    return [replace(pair, shown=_ready(pair, folder, lengthen)) for pair in pairs]


def _ready(pair: Pair, folder: Path, lengthen: bool) -> Path:
    media, stream = probe(pair.face), probe(pair.face).require_video()
    wanted = math.ceil(probe(pair.audio).seconds * FPS) if lengthen else 0
    if media.seconds * FPS >= wanted and min(stream.height, stream.width) <= LARGEST:
        return pair.face
    copy = folder / f"{digest(pair.face)}-{wanted}.mp4"
    if not copy.is_file():
        frames = sum(1 for _ in read_frames(pair.face, FPS))
        with VideoWriter(copy, FPS, encoding=ENCODING) as video:
            for frame in lengthened(map(scaled, read_frames(pair.face, FPS)), frames, max(frames, wanted)):
                video.write(frame)
    return copy


def scaled(frame: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 with a short side of at most 720 pixels."""
    height, width = frame.shape[:2]
    short = min(height, width)
    if short <= LARGEST:
        return frame
    return np.asarray(cv2.resize(frame, (width * LARGEST // short, height * LARGEST // short)), np.uint8)


def lengthened(frames: Iterator[np.ndarray], count: int, wanted: int) -> Iterator[np.ndarray]:
    """`wanted` frames out of `count` fewer ones, each as often as the others or once more."""
    given = 0
    for number, frame in enumerate(frames):
        while given * count < (number + 1) * wanted and given < wanted:
            yield frame
            given += 1
