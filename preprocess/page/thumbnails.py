"""Small pictures of clips as data: URIs, as many as the page can carry."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

JPEG_QUALITY = 72
FPS = 25


def strip(root: Path, clips: Sequence[dict[str, Any]], count: int, side: int) -> str:
    """HTML of `count` crops, spread over clips of one input in order of time; crops that are gone are left out.

    clips: entries of dataset.json. side: pixels.
    """
    frames = [(clip, frame) for clip, frame in _spread(clips, count)]
    pictures = [_picture(root, clip, frame, side) for clip, frame in frames]
    return f'<div class="strip">{"".join(pictures)}</div>' if any(pictures) else ""


def _spread(clips: Sequence[dict[str, Any]], count: int) -> list[tuple[dict[str, Any], int]]:
    """Clips and frame numbers in the middles of `count` equal parts of all their frames."""
    ends = np.cumsum([clip["frames"] for clip in clips])
    if not len(ends) or not ends[-1]:
        return []
    chosen = sorted({int((part + 0.5) / count * ends[-1]) for part in range(count)})
    numbers = [int(np.searchsorted(ends, frame, side="right")) for frame in chosen]
    return [(clips[n], frame - int(ends[n] - clips[n]["frames"])) for n, frame in zip(numbers, chosen, strict=True)]


def _picture(root: Path, clip: dict[str, Any], frame: int, side: int) -> str:
    path = root / clip["clip"] / f"{frame}.jpg"
    if not path.is_file():
        return ""  # a frame without a face, or a data set that was moved
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    if picture is None:
        return ""
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    data = base64.b64encode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
    moment = f"{(clip['start'] or 0) + frame / FPS:.1f} s"
    return (
        f'<img src="data:image/jpeg;base64,{data.decode("ascii")}" width="{side}" height="{side}" loading="lazy" '
        f'alt="{escape(clip["clip"])} at {moment}" title="{moment}">'
    )
