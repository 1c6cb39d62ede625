"""Image restoration networks, loaded from a file whatever their architecture, and run in tiles.

spandrel (MIT) identifies some forty architectures by their weights, among them GFPGAN, RestoreFormer and Real-ESRGAN.
CodeFormer and a few others, whose licenses exclude commercial use, are in spandrel_extra_arches, used if installed.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from face_detection.adaptive_batch import AdaptiveBatcher
from wav2lip.checkpoints import identify_network, load_safely
from wav2lip.errors import InputError
from wav2lip.types import PathType

if TYPE_CHECKING:
    from spandrel import ArchRegistry, ImageModelDescriptor

CallModel = Callable[[Any, Tensor], Tensor]  # network, images in [-1, 1] -> images in about [-1, 1]

EXTRA_PACKAGE = "spandrel_extra_arches"
# Raised by spandrel's architectures for weights with matching names but other layers.
LAYER_ERRORS = (RuntimeError, KeyError, ValueError, IndexError, TypeError, AssertionError, ZeroDivisionError)

TILE_PIXELS = 256  # width and height of a tile, for networks that accept any size
TILE_MARGIN_PIXELS = 16  # context around a tile, removed from the output

# Networks with a range of [-1, 1], which spandrel leaves to the caller. GFPGAN's random noise would flicker in a video,
# so it uses the noise stored in its file.
SIGNED_MODELS: dict[str, CallModel] = {
    "GFPGAN": lambda network, images: network(images, return_rgb=False, randomize_noise=False)[0],
    "CodeFormer": lambda network, images: network(images)[0],
}


class Restorer:
    """A network that returns restored images, `scale` times as large."""

    def __init__(self, descriptor: ImageModelDescriptor, device: torch.device):
        """descriptor: spandrel's model with three input and three output channels."""
        from spandrel import ModelTiling

        self._descriptor = descriptor.to(device).eval()
        self._call_signed = SIGNED_MODELS.get(descriptor.architecture.id)
        self.device = device
        self.scale = descriptor.scale
        self.faces_only = descriptor.purpose == "FaceSR"  # aligned faces of 512 x 512
        self.without_tiles = self.faces_only or descriptor.tiling == ModelTiling.INTERNAL
        batch_size = 1 if device.type == "cpu" else 4  # larger batches cost memory and no CPU is faster with them
        self.batcher = AdaptiveBatcher(batch_size, descriptor.architecture.name, "images")

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Restore images.

        images: (N, H, W, 3) uint8 RGB. Returns: (N, scale * H, scale * W, 3) uint8 RGB.
        """
        n, height, width, _ = images.shape
        restored = np.empty((n, height * self.scale, width * self.scale, 3), np.uint8)
        tiles = [(slice(0, height), slice(0, width))] if self.without_tiles else list(_tiles(height, width))

        def restore(batch: slice) -> None:
            for rows, columns in tiles:
                self._restore_tile(images[batch], restored[batch], rows, columns)

        self.batcher(n, restore)
        return restored

    def _restore_tile(self, images: np.ndarray, restored: np.ndarray, rows: slice, columns: slice) -> None:
        """Write a tile, given by rows and columns of the input images."""
        scale, margin = self.scale, TILE_MARGIN_PIXELS
        top, left = max(0, rows.start - margin), max(0, columns.start - margin)
        context = images[:, top : rows.stop + margin, left : columns.stop + margin]
        x = torch.from_numpy(np.ascontiguousarray(context)).to(self.device)
        out = self._run(x.movedim(-1, 1).contiguous().float() / 255)  # GFPGAN supports no other memory format
        out = out[
            ..., (rows.start - top) * scale : (rows.stop - top) * scale,
            (columns.start - left) * scale : (columns.stop - left) * scale,
        ]  # fmt: skip
        levels = (out.float().clamp(0, 1) * 255).round().to(torch.uint8)
        restored[:, rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale] = (
            levels.movedim(1, -1).cpu().numpy()
        )

    def _run(self, images: Tensor) -> Tensor:
        if self._call_signed is None:
            return self._descriptor(images)
        return (self._call_signed(self._descriptor.model, images * 2 - 1) + 1) / 2


def load_restorer(path: PathType, device: torch.device) -> Restorer:
    """Load a restoration network from a .safetensors file, or the weights of a file of torch.save.

    Raises: InputError if the file cannot be read safely or its network is not supported.
    """
    from spandrel import ImageModelDescriptor, UnsupportedModelError

    weights = _load_state_dict(path)
    try:
        model = _architectures().load(weights)
    except UnsupportedModelError as error:
        actual = identify_network(weights)
        raise InputError(f"{path}: contains {actual}, not an image restoration network; {_remedy()}") from error
    except LAYER_ERRORS as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(f"{path}: its layers do not match its architecture ({reason}); download it again") from error
    name = model.architecture.name
    if not isinstance(model, ImageModelDescriptor):
        raise InputError(f"{path}: is a {name}, which fills masked regions; use an image restoration network")
    if (model.input_channels, model.output_channels) != (3, 3):
        raise InputError(
            f"{path}: is a {name} from {model.input_channels} to {model.output_channels} channels; use one for color "
            "images"
        )
    return Restorer(model, device)


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of the tiles that cover an image."""
    for top in range(0, height, TILE_PIXELS):
        for left in range(0, width, TILE_PIXELS):
            yield slice(top, min(top + TILE_PIXELS, height)), slice(left, min(left + TILE_PIXELS, width))


def _architectures() -> ArchRegistry:
    """Return the architectures of spandrel, and of its extra package if installed."""
    from spandrel import MAIN_REGISTRY

    registry = MAIN_REGISTRY.copy()
    if importlib.util.find_spec(EXTRA_PACKAGE):
        registry.add(*importlib.import_module(EXTRA_PACKAGE).EXTRA_REGISTRY, ignore_duplicates=True)
    return registry


def _remedy() -> str:
    if importlib.util.find_spec(EXTRA_PACKAGE):
        return "use GFPGAN, RestoreFormer, CodeFormer, Real-ESRGAN or another that spandrel supports"
    return (
        "use GFPGAN, RestoreFormer, Real-ESRGAN or another that spandrel supports; for CodeFormer, pip install "
        f"{EXTRA_PACKAGE}"
    )


def _load_state_dict(path: PathType) -> dict[str, Tensor]:
    """Return the tensors of a file by name, without the dicts that trainers wrap them in."""
    from spandrel import canonicalize_state_dict

    content = load_safely(path)
    weights = canonicalize_state_dict(content) if isinstance(content, dict) else {}
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(f"{path}: contains no weights of a network; use an image restoration network")
    return weights
