"""Clips on disk for tests."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tests.helpers.goldens import golden
from wav2lip.dataset.clip import ClipWriter


def write_clip(root: Path, clip_id: str = "speaker/00000", frames: Iterable[int] = range(10), wav=None) -> Path:
    """Write a clip whose crops are flat images of 40 x 30 pixels; by default with the voiced golden audio."""
    wav = golden("mel")["wav_voiced"].astype(np.float32) / 32768 if wav is None else wav
    with ClipWriter(root, clip_id) as clip:
        for n in frames:
            clip.write_frame(n, np.full((40, 30, 3), (10 * n, 100, 200), np.uint8))
        clip.write_audio([wav[:777], wav[777:]])
        clip.write_info({"source": "a ü.mp4"})
    return root / clip_id
