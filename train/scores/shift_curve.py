"""How far apart lips and sound are for the expert when the sound is moved against the lips.

An expert that has learned sync sees a dip at the true offset; one that goes by the speaker or the room sees a flat
line. The generator's frames are judged likewise: the dip then tells where the lips follow the sound.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from train.processes import sum_of_all
from train.trained import unwrapped
from wav2lip.evaluation.metrics import BY_NAME
from wav2lip.evaluation.metrics.sync import OF_EXPERT, scores_of
from wav2lip.shift_curve import SHIFTS, ShiftCurve

OF_CURVE = ("expert_distance", "expert_confidence", "expert_offset")  # its scores, named as in the evaluation
BETTER = {name: BY_NAME[name].better for name in OF_CURVE}


def curve_scores(curve: ShiftCurve) -> dict[str, float]:
    """As they are logged."""
    found = scores_of(curve, OF_EXPERT).values
    return {name: found[name] for name in OF_CURVE}


def picture_of(curve: ShiftCurve) -> Tensor:
    """(3, H, W) in [0, 1], RGB."""
    figure = Figure(figsize=(6, 3.5), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(SHIFTS, curve.distance, marker=".")
    axes.plot(curve.offset, curve.least, marker="o")
    axes.axvline(0, linewidth=0.5, color="grey")
    axes.set_xlabel("frames that the sound lies after the lips (25 a second)")
    axes.set_ylabel("distance, 1 - cosine")
    axes.set_title(f"least at {curve.offset:+d}, {curve.margin:.3f} below the median")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.array(canvas.buffer_rgba())[..., :3]).movedim(-1, 0) / 255


@torch.no_grad()
def measure(fabric: Fabric, expert: nn.Module, pairs: Iterable[tuple[Tensor, Tensor]]) -> ShiftCurve | None:
    """The mean curve over windows of all processes; None if there are none. The expert stays in the mode it was in.

    pairs: lips (B, 3 * 5, H / 2, W) and the sounds (B, 31, 80, 16) around them at SHIFTS.
    """
    judge: Any = unwrapped(expert)
    mode = judge.training
    judge.eval()
    sums = torch.zeros(len(SHIFTS) + 1, dtype=torch.float64)  # of distances, and how many
    for lips, sounds in pairs:
        with fabric.autocast():
            face = judge.face_encoder(lips).flatten(1)  # (B, D)
            audio = judge.audio_encoder(sounds.flatten(0, 1)[:, None]).flatten(1).unflatten(0, sounds.shape[:2])
        cosine = F.cosine_similarity(audio.float(), face.float()[:, None], dim=2)  # (B, 31)
        sums[:-1] += (1 - cosine).sum(dim=0).cpu().double()
        sums[-1] += len(lips)
    judge.train(mode)
    total = sum_of_all(fabric, sums)
    distance, count = total[:-1].numpy(), int(total[-1])
    return ShiftCurve(distance / count) if count else None
