"""Prepared faces in the pipeline: the timeline and the silence control of a prepared face."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

import numpy as np

from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.audio.voice_activity import detect_voice
from wav2lip.engine.interface import FrameItem, IsCancelled, never
from wav2lip.engine.prepared import PreparedFace
from wav2lip.engine.result_stream import check_cancelled
from wav2lip.lipsync.mouth_gate import stream_openness
from wav2lip.lipsync.silence import Openness, SilenceControl
from wav2lip.media import read_audio
from wav2lip.types import PathType


class PreparedTimeline:
    """Frames of a prepared face for the audio of a file: what a live stream of the same audio shows."""

    def __init__(self, face: PreparedFace, audio: PathType, length: int, is_cancelled: IsCancelled = never):
        """length: frames of the audio."""
        self._face, self._is_cancelled = face, is_cancelled
        blocks = read_audio(
            audio, SAMPLE_RATE, on_problem=lambda _: None, on_packet=partial(check_cancelled, is_cancelled)
        )
        self._is_speaking, self._openness = stream_openness(detect_voice(blocks), length, float(face.fps))

    def __call__(self) -> Generator[FrameItem, None, None]:
        """Yield a frame for each frame of the audio."""
        order = self._face.frame_order()
        for index, is_speaking in enumerate(self._is_speaking):
            check_cancelled(self._is_cancelled)
            yield self._face.item(index, order.next(bool(is_speaking)))

    def silence(self) -> SilenceControl:
        """Return the control that closes the mouth while nobody speaks."""
        return prepared_silence(self._face, lambda index: float(self._openness[index]))


def prepared_silence(face: PreparedFace, openness: Openness) -> SilenceControl:
    """Return the silence control of a prepared face. openness: see `SilenceControl`."""
    closed = None if face.closed_mouth is None else np.array(face.closed_mouth[0])
    return SilenceControl([openness], lambda target, crop: closed)
