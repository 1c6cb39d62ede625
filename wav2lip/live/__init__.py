"""Live lip-sync: audio arrives in pieces, frames leave in real time."""

from wav2lip.live.lipsync import LiveLipSync
from wav2lip.live.stream import LipStream, LiveFrame

__all__ = ["LipStream", "LiveFrame", "LiveLipSync"]
