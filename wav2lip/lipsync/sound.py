"""The driving sound, as the generator hears it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from os import PathLike

import numpy as np

from wav2lip.audio import MEL_BANDS, SAMPLE_RATE, mel_pieces
from wav2lip.errors import InputError
from wav2lip.lipsync.source import MISSING
from wav2lip.media import probe, read_audio
from wav2lip.windows import WINDOW_COLUMNS, InferenceWindows

log = logging.getLogger(__name__)

PathType = str | PathLike[str]


def sound_windows(audio: PathType, fps: Fraction, compat: str = "none") -> InferenceWindows:
    """The mel windows of a sound file at a frame rate.

    Raises: InputError if the file has no sound, holds values that are not numbers, or is too short for compat="public".
    """
    samples, columns = 0, np.zeros((0, MEL_BANDS), np.float32)

    def sound() -> Iterator[np.ndarray]:
        nonlocal samples
        for block in read_audio(audio, SAMPLE_RATE):
            if not np.isfinite(block).all():
                raise InputError(f"{audio}: holds values that are not numbers; export the sound again as 16-bit PCM")
            samples += len(block)
            yield block

    stated = probe(audio).seconds
    for piece in mel_pieces(sound()):
        before = len(columns)
        columns.resize((before + piece.shape[1], MEL_BANDS), refcheck=False)  # in place: two hours are 184 MB
        columns[before:] = piece.T
    seconds = samples / SAMPLE_RATE
    if not samples:
        raise InputError(f"{audio}: its audio track is empty; give a file with sound")
    if seconds < stated - MISSING:
        log.warning(f"{audio}: its sound lasts {seconds:.1f} s of the {stated:.1f} s that it states")
    if compat == "public":
        if len(columns) < WINDOW_COLUMNS:
            raise InputError(f"{audio}: {seconds:.2f} s of sound are too short; give at least 0.2 s")
        return InferenceWindows.public(columns.T, float(fps))
    return InferenceWindows.covering(columns.T, samples, float(fps))
