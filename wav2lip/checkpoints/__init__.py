"""Checkpoints: recognized by their content, read without running code, written atomically."""

from wav2lip.checkpoints.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from wav2lip.checkpoints.file_kind import require_checkpoint
from wav2lip.checkpoints.network import build_network, has_generator, identify_network, load_network, load_weights
from wav2lip.checkpoints.reader import load_safely

__all__ = [
    "Checkpoint", "build_network", "has_generator", "identify_network", "load_checkpoint", "load_network",
    "load_safely", "load_weights", "require_checkpoint", "save_checkpoint",
]  # fmt: skip
