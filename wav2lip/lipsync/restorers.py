"""Networks that make pictures sharp: read from a file, whatever their architecture, and run in tiles.

spandrel knows the architectures (MIT; GFPGAN, RestoreFormer, Real-ESRGAN and some forty more) and tells them apart by
their weights. CodeFormer and a few others, whose licences forbid commercial use, are in spandrel_extra_arches, which
is taken where it is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from face_detection.portions import Portions
from wav2lip.checkpoints import kind_of, read_safely
from wav2lip.errors import InputError

if TYPE_CHECKING:
    from spandrel import ArchRegistry, ImageModelDescriptor

PathType = str | PathLike[str]
Call = Callable[[Any, Tensor], Tensor]  # network, pictures in [0, 1] -> pictures, about in [0, 1]

EXTRA = "spandrel_extra_arches"
# What spandrel's architectures raise for weights that are named like theirs and are of other layers.
MALFORMED = (RuntimeError, KeyError, ValueError, IndexError, TypeError, AssertionError, ZeroDivisionError)

TILE = 256  # pixels, width and height of what a network of any size of picture makes at a time
MARGIN = 16  # pixels around a tile that are shown to the network and cut off what it makes

# Networks that work in [-1, 1], which spandrel leaves to its caller. GFPGAN draws noise; in a video it would flicker,
# so it takes the noise that its file holds.
SIGNED: dict[str, Call] = {
    "GFPGAN": lambda network, pictures: network(pictures, return_rgb=False, randomize_noise=False)[0],
    "CodeFormer": lambda network, pictures: network(pictures)[0],
}


class Restorer:
    """A network that takes pictures and gives better ones, `scale` times as large."""

    def __init__(self, descriptor: ImageModelDescriptor, device: torch.device):
        """descriptor: what spandrel made of a file; of three channels in and out."""
        from spandrel import ModelTiling

        self._descriptor = descriptor.to(device).eval()
        self._signed = SIGNED.get(descriptor.architecture.id)
        self.device = device
        self.scale = descriptor.scale
        self.of_faces = descriptor.purpose == "FaceSR"  # aligned ones of 512 x 512 only
        self.whole = self.of_faces or descriptor.tiling == ModelTiling.INTERNAL  # never in tiles
        at_a_time = 1 if device.type == "cpu" else 4  # pictures; more bring nothing on a CPU but need memory
        self.portions = Portions(at_a_time, descriptor.architecture.name, "pictures")

    @torch.inference_mode()
    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Better pictures.

        pictures: (N, H, W, 3) uint8 RGB. Returns: (N, scale * H, scale * W, 3) uint8 RGB.
        """
        n, height, width, _ = pictures.shape
        made = np.empty((n, height * self.scale, width * self.scale, 3), np.uint8)
        tiles = [(slice(0, height), slice(0, width))] if self.whole else list(_tiles(height, width))

        def restore(some: slice) -> None:
            for rows, columns in tiles:
                self._restore_tile(pictures[some], made[some], rows, columns)

        self.portions(n, restore)
        return made

    def _restore_tile(self, pictures: np.ndarray, made: np.ndarray, rows: slice, columns: slice) -> None:
        """Fill rows and columns of the small pictures in the large ones."""
        scale = self.scale
        top, left = max(0, rows.start - MARGIN), max(0, columns.start - MARGIN)
        seen = pictures[:, top : rows.stop + MARGIN, left : columns.stop + MARGIN]
        shown = torch.from_numpy(np.ascontiguousarray(seen)).to(self.device)
        out = self._run(shown.movedim(-1, 1).contiguous().float() / 255)  # GFPGAN takes no other memory format
        out = out[
            ..., (rows.start - top) * scale : (rows.stop - top) * scale,
            (columns.start - left) * scale : (columns.stop - left) * scale,
        ]  # fmt: skip
        levels = (out.float().clamp(0, 1) * 255).round().to(torch.uint8)
        made[:, rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale] = (
            levels.movedim(1, -1).cpu().numpy()
        )

    def _run(self, pictures: Tensor) -> Tensor:
        if self._signed is None:
            return self._descriptor(pictures)
        return (self._signed(self._descriptor.model, pictures * 2 - 1) + 1) / 2


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the tiles that cover a picture."""
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            yield slice(top, min(top + TILE, height)), slice(left, min(left + TILE, width))


def load_restorer(path: PathType, device: torch.device) -> Restorer:
    """A restoration network from its file: .safetensors, or what torch.save wrote; only weights are opened.

    Raises: InputError if the file cannot be read safely or is of no network that can be used here.
    """
    from spandrel import ImageModelDescriptor, UnsupportedModelError

    weights = _weights(path)
    try:
        found = _architectures().load(weights)
    except UnsupportedModelError as error:
        raise InputError(f"{path}: holds {kind_of(weights)}, not one that restores pictures; {_more()}") from error
    except MALFORMED as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(f"{path}: has other layers than its kind of network ({reason}); download it again") from error
    name = found.architecture.name
    if not isinstance(found, ImageModelDescriptor):
        raise InputError(f"{path}: is a {name}, which fills holes in pictures; give a network that restores them")
    if (found.input_channels, found.output_channels) != (3, 3):
        raise InputError(
            f"{path}: is a {name} from {found.input_channels} to {found.output_channels} channels; give one for "
            "colour pictures"
        )
    return Restorer(found, device)


def _architectures() -> ArchRegistry:
    """Those of spandrel, and of its extra package where that is installed."""
    from spandrel import MAIN_REGISTRY

    registry = MAIN_REGISTRY.copy()
    if importlib.util.find_spec(EXTRA):
        registry.add(*importlib.import_module(EXTRA).EXTRA_REGISTRY, ignore_duplicates=True)
    return registry


def _more() -> str:
    if importlib.util.find_spec(EXTRA):
        return "give GFPGAN, RestoreFormer, CodeFormer, Real-ESRGAN or another that spandrel knows"
    return (
        f"give GFPGAN, RestoreFormer, Real-ESRGAN or another that spandrel knows; for CodeFormer, pip install {EXTRA}"
    )


def _weights(path: PathType) -> dict[str, Tensor]:
    """The tensors of a file, by name, out of the dicts that trainers wrap them in."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from spandrel import canonicalize_state_dict

    if Path(path).suffix.lower() == ".safetensors" and Path(path).is_file():
        try:
            return canonicalize_state_dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: is not a whole safetensors file ({error}); download it again") from error
    content = read_safely(path)
    weights = canonicalize_state_dict(content) if isinstance(content, dict) else {}
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(f"{path}: has no weights of a network; give the file of one that restores pictures")
    return weights
