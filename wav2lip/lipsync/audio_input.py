"""Driving audio of a request: a file for each voice, their mel windows, and the audio of the result."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from wav2lip.audio.mel import SAMPLE_RATE, stream_mel
from wav2lip.audio.mel_stream import MelStream
from wav2lip.audio.mixing import mix_audio
from wav2lip.audio.windows import WINDOW_COLUMNS, InferenceWindows, MelWindows, PaddedWindows
from wav2lip.engine.frame_source import MISSING_TOLERANCE_S
from wav2lip.engine.inputs import AudioInput, audio_as_file
from wav2lip.errors import InputError
from wav2lip.lipsync.options import LipSyncOptions
from wav2lip.media import probe, read_audio
from wav2lip.media.container import OnPacket, ignore_packet
from wav2lip.types import PathType

logger = logging.getLogger(__name__)

DrivingInput = AudioInput | list[AudioInput]  # a list: audio of each person


@dataclass(frozen=True)
class DrivingAudio:
    """Driving audio of a request."""

    files: Sequence[PathType]  # of each voice
    voices: Sequence[MelWindows]  # of each voice, all as long as the longest
    find_track: Callable[[], PathType]  # see `track`

    @property
    def length(self) -> int:
        """Number of frames."""
        return len(self.voices[0])

    @cached_property
    def track(self) -> PathType:
        """Audio of the result: the file of the only voice, or the mix of all, which is written at the first use."""
        return self.find_track()


@contextlib.contextmanager
def open_driving_audio(
    audio: DrivingInput, fps: Fraction, options: LipSyncOptions, on_packet: OnPacket = ignore_packet
) -> Iterator[DrivingAudio]:
    """Open the audio of each voice; temporary files are deleted at the end.

    Raises: InputError if the number of voices is not that of the selected faces, or see `mel_windows_from_file`.
    """
    audios = audio if isinstance(audio, list) else [audio]
    check_num_voices(len(audios), options)
    with contextlib.ExitStack() as resources:
        files = [resources.enter_context(audio_as_file(each, options.audio_track)) for each in audios]
        voices = [mel_windows_from_file(file, fps, options.compat, on_packet) for file in files]
        for windows in voices:
            if isinstance(windows, MelStream):
                resources.callback(windows.close)  # before the temporary files are deleted
        if len(files) == 1:
            yield DrivingAudio(files, voices, lambda: files[0])
            return
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        length = max(map(len, voices))
        padded = [PaddedWindows(windows, length) for windows in voices]
        yield DrivingAudio(files, padded, lambda: mix_audio(files, folder / "audio.wav", on_packet))


def check_num_voices(count: int, options: LipSyncOptions) -> None:
    """Raise InputError unless each audio has a face of its own. count: number of audios."""
    faces = options.num_voices
    if count < 1:
        raise InputError("--audio: must name at least one file")
    if count != faces:
        raise InputError(
            f"--audio: {count} {'file' if count == 1 else 'files'} for {faces} selected "
            f"{'face' if faces == 1 else 'faces'}; give as many as faces, for example --faces 0,1 with two"
        )


def mel_windows_from_file(
    audio: PathType, fps: Fraction, compat: str = "none", on_packet: OnPacket = ignore_packet
) -> MelWindows:
    """Return the mel window of each video frame; the file is read again while they are used.

    on_packet: see `read_audio`.
    Raises: InputError for a file without audio, with non-finite samples, or too short for compat="public".
    """
    media = probe(audio)
    stated_seconds, track = media.seconds, media.require_audio()
    if track.tracks > 1:
        logger.info(
            "%s: audio track %d of %d (%s) is used; select another with --audio_track",
            audio, track.track, track.tracks, track.codec,
        )  # fmt: skip
    samples = sum(map(len, _read_finite(audio, on_packet)))
    seconds = samples / SAMPLE_RATE
    if not samples:
        raise InputError(f"{audio}: its audio track is empty; use a file with audio")
    if seconds < stated_seconds - MISSING_TOLERANCE_S:
        logger.warning("%s: its audio lasts %.1f s, not %.1f s as it states", audio, seconds, stated_seconds)
    if compat != "public":
        return MelStream(audio, samples, float(fps), on_packet)
    blocks = read_audio(audio, SAMPLE_RATE, on_problem=lambda _: None, on_packet=on_packet)
    mel = np.concatenate(list(stream_mel(blocks)), axis=1)
    if mel.shape[1] < WINDOW_COLUMNS:
        raise InputError(f"{audio}: audio of {seconds:.2f} s is too short; use at least 0.2 s")
    return InferenceWindows.build_public(mel, float(fps))


def _read_finite(audio: PathType, on_packet: OnPacket) -> Iterator[np.ndarray]:
    """Yield blocks of samples at 16 kHz. Raises: InputError for a block with non-finite samples."""
    with contextlib.closing(read_audio(audio, SAMPLE_RATE, on_packet=on_packet)) as blocks:
        for block in blocks:
            if not np.isfinite(block).all():
                raise InputError(f"{audio}: contains non-finite samples; export the audio again as 16-bit PCM")
            yield block
