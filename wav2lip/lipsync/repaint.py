"""The generator at work: face crops and mel windows in, faces with new lips out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Protocol

import numpy as np
import torch

from face_detection.portions import Portions
from models import Wav2Lip
from wav2lip.crops import from_network, hidden_and_shown
from wav2lip.devices import inference_dtype
from wav2lip.errors import InputError
from wav2lip.lipsync.folding import folded
from wav2lip.lipsync.lower import lower_rows
from wav2lip.lipsync.packing import pack

CPU_BATCH = 8  # frames; a larger batch leaves the caches and is slower on a CPU
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class LipGenerator(Protocol):
    """What paints on one device: a checkpoint's network, or one that was exported."""

    resolution: int  # pixels: width and height of a face crop

    def on(self, device: torch.device, precision: str) -> Painter:
        """Made ready for a device; precision: auto, fp32, bf16 or fp16. InputError if it cannot be had."""


class Painter(Protocol):
    """A generator ready on one device."""

    def __call__(self, mels: np.ndarray, pictures: np.ndarray, top: int = 0) -> np.ndarray:
        """New lips; mels: (N, 1, 80, 16) float32. pictures: (N, R, R, 6) uint8, see `crops.hidden_and_shown`.

        top: rows above it, which are at most the upper half, are of no use and may come as they were.
        Returns: (N, R, R, 3) uint8 RGB.
        """


class TorchPainter:
    """A checkpoint's generator on one device: folded, channels-last, in the precision asked for."""

    def __init__(self, generator: Wav2Lip, device: torch.device, precision: str):
        self.device = device
        self.dtype = inference_dtype(device) if precision == "auto" else DTYPES[precision]
        self.network: Wav2Lip = folded(generator).to(device, self.dtype).to(memory_format=torch.channels_last)
        if device.type == "cpu" and self.dtype != torch.float16:
            pack(self.network)

    @torch.inference_mode()
    def __call__(self, mels: np.ndarray, pictures: np.ndarray, top: int = 0) -> np.ndarray:
        sound = torch.from_numpy(mels).to(self.device, self.dtype)
        faces = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2)  # channels-last, as it lies
        painted = lower_rows(self.network, sound, faces.to(self.dtype).div_(255), top)
        if self.dtype == torch.float16 and not bool(painted.isfinite().all()):
            raise InputError("--precision fp16: this generator's numbers do not fit in it; use bf16 or fp32")
        lower = from_network(painted).cpu().numpy()
        return np.concatenate([pictures[:, :top, :, 2::-1], lower], axis=1) if top else lower


class TorchGenerator:
    """A checkpoint's network as a `LipGenerator`; it is copied, never changed."""

    def __init__(self, network: Wav2Lip):
        self.network, self.resolution = network, network.resolution

    def on(self, device: torch.device, precision: str) -> TorchPainter:
        return TorchPainter(self.network, device, precision)


class Worker:
    """One device at work, in as many parts as its memory asks for."""

    def __init__(self, paint: Painter, device: torch.device):
        self.paint = paint
        self.portions = Portions(None, str(device), "faces")

    def __call__(self, mels: np.ndarray, pictures: np.ndarray, top: int = 0) -> np.ndarray:
        """As a Painter."""
        return np.concatenate(self.portions(len(mels), lambda part: self.paint(mels[part], pictures[part], top)))


class Repainter:
    """A generator ready to paint, on one device or several; may be used from several threads."""

    def __init__(
        self, generator: Wav2Lip | LipGenerator, device: torch.device | Sequence[torch.device], precision: str = "auto"
    ):  # fmt: skip
        """device: with several, the faces of a call are shared out among them.
        precision: auto (what the device computes fastest), fp32, bf16 or fp16.
        """
        self.generator = TorchGenerator(generator) if isinstance(generator, Wav2Lip) else generator
        self.devices = [device] if isinstance(device, torch.device) else list(device)
        self.precision = precision
        self.resolution = self.generator.resolution  # pixels: width and height of a face crop
        self._lock = Lock()
        self._workers: list[Worker] = []
        self._others: dict[str, Repainter] = {}

    def at_most(self, batch_size: int) -> int:
        """Faces at a time that pay on one of these devices, of as many as are allowed."""
        return min(batch_size, CPU_BATCH) if self.devices[0].type == "cpu" else batch_size

    def at_once(self, batch_size: int) -> int:
        """Faces that a call should be given, of as many as are allowed for each device."""
        return self.at_most(batch_size) * len(self.devices)

    def in_precision(self, precision: str) -> Repainter:
        """The same generator in another precision, made ready once.

        precision: auto, fp32, bf16 or fp16.
        """
        if precision == self.precision:
            return self
        with self._lock:
            if precision not in self._others:
                self._others[precision] = Repainter(self.generator, self.devices, precision)
            return self._others[precision]

    def __call__(
        self, crops: np.ndarray, mels: np.ndarray, references: np.ndarray | None = None, top: int = 0
    ) -> np.ndarray:
        """New lips for face crops.

        crops: (N, R, R, 3) uint8 RGB, R the resolution; their lower halves are painted anew.
        mels: (N, 1, 80, 16) float32.
        references: like the crops; how the person looks, mouth included. None: the crops themselves.
        top: rows above it, which are at most the upper half, are not looked at: they need not be painted.
        Returns: (N, R, R, 3) uint8 RGB.
        """
        pictures = hidden_and_shown(crops, crops if references is None else references)
        workers = self._ready()
        if len(workers) == 1 or len(crops) == 1:
            return workers[0](mels, pictures, top)
        parts = zip(workers, np.array_split(mels, len(workers)), np.array_split(pictures, len(workers)), strict=True)
        with ThreadPoolExecutor(len(workers)) as threads:
            working = [threads.submit(worker, some, faces, top) for worker, some, faces in parts if len(some)]
            return np.concatenate([one.result() for one in working])

    def _ready(self) -> list[Worker]:
        with self._lock:
            if not self._workers:
                self._workers = [Worker(self.generator.on(one, self.precision), one) for one in self.devices]
            return self._workers
