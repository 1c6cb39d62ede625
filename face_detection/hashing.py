"""Checksums of weights and files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn


def hash_weights(*networks: nn.Module) -> str:
    """Return a checksum of all weights and buffers, on any device, in hexadecimal digits."""
    checksum = hashlib.blake2b(digest_size=16)
    for network in networks:
        for values in network.state_dict().values():
            checksum.update(values.cpu().flatten().view(torch.uint8).numpy().data)
    return checksum.hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
