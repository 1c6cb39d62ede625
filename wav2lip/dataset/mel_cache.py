"""Cache of a clip's mel beside its audio, trusted by its content and never by its name or time.

The file is an .npy array (80, T) float32, followed by a key of KEY_BYTES: a hash of the content of the audio and of the
version of the mel. Its name is this project's own, because other trainers keep another mel as mel.npy.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from wav2lip.arrays import read_array
from wav2lip.audio.mel import MEL_BANDS
from wav2lip.files import write_atomically
from wav2lip.hashing import hash_file_cached

MEL = "wav2lip_mel.npy"
MEL_VERSION = 1  # incremented when the same audio gives another mel
KEY_BYTES = 16


def mel_key(audio: Path) -> bytes:
    """Return the key of an audio file's mel. Raises: OSError if it cannot be read."""
    content = f"mel {MEL_VERSION} of {hash_file_cached(audio)}"
    return hashlib.sha256(content.encode()).digest()[:KEY_BYTES]


def read_mel_cache(cache: Path, audio: Path) -> np.ndarray | None:
    """Map a cached mel, (80, T) float32; None if there is none, or it is not that of the audio."""
    try:
        with cache.open("rb") as file:
            file.seek(-KEY_BYTES, os.SEEK_END)
            key = file.read()
        if key != mel_key(audio):
            return None
        mel = read_array(cache)
    except (OSError, ValueError):  # absent, unreadable or truncated: it is computed again
        return None
    is_mel = mel.ndim == 2 and mel.shape[0] == MEL_BANDS and mel.shape[1] > 0 and mel.dtype == np.float32
    return mel if is_mel else None


def write_mel_cache(cache: Path, audio: Path, mel: np.ndarray) -> None:
    """Write a mel atomically. Raises: OSError if it cannot be written."""

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.save(file, mel)
            file.write(mel_key(audio))

    write_atomically(cache, write)
