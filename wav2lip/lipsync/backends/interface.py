"""Protocols of the backends of a generator."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from wav2lip.faces.framing import FaceFraming


class DeviceGenerator(Protocol):
    """A generator on one device."""

    def __call__(self, mels: np.ndarray, faces: np.ndarray, first_row: int = 0) -> np.ndarray:
        """Generate faces.

        mels: (N, 1, 80, 16) float32. faces: (N, R, R, 6) uint8, see `wav2lip.faces.tensors.generator_input_bytes`.
        first_row: rows above it are not used; in them a backend may return the input. At most R / 2.
        Returns: (N, R, R, 3) uint8 RGB.
        """


class Backend(Protocol):
    """A generator that can be loaded onto devices."""

    resolution: int  # R: pixels, width and height of a face crop
    framing: FaceFraming | None  # of its training data; None: unknown, as of upstream's files

    def load(self, device: torch.device, precision: str) -> DeviceGenerator:
        """Load the generator onto a device.

        precision: auto, fp32, bf16 or fp16.
        Raises: InputError if the device or the precision is not supported.
        """
