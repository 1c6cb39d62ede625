"""Small images of clips, embedded in the page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wav2lip.audio.windows import FPS
from wav2lip.dataset.clip import numbered_frames, read_crop
from wav2lip.errors import InputError
from wav2lip.reporting.html import jpeg_image

JPEG_QUALITY = 72


def strip(root: Path, clips: Sequence[dict[str, Any]], count: int, size: int) -> str:
    """Return `count` crops of `size` pixels as HTML, spread over clips of one input; missing files are skipped.

    clips: entries of dataset.json in order of time.
    """
    chosen = _spread(clips, count)
    names = {clip: _frame_names(root / clip) for clip in {clip["clip"] for clip, _ in chosen}}
    images = [_image(root, clip, frame, names[clip["clip"]].get(frame), size) for clip, frame in chosen]
    return f'<div class="strip">{"".join(images)}</div>' if any(images) else ""


def _spread(clips: Sequence[dict[str, Any]], count: int) -> list[tuple[dict[str, Any], int]]:
    """Return clips and frame numbers at the centers of `count` equal segments of all their frames."""
    ends = np.cumsum([clip["frames"] for clip in clips])
    if not len(ends) or not ends[-1]:
        return []
    chosen = sorted({int((segment + 0.5) / count * ends[-1]) for segment in range(count)})
    numbers = [int(np.searchsorted(ends, frame, side="right")) for frame in chosen]
    return [(clips[n], frame - int(ends[n] - clips[n]["frames"])) for n, frame in zip(numbers, chosen, strict=True)]


def _frame_names(folder: Path) -> dict[int, str]:
    """Return the file names of a clip's frames by number."""
    try:
        return numbered_frames(folder, os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError, InputError):  # a data set that was moved
        return {}


def _image(root: Path, clip: dict[str, Any], frame: int, name: str | None, size: int) -> str:
    if name is None:
        return ""  # a frame without a face
    try:
        image = read_crop(root / clip["clip"] / name, cv2.IMREAD_COLOR)
    except InputError:  # a corrupt image
        return ""
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    time = f"{(clip['start'] or 0) + frame / FPS:.1f} s"
    attributes = f'width="{size}" height="{size}" loading="lazy" title="{time}"'
    return jpeg_image(data, f"{clip['clip']} at {time}", attributes)
