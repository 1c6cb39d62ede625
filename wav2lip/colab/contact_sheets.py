"""Contact sheets: images of several frames or face crops side by side."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from wav2lip.colab.display import EXCERPT_SECONDS
from wav2lip.dataset.clip import AUDIO, Clip, read_crop
from wav2lip.demo.report import draw_strip
from wav2lip.errors import InputError
from wav2lip.media import probe, read_frames

log = logging.getLogger(__name__)

COLUMNS = 8
MAX_TILES = 2 * COLUMNS
TILE_SIZE = 112  # pixels
STRIP_FRAMES = 8  # frames per video in a comparison strip


def draw_frame_sheet(files: Sequence[Path], sheet: Path) -> Path:
    """Draw one frame of each of the first 16 readable videos; preprocessing reports the unreadable ones.

    Raises: InputError if no file is a video.
    """
    frames = list(islice((frame for video in files for frame in _read_early_frame(video)), MAX_TILES))
    if not frames:
        raise InputError("no file is a readable video; choose others")
    return draw_sheet(frames, sheet)


def draw_crop_sheet(data_root: Path, sheet: Path) -> Path:
    """Draw the middle face crop of up to 16 clips spread over a data set."""
    clips = sorted(path.parent for path in data_root.glob(f"*/*/{AUDIO}"))
    if not clips:
        raise InputError(f"{data_root}: has no clips; the report above gives the reasons")
    indices = sorted(set(np.linspace(0, len(clips) - 1, MAX_TILES).astype(int).tolist()))
    return draw_sheet((_read_middle_crop(clips[index]) for index in indices), sheet)


def draw_comparison(videos: Sequence[Path], strip: Path) -> Path:
    """Draw frames of videos at the same times, a row for each video; each video must have three frames."""
    media = [probe(video) for video in videos]
    frames = min(int(min(m.seconds, EXCERPT_SECONDS) * m.require_video().fps) for m in media)
    strip.parent.mkdir(parents=True, exist_ok=True)
    draw_strip(strip, videos, every=max(1, frames // (STRIP_FRAMES + 2)), moments=STRIP_FRAMES)
    return strip


def draw_sheet(images: Iterable[np.ndarray], sheet: Path) -> Path:
    """Draw images (H, W, 3) uint8 RGB of any size as square tiles in rows of 8."""
    tiles = [_square_tile(image) for image in images]
    columns = min(COLUMNS, len(tiles))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[n : n + columns]) for n in range(0, len(tiles), columns)]
    sheet.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(rows)).save(sheet)
    return sheet


def _read_early_frame(video: Path) -> list[np.ndarray]:
    """Return the eleventh frame or the last one before it, as first frames are often black; empty if unreadable."""
    try:
        return list(islice(read_frames(video), 11))[-1:]
    except InputError as error:
        log.info("%s", error)
        return []


def _read_middle_crop(clip: Path) -> np.ndarray:
    crops = Clip.open(clip)
    crop = read_crop(crops.frame_path(crops.frames[len(crops.frames) // 2]), cv2.IMREAD_COLOR_RGB)
    # The networks resize the whole crop to a square and do not cut it.
    return cv2.resize(crop, (TILE_SIZE, TILE_SIZE), interpolation=cv2.INTER_AREA)


def _square_tile(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    size = min(height, width)
    top, left = (height - size) // 4, (width - size) // 2  # faces are in the upper half
    return cv2.resize(image[top : top + size, left : left + size], (TILE_SIZE,) * 2, interpolation=cv2.INTER_AREA)
