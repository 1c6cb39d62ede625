"""The driving sound, as the generator hears it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from fractions import Fraction
from os import PathLike

import numpy as np

from wav2lip.audio import SAMPLE_RATE, mel_pieces
from wav2lip.errors import InputError
from wav2lip.lipsync.mel_stream import MelStream
from wav2lip.lipsync.source import MISSING
from wav2lip.media import probe, read_audio
from wav2lip.windows import WINDOW_COLUMNS, InferenceWindows, Windows

log = logging.getLogger(__name__)

PathType = str | PathLike[str]


def sound_windows(audio: PathType, fps: Fraction, compat: str = "none") -> Windows:
    """The mel windows of a sound file at a frame rate; the file is read again while they are asked for.

    Raises: InputError if the file has no sound, holds values that are not numbers, or is too short for compat="public".
    """
    stated = probe(audio).seconds
    samples = sum(map(len, _numbers(audio)))
    seconds = samples / SAMPLE_RATE
    if not samples:
        raise InputError(f"{audio}: its audio track is empty; give a file with sound")
    if seconds < stated - MISSING:
        log.warning(f"{audio}: its sound lasts {seconds:.1f} s of the {stated:.1f} s that it states")
    if compat != "public":
        return MelStream(audio, samples, float(fps))
    mel = np.concatenate(list(mel_pieces(read_audio(audio, SAMPLE_RATE, on_problem=lambda _: None))), axis=1)
    if mel.shape[1] < WINDOW_COLUMNS:
        raise InputError(f"{audio}: {seconds:.2f} s of sound are too short; give at least 0.2 s")
    return InferenceWindows.public(mel, float(fps))


def _numbers(audio: PathType) -> Iterator[np.ndarray]:
    """Blocks of samples at 16 kHz. Raises: InputError if one holds what is no number."""
    with contextlib.closing(read_audio(audio, SAMPLE_RATE)) as blocks:
        for block in blocks:
            if not np.isfinite(block).all():
                raise InputError(f"{audio}: holds values that are not numbers; export the sound again as 16-bit PCM")
            yield block
