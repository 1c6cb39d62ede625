"""A face and a sound in, a video of that face saying that sound out."""

from wav2lip.lipsync.engine import LipSync
from wav2lip.lipsync.options import DEFAULTS, Options, Result
from wav2lip.lipsync.part import Part
from wav2lip.lipsync.sound import sound_windows
from wav2lip.lipsync.source import FaceSource, Framing
from wav2lip.lipsync.stream import Cancelled, Stream

__all__ = [
    "DEFAULTS",
    "Cancelled",
    "FaceSource",
    "Framing",
    "LipSync",
    "Options",
    "Part",
    "Result",
    "Stream",
    "sound_windows",
]
