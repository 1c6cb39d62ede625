"""Landmarks that a user gives in a file, for drawn faces and animals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from wav2lip.errors import InputError
from wav2lip.sadtalker.source.landmarks import NUM_POINTS

MAX_BYTES = 100_000


def read_points(path: Path) -> np.ndarray:
    """Read landmarks (68, 2) or (5, 2) float32, x and y in pixels.

    The file has one point per line, two numbers separated by a space, comma or semicolon, or is a JSON list of pairs.
    Five points are the eyes, the nose tip and the mouth corners, left to right in the photo.
    Raises: InputError if the file cannot be read or holds anything else.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"--points={path}: has more than {MAX_BYTES} bytes; give a list of 68 or 5 points")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--points={path}: cannot be read as text ({error}); check the path") from error
    points = _parse(path, text)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) not in NUM_POINTS:
        raise InputError(
            f"--points={path}: has shape {points.shape}; give 68 or 5 lines of x and y in pixels of the photo"
        )
    if not np.isfinite(points).all():
        raise InputError(f"--points={path}: has a value that is not finite; give pixels of the photo")
    return points


def _parse(path: Path, text: str) -> np.ndarray:
    try:
        if text.lstrip().startswith("["):
            return np.asarray(json.loads(text), np.float32)
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        return np.array([[float(word) for word in re.split(r"[\s,;]+", line.strip())] for line in lines], np.float32)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"--points={path}: is not a list of points ({error}); give x and y per line") from error
