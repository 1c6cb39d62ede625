"""Which detector the processes build."""

from __future__ import annotations

from dataclasses import dataclass

from face_detection import Detector, build_detector
from wav2lip.devices import choose_device


@dataclass(frozen=True)
class DetectorChoice:
    """A detector by its name and what it needs."""

    name: str
    weights: str | None = None
    device: str = "auto"
    batch_size: int = 32
    compat: str = "none"

    def resolve(self) -> DetectorChoice:
        """The choice with the detector that "auto" stands for here; weights that are missing are downloaded once."""
        found = build_detector(self.name, weights=self.weights, compat=self.compat)
        choose_device(self.device)  # one sentence now rather than one from each worker
        return DetectorChoice(found.name, self.weights, self.device, self.batch_size, self.compat)

    def build(self, worker: int) -> Detector:
        """Build it; several workers spread over the GPUs there are."""
        device = choose_device(self.device)
        if device.type == "cuda" and device.index is None:
            import torch

            device = torch.device("cuda", worker % torch.cuda.device_count())
        return build_detector(
            self.name,
            weights=self.weights,
            device=device,
            batch_size=self.batch_size,
            compat=self.compat,
            download=False,
        )
