"""Offset curve of the validation windows: distance of lips and audio against the shift of the audio.

For true frames, the curve of an expert that has learned sync has its minimum at 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from train.distributed import all_reduce_sum
from train.sync_expert import eval_mode
from train.trainable import unwrap
from wav2lip.evaluation.metrics import BY_NAME
from wav2lip.evaluation.metrics.sync import EXPERT_METRICS, score_curve
from wav2lip.sync.offset_curve import SHIFTS, MeanCurve, OffsetCurve, cosine_distance

CURVE_METRICS = ("expert_distance", "expert_confidence", "expert_offset")  # names as in wav2lip.evaluate
BETTER = {name: BY_NAME[name].better for name in CURVE_METRICS}
SECOND = "second_"  # prefix of the scores of a second expert


def curve_scores(curve: OffsetCurve) -> dict[str, float]:
    """Return the scores that are logged."""
    values = score_curve(curve, EXPERT_METRICS).values
    return {name: values[name] for name in CURVE_METRICS}


def second_names(names: Iterable[str]) -> dict[str, str]:
    """Return the name of each score when it is of a second expert: expert_offset becomes second_offset."""
    return {name: SECOND + name.removeprefix("expert_") for name in names}


def plot_curve(curve: OffsetCurve) -> Tensor:
    """Return an image (3, H, W) in [0, 1], RGB."""
    figure = Figure(figsize=(6, 3.5), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(SHIFTS, curve.distance, marker=".")
    axes.plot(curve.offset, curve.min_distance, marker="o")
    axes.axvline(0, linewidth=0.5, color="gray")
    axes.set_xlabel("frames by which the audio lags the video (25 fps)")
    axes.set_ylabel("distance, 1 - cosine")
    axes.set_title(f"minimum at {curve.offset:+d}, {curve.confidence:.3f} below the median")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.array(canvas.buffer_rgba())[..., :3]).movedim(-1, 0) / 255


@torch.no_grad()
def measure_curve(fabric: Fabric, expert: nn.Module, pairs: Iterable[tuple[Tensor, Tensor]]) -> OffsetCurve | None:
    """Return the mean curve over the windows of all processes; None without windows.

    pairs: lips (B, 3 * 5, H / 2, W) and mel windows (B, 31, 80, 16) at SHIFTS.
    """
    network: Any = unwrap(expert)
    mean = MeanCurve(cosine_distance)
    with eval_mode(network):
        for lips, mels in pairs:
            with fabric.autocast():
                face = network.face_encoder(lips).flatten(1)  # (B, D)
                audio = network.audio_encoder(mels.flatten(0, 1)[:, None]).flatten(1).unflatten(0, mels.shape[:2])
            mean.update(face.float(), audio.float())
    mean.sums = all_reduce_sum(fabric, mean.sums)
    return mean.compute()
