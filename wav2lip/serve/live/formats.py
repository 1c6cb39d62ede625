"""Formats in which a live session sends its frames: JPEG images with audio, or fragmented MP4."""

from __future__ import annotations

import struct
from typing import Protocol

import cv2
import numpy as np

from wav2lip.engine.prepared import PreparedFace
from wav2lip.live import LiveFrame
from wav2lip.live.fragments import FragmentWriter

FRAME_HEADER = struct.Struct("<dII")  # time in seconds, bytes of the JPEG image, samples
JPEG_QUALITY = 85
PCM_SCALE = 32768.0


class FrameFormat(Protocol):
    """Encoder of the binary messages of a session."""

    @property
    def audio_rate(self) -> int:
        """Rate in Hz at which frames must carry their audio."""

    @property
    def mime_type(self) -> str:
        """Media type of the messages, joined; empty if they are not a file."""

    def write(self, frame: LiveFrame) -> bytes:
        """Return the message for a frame; empty if there is none yet. Raises: InputError if an encoder fails."""

    def finish(self) -> bytes:
        """Return the last message; empty if there is none. Raises: InputError if an encoder fails."""


class JpegFormat:
    """One message per frame: FRAME_HEADER, JPEG image, PCM16 audio."""

    mime_type = ""

    def __init__(self, audio_rate: int):
        self.audio_rate = audio_rate

    def write(self, frame: LiveFrame) -> bytes:
        """Return the message of a frame."""
        bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
        _, image = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        samples = np.clip(np.rint(frame.audio * PCM_SCALE), -PCM_SCALE, PCM_SCALE - 1).astype("<i2")
        header = FRAME_HEADER.pack(float(frame.time), len(image), len(samples))
        return header + image.tobytes() + samples.tobytes()

    def finish(self) -> bytes:
        """Return nothing: every frame was sent."""
        return b""


def build_format(name: str, audio_rate: int, face: PreparedFace) -> FrameFormat:
    """Build the format of a session.

    name: jpeg or mp4. audio_rate: of the client's audio in Hz, at which jpeg returns it.
    Raises: InputError if frames of the face cannot be encoded.
    """
    if name == "jpeg":
        return JpegFormat(audio_rate)
    height, width = face.images.shape[1:3]
    return FragmentWriter(width, height)
