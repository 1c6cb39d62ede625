"""Generator runtime: face crops and mel windows in, generated faces out, on one device or several."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
import torch

from face_detection.adaptive_batch import AdaptiveBatcher
from models import Wav2Lip
from wav2lip.faces.tensors import generator_input_bytes
from wav2lip.lipsync.backends.interface import Backend, DeviceGenerator
from wav2lip.lipsync.backends.pytorch import TorchBackend

MAX_CPU_BATCH = 8  # faces; a larger batch exceeds the CPU caches and is slower


class DeviceRunner:
    """A generator on one device, with batches that fit into its memory."""

    def __init__(self, generator: DeviceGenerator, device: torch.device):
        self.generator = generator
        self.batches = AdaptiveBatcher(None, str(device), "faces")

    def __call__(self, mels: np.ndarray, faces: np.ndarray, first_row: int = 0) -> np.ndarray:
        """Generate faces, see `DeviceGenerator`."""
        results = self.batches(len(mels), lambda batch: self.generator(mels[batch], faces[batch], first_row))
        return np.concatenate(results)


class GeneratorRuntime:
    """A generator on one device or several; thread-safe."""

    def __init__(
        self, generator: Wav2Lip | Backend, device: torch.device | Sequence[torch.device], precision: str = "auto"
    ):  # fmt: skip
        """device: with several, the faces of each call are split among them.
        precision: auto (the fastest of the device), fp32, bf16 or fp16.
        """
        self.backend: Backend = TorchBackend(generator) if isinstance(generator, Wav2Lip) else generator
        self.devices = [device] if isinstance(device, torch.device) else list(device)
        self.precision = precision
        self.resolution = self.backend.resolution  # pixels: width and height of a face crop
        self._lock = Lock()
        self._runners: list[DeviceRunner] = []
        self._by_precision: dict[str, GeneratorRuntime] = {}

    def limit_batch_size(self, batch_size: int) -> int:
        """Return the number of faces per batch and device that is efficient, at most `batch_size`."""
        return min(batch_size, MAX_CPU_BATCH) if self.devices[0].type == "cpu" else batch_size

    def call_size(self, batch_size: int) -> int:
        """Return the number of faces per call for at most `batch_size` faces per device."""
        return self.limit_batch_size(batch_size) * len(self.devices)

    def with_precision(self, precision: str) -> GeneratorRuntime:
        """Return the runtime of the same generator in another precision, loaded once."""
        if precision == self.precision:
            return self
        with self._lock:
            if precision not in self._by_precision:
                self._by_precision[precision] = GeneratorRuntime(self.backend, self.devices, precision)
            return self._by_precision[precision]

    def __call__(
        self, crops: np.ndarray, mels: np.ndarray, references: np.ndarray | None = None, first_row: int = 0
    ) -> np.ndarray:
        """Generate the lower halves of face crops.

        crops: (N, R, R, 3) uint8 RGB, R the resolution. mels: (N, 1, 80, 16) float32.
        references: (N, R, R, 3) uint8 RGB, unmasked faces of the same persons; None for the crops themselves.
        first_row: rows above it are not used and may be returned as they are. At most R / 2.
        Returns: (N, R, R, 3) uint8 RGB.
        """
        faces = generator_input_bytes(crops, crops if references is None else references)
        runners = self._load()
        if len(runners) == 1 or len(crops) == 1:
            return runners[0](mels, faces, first_row)
        shares = zip(runners, np.array_split(mels, len(runners)), np.array_split(faces, len(runners)), strict=True)
        with ThreadPoolExecutor(len(runners)) as threads:
            futures = [threads.submit(run, mel, face, first_row) for run, mel, face in shares if len(mel)]
            return np.concatenate([future.result() for future in futures])

    def _load(self) -> list[DeviceRunner]:
        with self._lock:
            if not self._runners:
                self._runners = [
                    DeviceRunner(self.backend.load(device, self.precision), device) for device in self.devices
                ]
            return self._runners
