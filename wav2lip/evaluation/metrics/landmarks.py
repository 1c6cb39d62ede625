"""How far the points around the made lips lie from those of the truth (LMD)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from wav2lip.evaluation.metrics.likeness import NO_TRUTH
from wav2lip.evaluation.metrics.look import Look, as_values
from wav2lip.evaluation.metrics.metric import LOWER, Metric, Scores, not_computed
from wav2lip.evaluation.metrics.scripted import asked

SIDE = 256  # pixels: what FAN takes
POINTS, MOUTH = 68, slice(48, 68)  # of the 300-W marking: outer and inner lips come last
FLAG = "--landmark_network"
CACHED = "2DFAN4-cd938726ad.zip"  # as the package face-alignment leaves it in torch's cache
METRICS = (
    Metric("lmd", LOWER, "0 to about 30; 0 for equal videos", "% of the face box's width",
           "mean over frames and the 20 points of the lips of the distance between made and true, in the same box",
           "Chen et al. 2018, Lip movements generation at a glance; points: Bulat and Tzimiropoulos 2017 (FAN)",
           f"the true video; {FLAG} (TorchScript: (N, 3, 256, 256) to heat maps (N, 68, h, w)), or face-alignment's "
           "2DFAN4 in torch's cache"),
)  # fmt: skip
NO_NETWORK = (
    f"no network of landmarks is given; give {FLAG} FILE, for instance the 2DFAN4 that face-alignment downloads"
)


class Landmarks:
    """Takes the frames of one video."""

    def __init__(self, network: nn.Module | None, device: torch.device | str = "cpu"):
        """network: (N, 3, 256, 256) float32 RGB in [0, 1] to heat maps (N, 68, h, w); None where none is given."""
        self.network, self.device = network, device
        self._sum, self._frames = 0.0, 0

    @torch.inference_mode()
    def add(self, look: Look) -> None:
        """The next frame; passed over where there is no truth, or no network."""
        if self.network is None or look.truth is None:
            return
        faces = torch.cat([as_values(cv2.resize(face, (SIDE, SIDE))) for face in (look.face, look.truth)])
        maps = asked(self.network, faces.to(self.device), FLAG, f"heat maps (N, {POINTS}, h, w)", 4)
        made, true = peaks(maps[:, MOUTH])
        height, width = look.face.shape[:2]
        apart = (made - true) * np.array([1.0, height / width])  # both in shares of the box's width
        self._sum += float(np.hypot(apart[:, 0], apart[:, 1]).mean())
        self._frames += 1

    def scores(self) -> Scores:
        """Mean over the frames that had a truth."""
        if self.network is None:
            return not_computed(METRICS, NO_NETWORK)
        if not self._frames:
            return not_computed(METRICS, NO_TRUTH)
        return Scores({"lmd": 100 * self._sum / self._frames})


def peaks(maps: Tensor) -> np.ndarray:
    """Where heat maps (N, P, h, w) are highest: (N, P, 2) float64, x and y as shares of their width and height.

    A quarter of a cell towards the higher neighbour, as FAN's decoding has it.
    """
    values = maps.double().cpu().numpy()
    height, width = values.shape[2:]
    best = values.reshape(*values.shape[:2], -1).argmax(axis=-1)
    points = np.stack([best % width, best // width], axis=-1).astype(np.float64)
    for n, p in np.ndindex(*best.shape):
        x, y = int(best[n, p] % width), int(best[n, p] // width)
        if 0 < x < width - 1 and 0 < y < height - 1:
            heat = values[n, p]
            points[n, p] += 0.25 * np.sign([heat[y, x + 1] - heat[y, x - 1], heat[y + 1, x] - heat[y - 1, x]])
    return (points + 0.5) / (width, height)


def cached_network() -> Path | None:
    """The file of FAN in torch's cache, if face-alignment has once left it there."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / CACHED
    return path if path.is_file() else None
