"""Pictures of what a step made: sheets of frames and crops, and what a trainer left in TensorBoard's files."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wav2lip.clips import AUDIO
from wav2lip.demo_page import draw_strip
from wav2lip.errors import InputError
from wav2lip.media import probe, read_frames
from wav2lip.notebook.show import EXCERPT_SECONDS

log = logging.getLogger(__name__)

COLUMNS = 8
MOMENTS = 8  # of a strip
SIDE = 112  # pixels of a picture in a sheet
SMALLEST_SHOWN = 384  # pixels: smaller grids are shown larger


@dataclass(frozen=True)
class Logged:
    """The newest picture or words of a training."""

    strip: Path | None  # masked input, reference, generated, truth of held-out windows; None for the expert
    curve: Path | None  # agreement against the shift of the sound
    verdict: list[str]  # whether it learns, in sentences; none before it was judged


def frames_sheet(files: Sequence[Path], file: Path) -> Path:
    """A frame of each of the first 16 files that are videos; what the others are, preprocessing reports.

    Raises: InputError if none is one.
    """
    frames = list(islice((frame for video in files for frame in _early_frame(video)), 2 * COLUMNS))
    if not frames:
        raise InputError("there is no video that can be read; choose others")
    return sheet(frames, file)


def crops_sheet(root: Path, file: Path) -> Path:
    """The middle face crop of clips from all over a data set."""
    clips = sorted(path.parent for path in root.glob(f"*/*/{AUDIO}"))
    if not clips:
        raise InputError(f"{root}: no clip was made of these videos; the report above has the reasons")
    chosen = [clips[n] for n in sorted(set(np.linspace(0, len(clips) - 1, 2 * COLUMNS).astype(int).tolist()))]
    return sheet((_middle(clip) for clip in chosen), file)


def strip(videos: Sequence[Path], file: Path) -> Path:
    """The same moments of videos in rows, spread over what is shown of a large one; the shortest needs three frames."""
    told = [probe(video) for video in videos]
    frames = min(int(min(media.seconds, EXCERPT_SECONDS) * media.require_video().fps) for media in told)
    file.parent.mkdir(parents=True, exist_ok=True)
    draw_strip(file, videos, every=max(1, frames // (MOMENTS + 2)), moments=MOMENTS)
    return file


def sheet(pictures: Iterable[np.ndarray], file: Path) -> Path:
    """Pictures (H, W, 3) uint8 RGB of any size as squares side by side, in rows of 8."""
    squares = [_square(picture) for picture in pictures]
    columns = min(COLUMNS, len(squares))
    squares += [np.full_like(squares[0], 255)] * (-len(squares) % columns)
    rows = [np.hstack(squares[n : n + columns]) for n in range(0, len(squares), columns)]
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(rows)).save(file)
    return file


def logged(folder: Path, to: Path) -> Logged:
    """Take the newest pictures and verdict out of a trainer's checkpoint folder into files in `to`."""
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    tags = events.Tags()
    written = {
        tag: _write_picture(
            events.Images(tag)[-1].encoded_image_string, to / f"{folder.name}_{tag.replace('/', '_')}.png"
        )
        for tag in ("val", "val/curve")
        if tag in tags["images"]
    }
    verdict = "verdict/text_summary"
    said = events.Tensors(verdict)[-1].tensor_proto.string_val[0].decode() if verdict in tags["tensors"] else ""
    sentences = [line for line in said.splitlines() if line.startswith("step ")]  # between them: causes and commands
    return Logged(written.get("val"), written.get("val/curve"), sentences)


def _early_frame(video: Path) -> list[np.ndarray]:
    """The eleventh frame or the last before it, as first ones are often black; none if it is no video."""
    try:
        return list(islice(read_frames(video), 11))[-1:]
    except InputError as error:
        log.info("%s", error)
        return []


def _middle(clip: Path) -> np.ndarray:
    crops = sorted(clip.glob("*.jpg"), key=lambda path: int(path.stem))
    crop = np.asarray(Image.open(crops[len(crops) // 2]).convert("RGB"))
    return cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)  # as the networks see it


def _square(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 4, (width - side) // 2  # faces are in the upper half
    return cv2.resize(picture[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _write_picture(data: bytes, file: Path) -> Path:
    picture = Image.open(io.BytesIO(data))
    factor = max(1, SMALLEST_SHOWN // min(picture.size))
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST).save(file)
    return file
