"""Scores, and metrics fed in batches."""

import numpy as np
import pytest
import torch

from tests.helpers.metrics import add_noise, blur
from wav2lip.evaluation.metrics.base import FrameSample, Scores
from wav2lip.evaluation.metrics.fidelity import Fidelity
from wav2lip.evaluation.metrics.sharpness import Sharpness
from wav2lip.evaluation.metrics.temporal import TemporalStability


def test_scores_reject_nan():
    with pytest.raises(ValueError, match="NaN"):
        Scores({"ssim": float("nan")})


@pytest.mark.parametrize("metric", [Fidelity, Sharpness, TemporalStability])
def test_batches_give_the_scores_of_single_frames(metric, faces):
    degraded, single, batched = [add_noise(blur(face, 1), 4) for face in faces], metric(), metric()
    stacked, truth = (torch.from_numpy(np.stack(images)) for images in (degraded, faces))
    for n in range(2, 6):
        single.update(FrameSample(n, stacked[n : n + 1], (stacked[n - 1 : n], stacked[n - 2 : n - 1]), truth[n : n + 1],
                                  truth[n : n + 1]))  # fmt: skip
    batched.update(FrameSample(2, stacked[2:], (stacked[1:-1], stacked[:-2]), truth[2:], truth[2:]))
    assert batched.compute().values == pytest.approx(single.compute().values, rel=1e-6)
