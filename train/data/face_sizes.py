"""Whether the faces of a data set are as large as the pictures that are trained on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from wav2lip.clips import Clip
from wav2lip.errors import InputError

log = logging.getLogger(__name__)

LOOKED_AT = 100  # clips at most, from all over the data set


def warn_if_enlarged(clips: Sequence[str], size: int) -> None:
    """One line in the log if most clips' faces are smaller than the pictures made of them.

    clips: their folders; those that are not there, as beside a pack that was moved, are passed over.
    size: pixels that pictures are resized to.
    """
    sides = [side for clip in clips[:: -(-len(clips) // LOOKED_AT)] if (side := _side(Path(clip))) is not None]
    smaller = sum(side < size for side in sides)
    if 2 * smaller > len(sides):
        log.warning(
            "%d of %d clips looked at have faces smaller than the %d pixels trained on (median %d), and enlarged ones "
            "teach blur; choose a model of a smaller resolution, or keep such clips out of the file lists",
            smaller, len(sides), size, sorted(sides)[len(sides) // 2],
        )  # fmt: skip


def _side(clip: Path) -> int | None:
    """Pixels of the longer side of a clip's middle face crop, from its head; None if it cannot be read."""
    try:
        frames = Clip.open(clip).frames
        with Image.open(clip / f"{frames[len(frames) // 2]}.jpg") as picture:
            return max(picture.size)
    except (InputError, OSError):  # what is damaged, the loader names when it comes to it
        return None
