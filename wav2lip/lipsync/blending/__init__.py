"""Blending of a generated face into its frame."""

from wav2lip.lipsync.blending.feather import (
    Blend,
    BoxBlend,
    FeatherBlend,
    MouthGeometry,
    build_blend,
    lower_face_mask,
    open_edges,
)

__all__ = ["Blend", "BoxBlend", "FeatherBlend", "MouthGeometry", "build_blend", "lower_face_mask", "open_edges"]
