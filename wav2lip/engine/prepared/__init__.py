"""Prepared faces: frames with located faces in one memory-mapped file, read without decoding or detection."""

from wav2lip.engine.prepared.face import PreparedFace
from wav2lip.engine.prepared.file import is_prepared

__all__ = ["PreparedFace", "is_prepared"]
