"""Torchvision's operators on boxes without the rest of torchvision, whose import takes as long as torch's own.

They are one compiled library, which registers them with torch. Where it has another name than is known here,
torchvision is imported whole and does the same.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor


def _register() -> None:
    found = find_spec("torchvision")
    folders = [Path(folder) for folder in (found.submodule_search_locations if found else None) or []]
    libraries = [path for folder in folders for path in sorted(folder.glob("_C*")) if path.suffix in (".so", ".pyd")]
    for library in libraries:
        torch.ops.load_library(str(library))
    if not hasattr(torch.ops.torchvision, "nms"):
        import_module("torchvision")


_register()


def nms(boxes: Tensor, scores: Tensor, max_overlap: float) -> Tensor:
    """Indices of the boxes that overlap no better one by more than that (intersection over union), the best first.

    boxes: (N, 4) left, top, right, bottom. scores: (N,).
    """
    return torch.ops.torchvision.nms(boxes, scores, max_overlap)


def batched_nms(boxes: Tensor, scores: Tensor, owners: Tensor, max_overlap: float) -> Tensor:
    """As `nms`, where only boxes of the same owner (N,) compete."""
    if not len(boxes):
        return boxes.new_empty(0, dtype=torch.long)
    apart = owners.to(boxes) * (boxes.max() + 1)  # each owner's boxes in a place of their own
    return nms(boxes + apart[:, None], scores, max_overlap)


def roi_align(pictures: Tensor, regions: Tensor, side: int, samples: int) -> Tensor:
    """Regions of pictures, resampled to (K, C, side, side); half a pixel is the middle of the first.

    pictures: (B, C, H, W). regions: (K, 5) number of the picture, left, top, right, bottom.
    samples: points along each axis of which a result's pixel is the mean.
    """
    return torch.ops.torchvision.roi_align(pictures, regions, 1.0, side, side, samples, True)
