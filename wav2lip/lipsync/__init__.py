"""Wav2Lip engine: generate a video of a face that speaks given audio."""

from wav2lip.engine.frame_source import FileSource, Framing, TimeRange
from wav2lip.engine.interface import Result
from wav2lip.engine.result_stream import Cancelled, FrameStream
from wav2lip.lipsync.audio_input import mel_windows_from_file
from wav2lip.lipsync.options import DEFAULTS, LipSyncOptions
from wav2lip.lipsync.pipeline import LipSync

__all__ = [
    "DEFAULTS",
    "Cancelled",
    "FileSource",
    "FrameStream",
    "Framing",
    "LipSync",
    "LipSyncOptions",
    "Result",
    "TimeRange",
    "mel_windows_from_file",
]
