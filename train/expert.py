"""The trained expert as the judge of generated faces, of its own resolution or another."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor, nn

from models import SyncNet
from wav2lip.checkpoints import PathType, load_network
from wav2lip.crops import resize_mouths

log = logging.getLogger(__name__)


def expert_for(path: PathType, resolution: int) -> SyncNet:
    """The expert of a checkpoint; the lower halves it is shown are those of faces of `resolution` pixels.

    One of another resolution, such as the public one, sees them resized; gradients pass through.
    Raises: InputError if the file is not a SyncNet's.
    """
    expert = load_network(path, SyncNet)
    if expert.resolution != resolution:
        log.info("%s: judges faces of %d pixels; those of %d are resized for it", path, expert.resolution, resolution)

        def resize(_encoder: nn.Module, inputs: tuple[Tensor]) -> Any:
            return (resize_mouths(inputs[0], expert.resolution),)

        expert.face_encoder.register_forward_pre_hook(resize)
    return expert
