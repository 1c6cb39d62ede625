"""Checks of the data before training: face size against resolution, and validation against training clips."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from wav2lip.dataset.clip import AUDIO, Clip
from wav2lip.errors import InputError

log = logging.getLogger(__name__)

MAX_CLIPS = 100  # clips that are read, spread over the data set
MAX_TRAIN_CLIPS = 20_000  # clips whose audio is compared with that of validation clips
EXCERPT_BYTES = 32_000  # a second of 16-bit samples at 16 kHz


def warn_if_upscaled(clips: Sequence[str], size: int) -> None:
    """Log a warning if the faces of most clips are smaller than the resolution of the model.

    clips: folders; missing ones, as beside a pack that was moved, are skipped.
    size: pixels that images are resized to.
    """
    step = -(-len(clips) // MAX_CLIPS)
    sizes = [face_size for clip in clips[::step] if (face_size := _face_size(Path(clip))) is not None]
    smaller = sum(face_size < size for face_size in sizes)
    if 2 * smaller > len(sizes):
        log.warning(
            "%d of %d sampled clips have faces smaller than the model's %d pixels (median %d), and upscaled faces "
            "teach blur; choose a model of a lower resolution, or remove such clips from the file lists",
            smaller, len(sizes), size, sorted(sizes)[len(sizes) // 2],
        )  # fmt: skip


def warn_if_copied(train: Sequence[str], val: Sequence[str]) -> None:
    """Log a warning if validation clips have the audio of training clips: their scores say nothing about other videos.

    train, val: folders; missing ones, as beside a pack that was moved, are skipped.
    """
    sample = val[:: -(-len(val) // MAX_CLIPS)]
    sizes = {_audio_size(clip) for clip in sample} - {0}
    candidates = [clip for clip in train[:: -(-len(train) // MAX_TRAIN_CLIPS)] if _audio_size(clip) in sizes]
    originals = {_audio_excerpt(clip): clip for clip in candidates}
    excerpts = {clip: _audio_excerpt(clip) for clip in sample if _audio_size(clip)}
    copies = {clip: originals[excerpt] for clip, excerpt in excerpts.items() if excerpt in originals}
    if copies:
        clip, original = next(iter(copies.items()))
        log.warning(
            "%d of %d sampled validation clips have the audio of a training clip (%s that of %s), so that validation "
            "says nothing about other videos; remove them from one of the lists",
            len(copies), len(sample), clip, original,
        )  # fmt: skip


def _audio_size(clip: str) -> int:
    """Bytes of a clip's audio; 0 if there is none."""
    path = Path(clip) / AUDIO
    return path.stat().st_size if path.is_file() else 0


def _audio_excerpt(clip: str) -> tuple[int, bytes]:
    """Return the size and the middle second of a clip's audio."""
    size = _audio_size(clip)
    with (Path(clip) / AUDIO).open("rb") as file:
        file.seek(max(0, (size - EXCERPT_BYTES) // 2))
        return size, file.read(EXCERPT_BYTES)


def _face_size(clip: Path) -> int | None:
    """Pixels of the longer side of a clip's middle crop, from the image header; None if it cannot be read."""
    try:
        opened = Clip.open(clip)
        with Image.open(opened.frame_path(opened.frames[len(opened.frames) // 2])) as image:
            return max(image.size)
    except (InputError, OSError):  # corrupt files are reported by the loader
        return None
