"""Torchvision's box operators without importing torchvision, whose import takes as long as torch's own.

One compiled library registers them. If it is not found, torchvision is imported instead.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor


def _register_operators() -> None:
    spec = find_spec("torchvision")
    folders = [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or []]
    libraries = [path for folder in folders for path in sorted(folder.glob("_C*")) if path.suffix in (".so", ".pyd")]
    for library in libraries:
        torch.ops.load_library(str(library))
    if not hasattr(torch.ops.torchvision, "nms"):
        import_module("torchvision")


_register_operators()


def nms(boxes: Tensor, scores: Tensor, max_overlap: float) -> Tensor:
    """Apply non-maximum suppression and return the indices of the remaining boxes, best first.

    boxes: (N, 4) left, top, right, bottom. scores: (N,). max_overlap: intersection over union in [0, 1].
    """
    return torch.ops.torchvision.nms(boxes, scores, max_overlap)


def batched_nms(boxes: Tensor, scores: Tensor, groups: Tensor, max_overlap: float) -> Tensor:
    """Apply `nms` within each group; groups: (N,) integers."""
    if not len(boxes):
        return boxes.new_empty(0, dtype=torch.long)
    offsets = groups.to(boxes) * (boxes.max() + 1)  # moves the groups apart, so that they never overlap
    return nms(boxes + offsets[:, None], scores, max_overlap)


def roi_align(images: Tensor, rois: Tensor, size: int, samples: int) -> Tensor:
    """Resample regions of images to (K, C, size, size); pixel centers are at half-integer coordinates.

    images: (B, C, H, W). rois: (K, 5) image index, left, top, right, bottom.
    samples: sampling points along each axis that are averaged into one output pixel.
    """
    return torch.ops.torchvision.roi_align(images, rois, 1.0, size, size, samples, True)
