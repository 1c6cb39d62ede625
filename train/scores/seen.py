"""What a viewer sees of generated faces, by the functions that wav2lip.evaluate measures videos with.

Frames are cut down to bytes first, as in a video, so the same frames have the same scores in both. The five frames of a
window are a video of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from train.processes import sum_of_all
from wav2lip.checkpoints import PathType
from wav2lip.crops import from_network
from wav2lip.errors import InputError
from wav2lip.evaluation.metrics import BY_NAME
from wav2lip.evaluation.metrics.frechet import (
    WEIGHTS,
    Cloud,
    FaceFeatures,
    Features,
    frechet_distance,
    inception_features,
    scripted_features,
)
from wav2lip.evaluation.metrics.look import Look, grey, lower_half
from wav2lip.evaluation.metrics.perceptual import LPIPS
from wav2lip.evaluation.metrics.sharpness import edges
from wav2lip.evaluation.metrics.steadiness import unsteadiness
from wav2lip.image_metrics import lower_halves, psnr_of_all, ssim

ALWAYS = ("psnr_mouth", "ssim_mouth", "sharpness", "flicker")
BETTER = {name: BY_NAME[name].better for name in ALWAYS}
REMEDY = {  # of the scores that need weights
    "lpips": "lpips_backbone=FILE (alexnet-owt-7be5be79.pth of torchvision) lpips_weights=FILE (lpips/weights/v0.1/"
    "alex.pth of the package lpips)",
    "fid": f"fid_weights=FILE ({WEIGHTS}; needs pip install wav2lip-toolkit[evaluation]), or fid_network=FILE",
}
OF_FRAME = ("frames", "ssim", "edges", "edges_true", "lpips")  # sums over frames
OF_PIXELS = ("squares", "values")  # squared errors of all bytes of the mouths, and how many these are
OF_FLICKER = ("thirds", "flicker", "flicker_true")  # frames with two before them, and sums over these


@dataclass(frozen=True)
class Viewers:
    """The networks that look at frames; None for one whose weights are not given."""

    lpips: LPIPS | None = None
    features: Features | None = None  # for FID

    @classmethod
    def of(
        cls, device: torch.device, *, lpips_backbone: PathType | None, lpips_weights: PathType | None,
        fid_weights: PathType | None, fid_network: PathType | None,
    ) -> Viewers:  # fmt: skip
        """From the files of those that are wanted.

        Raises: InputError for a file that cannot be used, and for one without the other that it needs.
        """
        if (lpips_backbone is None) != (lpips_weights is None):
            raise InputError(
                f"lpips_backbone={lpips_backbone}, lpips_weights={lpips_weights}: one is nothing without the other; "
                "give both or none"
            )
        lpips = features = None
        if lpips_backbone is not None and lpips_weights is not None:
            lpips = LPIPS.from_files(lpips_backbone, lpips_weights).to(device)
        if fid_network is not None:
            features = scripted_features(fid_network, device)
        elif fid_weights is not None:
            features = inception_features(fid_weights, device)
        return cls(lpips, features)

    @property
    def better(self) -> dict[str, str]:
        """Which values are better, of every score that is computed."""
        there = {"lpips": self.lpips, "fid": self.features}
        return BETTER | {name: BY_NAME[name].better for name, network in there.items() if network is not None}

    def check(self, watched: str) -> None:
        """InputError for a score that is not computed, as its weights are not given."""
        if watched in REMEDY and watched not in self.better:
            raise InputError(
                f"watch={watched}: is not computed, as its weights are not given; add {REMEDY[watched]}, or watch "
                "another score"
            )


class Seen:
    """Sums over the frames of one validation in one process."""

    def __init__(self, viewers: Viewers):
        self.viewers = viewers
        self._sums = dict.fromkeys((*OF_FRAME, *OF_PIXELS, *OF_FLICKER), 0.0)
        self._faces = [FaceFeatures(viewers.features) for _ in range(2)] if viewers.features else []

    def add(self, fake: Tensor, target: Tensor) -> None:
        """Take in generated and true frames, both (B, 3, T, H, W) BGR in [0, 1]."""
        made, true = (from_network(frames.transpose(1, 2)) for frames in (fake, target))  # (B, T, H, W, 3) uint8 RGB
        self._compare(made.movedim(-1, 1), true.movedim(-1, 1))
        for window in zip(made.cpu().numpy(), true.cpu().numpy(), strict=True):
            self._look(*window)

    def _compare(self, made: Tensor, true: Tensor) -> None:
        """Batches (B, 3, T, H, W) of bytes, where they lie."""
        mouths = lower_halves(made), lower_halves(true)
        self._sums["squares"] += float((mouths[0].int() - mouths[1].int()).square().sum())
        self._sums["values"] += mouths[0].numel()
        self._sums["ssim"] += float(ssim(mouths[0].float() / 255, mouths[1].float() / 255).sum())
        if self.viewers.lpips is not None:
            faces = (part.transpose(1, 2).flatten(0, 1).float() / 255 for part in (made, true))
            self._sums["lpips"] += float(self.viewers.lpips(*faces).sum())

    def _look(self, made: np.ndarray, true: np.ndarray) -> None:
        """A window (T, H, W, 3) of bytes, frame by frame."""
        for frame in range(len(made)):
            self._sums["frames"] += 1
            self._sums["edges"] += edges(made[frame])
            self._sums["edges_true"] += edges(true[frame])
            for faces, face in zip(self._faces, (made[frame], true[frame]), strict=False):
                faces.add(Look(frame, face))
        shades = [[grey(lower_half(face)) for face in faces] for faces in (made, true)]
        for frame in range(2, len(made)):
            self._sums["thirds"] += 1
            for name, shade in zip(OF_FLICKER[1:], shades, strict=True):
                self._sums[name] += unsteadiness(*shade[frame - 2 : frame + 1][::-1])

    def scores(self, fabric: Fabric) -> dict[str, float]:
        """Of the frames of all processes; all of them must call it."""
        total = sum_of_all(fabric, torch.tensor(list(self._sums.values()), dtype=torch.float64))
        sums = dict(zip(self._sums, total.tolist(), strict=True))
        found = {
            "psnr_mouth": float(psnr_of_all(sums["squares"], sums["values"])),
            "ssim_mouth": sums["ssim"] / sums["frames"],
            "sharpness": sums["edges"] / sums["edges_true"] if sums["edges_true"] else float("nan"),
            "flicker": sums["flicker"] / sums["thirds"],
            "flicker_of_truth": sums["flicker_true"] / sums["thirds"],
        }
        if self.viewers.lpips is not None:
            found["lpips"] = sums["lpips"] / sums["frames"]
        if self._faces:
            made, real = (_of_all(fabric, faces.found()) for faces in self._faces)
            found["fid"] = frechet_distance(made, real)
        return found


def _of_all(fabric: Fabric, features: np.ndarray) -> Cloud:
    """The cloud of the features (N, D) of all processes."""
    cloud = Cloud.of([features])
    assert cloud is not None  # every process has windows
    if fabric.world_size == 1:
        return cloud
    parts = (np.array([float(cloud.count)]), cloud.total, cloud.products.ravel())
    count, total, products = (sum_of_all(fabric, torch.from_numpy(part)).numpy() for part in parts)
    return Cloud(int(count[0]), total, products.reshape(cloud.products.shape))
