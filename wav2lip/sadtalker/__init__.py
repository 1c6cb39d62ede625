"""The SadTalker engine (Zhang et al., CVPR 2023): a photo that speaks the given audio."""

from wav2lip.sadtalker.options import SadTalkerOptions
from wav2lip.sadtalker.pipeline import SadTalker

__all__ = ["SadTalker", "SadTalkerOptions"]
