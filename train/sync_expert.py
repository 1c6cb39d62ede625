"""The trained lip-sync expert as a loss network for generated faces, of its own resolution or another."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn

from models import SyncNet
from wav2lip.checkpoints import load_network
from wav2lip.faces.tensors import resize_mouths
from wav2lip.types import PathType

log = logging.getLogger(__name__)


def load_expert(path: PathType, resolution: int) -> SyncNet:
    """Load an expert that takes the lower halves of faces of `resolution` pixels.

    Inputs for one of another resolution, such as upstream's, are resized; gradients pass through.
    Raises: InputError if the file is not a SyncNet's.
    """
    expert = load_network(path, SyncNet)
    if expert.resolution != resolution:
        log.info("%s: resizing faces of %d pixels to its resolution of %d", path, resolution, expert.resolution)

        def resize(_encoder: nn.Module, inputs: tuple[Tensor]) -> Any:
            return (resize_mouths(inputs[0], expert.resolution),)

        expert.face_encoder.register_forward_pre_hook(resize)
    return expert


def embed(expert: nn.Module, mel: Tensor, mouths: Tensor) -> tuple[Tensor, Tensor]:
    """Embed audio windows (B, 1, 80, 16) and mouths (B, 3 * T, H / 2, W).

    An expert in training mode (compat.expert_training_mode) normalizes by batch statistics. These are undefined for a
    batch of one, such as the last of a validation, which is embedded in eval mode.
    """
    with eval_mode(expert) if len(mel) == 1 else nullcontext():
        return expert(mel, mouths)


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Put a network in eval mode, then restore its mode."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)
