"""The generator at work: face crops and mel windows in, faces with new lips out."""

from __future__ import annotations

import numpy as np
import torch

from models import Wav2Lip
from wav2lip.crops import from_network, generator_input, to_network

CPU_BATCH = 8  # frames; a larger batch leaves the caches and is slower on a CPU


class Repainter:
    """A generator ready to paint, on its device."""

    def __init__(self, generator: Wav2Lip, device: torch.device):
        self.generator = generator.to(device).eval()
        self.device = device
        self.resolution = generator.resolution  # pixels: width and height of a face crop

    def at_most(self, batch_size: int) -> int:
        """Faces at a time that pay on this device, of as many as are allowed."""
        return min(batch_size, CPU_BATCH) if self.device.type == "cpu" else batch_size

    @torch.inference_mode()
    def __call__(self, crops: np.ndarray, mels: np.ndarray, references: np.ndarray | None = None) -> np.ndarray:
        """New lips for face crops.

        crops: (N, R, R, 3) uint8 RGB, R the resolution; their lower halves are painted anew.
        mels: (N, 1, 80, 16) float32.
        references: like the crops; how the person looks, mouth included. None: the crops themselves.
        Returns: (N, R, R, 3) uint8 RGB.
        """
        faces = to_network(torch.from_numpy(crops).to(self.device))
        shown = faces if references is None else to_network(torch.from_numpy(references).to(self.device))
        out = self.generator(torch.from_numpy(mels).to(self.device), generator_input(faces, shown))
        return from_network(out).cpu().numpy()
