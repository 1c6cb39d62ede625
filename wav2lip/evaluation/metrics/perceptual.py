"""LPIPS: perceptual distance of two images by the features of a network, weighted by human judgments."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wav2lip.checkpoints import load_checkpoint
from wav2lip.errors import InputError
from wav2lip.evaluation.metrics.base import LOWER, FrameSample, Metric, Scores, not_computed, to_planes
from wav2lip.evaluation.metrics.fidelity import NO_TRUTH
from wav2lip.types import PathType

TAPS = (1, 4, 7, 9, 11)  # indices of the five ReLUs among AlexNet's layers
CHANNELS = (64, 192, 384, 256, 256)
MEAN, STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # RGB in [-1, 1], published with LPIPS
MIN_SIZE = 64  # pixels: smaller images have no AlexNet features
BACKBONE_FILE, WEIGHTS_FILE = "alexnet-owt-7be5be79.pth", "lpips/weights/v0.1/alex.pth"

METRICS = (
    Metric("lpips", LOWER, "0 to about 1, 0 for equal videos", "",
           "mean over frames of LPIPS 0.1 with AlexNet: squared differences of its features, each of norm 1 over the "
           "channels, weighted, mean over positions, sum over 5 layers; of the face box at its own size, 64 pixels or "
           "more", "Zhang et al. 2018, The unreasonable effectiveness of deep features as a perceptual metric",
           "the ground-truth video; --lpips_backbone (torchvision's AlexNet) and --lpips_weights (alex.pth of LPIPS)"),
)  # fmt: skip
NO_WEIGHTS = (
    f"no weights: set --lpips_backbone FILE ({BACKBONE_FILE} of torchvision) and --lpips_weights FILE ({WEIGHTS_FILE} "
    "of the package lpips)"
)


class LPIPS(nn.Module):
    """AlexNet's features with a weight for each channel."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import alexnet  # takes seconds to import

        self.features = alexnet(weights=None).features[: TAPS[-1] + 1]
        self.weights = nn.ParameterList(torch.zeros(1, channels, 1, 1) for channels in CHANNELS)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    @classmethod
    def from_files(cls, backbone: PathType, weights: PathType) -> LPIPS:
        """Load a frozen network. backbone: torchvision's AlexNet. weights: LPIPS's own (lin0.model.1.weight ...).

        Raises: InputError if one of the files does not fit.
        """
        network = cls()
        alexnet, linear = load_checkpoint(backbone).state_dict, load_checkpoint(weights).state_dict
        state: dict[str, Any] = {}
        try:
            state |= {name: alexnet[name] for name in network.state_dict() if name.startswith("features.")}
        except KeyError as error:
            raise InputError(f"{backbone}: has no {error}; give torchvision's {BACKBONE_FILE}") from error
        try:
            state |= {f"weights.{n}": linear[f"lin{n}.model.1.weight"] for n in range(len(TAPS))}
        except KeyError as error:
            raise InputError(f"{weights}: has no {error}; give {WEIGHTS_FILE}") from error
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise InputError(
                f"{backbone}, {weights}: shapes do not match AlexNet and LPIPS; give {BACKBONE_FILE} and {WEIGHTS_FILE}"
            ) from error
        return network.eval().requires_grad_(False)

    def forward(self, images: Tensor, truth: Tensor) -> Tensor:
        """Return the distances (N,) of images (N, 3, H, W) in [0, 1], RGB."""
        pair = (2 * torch.cat([images, truth]) - 1 - self.mean) / self.std
        total = torch.zeros(len(images), device=images.device)
        for index, layer in enumerate(self.features):
            pair = layer(pair)
            if index in TAPS:
                a, b = F.normalize(pair, dim=1, eps=1e-10).chunk(2)
                weighted = (a - b).square() * self.weights[TAPS.index(index)]
                total = total + weighted.sum(dim=1).mean(dim=(1, 2))
        return total


class PerceptualDistance:
    """LPIPS; a `FrameMetric`."""

    def __init__(self, network: LPIPS | None):
        """network: on its device; None: not computed."""
        self.network = network
        self.sums = torch.zeros(2, dtype=torch.float64)  # sum of distances, and number of frames

    @torch.inference_mode()
    def update(self, sample: FrameSample) -> None:
        """Add frames; ignored without ground truth or network."""
        if self.network is None or sample.truth is None:
            return
        device = self.network.mean.device
        faces, truth = (upscale(to_planes(images)).to(device) for images in (sample.faces, sample.truth))
        self.sums[0] += float(self.network(faces, truth).sum())
        self.sums[1] += len(faces)

    def compute(self) -> Scores:
        """Return the mean over the frames with ground truth."""
        if self.network is None:
            return not_computed(METRICS, NO_WEIGHTS)
        distance, frames = self.sums.tolist()
        if not frames:
            return not_computed(METRICS, NO_TRUTH)
        return Scores({"lpips": distance / frames})


def upscale(images: Tensor) -> Tensor:
    """Enlarge images (N, 3, H, W) with a side below 64 pixels."""
    height, width = images.shape[2:]
    if min(height, width) >= MIN_SIZE:
        return images
    return F.interpolate(images, (max(height, MIN_SIZE), max(width, MIN_SIZE)), mode="bilinear")
