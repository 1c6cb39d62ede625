"""The trained expert as the judge of generated faces, of its own resolution or another."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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


def judged(expert: nn.Module, mel: Tensor, lips: Tensor) -> tuple[Tensor, Tensor]:
    """The expert's embeddings of sound (B, 1, 80, 16) and of the lips seen with it.

    One in training mode (compat.expert_training_mode) normalises by the statistics of the batch, which a single window,
    as the last of a validation may be, has none of; that one it judges by those that it has learned.
    """
    with evaluating(expert) if len(mel) == 1 else nullcontext():
        return expert(mel, lips)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network is in eval mode inside the block, and in the mode it was in after it."""
    mode = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(mode)
