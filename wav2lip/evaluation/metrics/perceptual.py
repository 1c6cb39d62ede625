"""LPIPS: how far apart two pictures look to a network whose features were weighed by what people said."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wav2lip.checkpoints import PathType, load_checkpoint
from wav2lip.errors import InputError
from wav2lip.evaluation.metrics.likeness import NO_TRUTH
from wav2lip.evaluation.metrics.look import Look, as_values
from wav2lip.evaluation.metrics.metric import LOWER, Metric, Scores, not_computed

TAPS = (1, 4, 7, 9, 11)  # places of the five ReLUs among AlexNet's layers
CHANNELS = (64, 192, 384, 256, 256)
MIDDLE, SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of RGB in [-1, 1], as LPIPS was published with
SMALLEST = 64  # pixels: AlexNet has no features of less

METRICS = (
    Metric("lpips", LOWER, "0 to about 1, 0 for equal videos", "",
           "mean over frames of LPIPS 0.1 with AlexNet: squared differences of its features, each of length 1 over the "
           "channels, weighed, mean over places, sum over 5 layers; of the face box at its own size, 64 pixels or more",
           "Zhang et al. 2018, The unreasonable effectiveness of deep features as a perceptual metric",
           "the true video; --lpips_backbone (torchvision's AlexNet) and --lpips_weights (the alex.pth of LPIPS)"),
)  # fmt: skip
NO_WEIGHTS = (
    "its weights are not given: --lpips_backbone FILE (alexnet-owt-7be5be79.pth of torchvision) and "
    "--lpips_weights FILE (lpips/weights/v0.1/alex.pth of the package lpips)"
)


class LPIPS(nn.Module):
    """AlexNet's features and a weight for each of their channels."""

    middle: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import alexnet  # seconds to import, and asked for by few

        self.features = alexnet(weights=None).features[: TAPS[-1] + 1]
        self.weights = nn.ParameterList(torch.zeros(1, channels, 1, 1) for channels in CHANNELS)
        self.register_buffer("middle", torch.tensor(MIDDLE).view(3, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(SPREAD).view(3, 1, 1), persistent=False)

    @classmethod
    def from_files(cls, backbone: PathType, weights: PathType) -> LPIPS:
        """backbone: torchvision's AlexNet. weights: LPIPS's own, lin0.model.1.weight and so on; frozen.

        Raises: InputError if one of the files does not fit.
        """
        network = cls()
        seen, weighed = load_checkpoint(backbone).state_dict, load_checkpoint(weights).state_dict
        wanted: dict[str, Any] = {}
        try:
            wanted |= {name: seen[name] for name in network.state_dict() if name.startswith("features.")}
        except KeyError as error:
            raise InputError(f"{backbone}: has no {error}; give torchvision's alexnet-owt-7be5be79.pth") from error
        try:
            wanted |= {f"weights.{n}": weighed[f"lin{n}.model.1.weight"] for n in range(len(TAPS))}
        except KeyError as error:
            raise InputError(f"{weights}: has no {error}; give lpips/weights/v0.1/alex.pth") from error
        try:
            network.load_state_dict(wanted)
        except RuntimeError as error:
            raise InputError(
                f"{backbone}, {weights}: their shapes are not AlexNet's and LPIPS's for it; give "
                "alexnet-owt-7be5be79.pth and lpips/weights/v0.1/alex.pth"
            ) from error
        return network.eval().requires_grad_(False)

    def forward(self, made: Tensor, true: Tensor) -> Tensor:
        """Distance of pictures (N, 3, H, W) in [0, 1], RGB: (N,)."""
        pair = (2 * torch.cat([made, true]) - 1 - self.middle) / self.spread
        total = torch.zeros(len(made), device=made.device)
        for place, layer in enumerate(self.features):
            pair = layer(pair)
            if place in TAPS:
                a, b = F.normalize(pair, dim=1, eps=1e-10).chunk(2)
                weighed = (a - b).square() * self.weights[TAPS.index(place)]
                total = total + weighed.sum(dim=1).mean(dim=(1, 2))
        return total


class Perceptual:
    """Takes the frames of one video."""

    def __init__(self, network: LPIPS | None):
        """network: on its device; None where its weights are not given."""
        self.network = network
        self._sum, self._frames = 0.0, 0

    @torch.inference_mode()
    def add(self, look: Look) -> None:
        """The next frame; passed over where there is no truth, or no network."""
        if self.network is None or look.truth is None:
            return
        device = self.network.middle.device
        made, true = (large_enough(as_values(face)).to(device) for face in (look.face, look.truth))
        self._sum += float(self.network(made, true))
        self._frames += 1

    def scores(self) -> Scores:
        """Mean over the frames that had a truth."""
        if self.network is None:
            return not_computed(METRICS, NO_WEIGHTS)
        if not self._frames:
            return not_computed(METRICS, NO_TRUTH)
        return Scores({"lpips": self._sum / self._frames})


def large_enough(picture: Tensor) -> Tensor:
    """(1, 3, H, W), made larger where a side is below 64 pixels."""
    height, width = picture.shape[2:]
    if min(height, width) >= SMALLEST:
        return picture
    return F.interpolate(picture, (max(height, SMALLEST), max(width, SMALLEST)), mode="bilinear")
