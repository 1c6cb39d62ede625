"""Scores of the generator on validation windows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.data.samples import GeneratorInputs
from train.losses.sync import sync_loss
from train.sync_expert import embed
from train.trainable import predict
from train.validation import audio_sensitivity, image_quality, offset_curve
from train.validation.audio_sensitivity import AudioSensitivityMeter
from train.validation.image_quality import ImageQualityMeter, QualityNetworks
from train.validation.offset_curve import second_names
from wav2lip.evaluation.metrics.base import LOWER
from wav2lip.faces.tensors import crop_mouths

BETTER = {
    "loss": LOWER, "l1": LOWER, "sync": LOWER, "l1_mouth": LOWER,
    **audio_sensitivity.BETTER, **image_quality.BETTER, **offset_curve.BETTER,
}  # fmt: skip
BETTER_GAN = {"gan_generator": LOWER}
BETTER_FEATURES = {"feature_matching": LOWER}  # distance of the discriminator's features
BETTER_TEACHER = {"teacher": LOWER}  # weighted L1 distance to the frames of the teacher
SECOND_SYNC = "second_sync"  # of a second expert, that the generator is not trained against
BETTER_SECOND = {SECOND_SYNC: LOWER} | {
    new: offset_curve.BETTER[old] for old, new in second_names(offset_curve.BETTER).items()
}

ComputeLosses = Callable[[Tensor, GeneratorInputs], dict[str, Tensor]]


@torch.no_grad()
def score_generator(
    fabric: Fabric,
    generator: nn.Module,
    expert: nn.Module,
    batches: Iterable[GeneratorInputs],
    compute_losses: ComputeLosses,
    quality_networks: QualityNetworks | None = None,
    second_expert: nn.Module | None = None,
) -> dict[str, float]:
    """Return means over all windows of all processes. Collective; leaves the generator in eval mode.

    second_expert: in eval mode; its sync losses are second_sync and second_sync_of_truth.
    compute_losses: returns the trainer's losses for generated frames (B, 3, 5, R, R) and their batch.
    Returns: these losses; the sync loss of the true frames (sync_of_truth), which is the goal, and of the reference
        frames (sync_of_input), which are the output without a generator; l1_mouth of the lower halves;
        audio_sensitivity; image quality.
    """
    generator.eval()
    sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=fabric.device))
    quality, count = ImageQualityMeter(quality_networks or QualityNetworks()), 0
    sensitivity = AudioSensitivityMeter(fabric, generator)
    for batch in batches:
        fake = predict(fabric, generator, batch.frame_mels, batch.faces)
        scores = compute_losses(fake, batch)
        with fabric.autocast():
            scores["sync_of_truth"] = sync_loss(*embed(expert, batch.window_mel, crop_mouths(batch.target)))
            scores["sync_of_input"] = sync_loss(*embed(expert, batch.window_mel, crop_mouths(batch.faces[:, 3:])))
            if second_expert is not None:
                for name, frames in ((SECOND_SYNC, fake), (f"{SECOND_SYNC}_of_truth", batch.target)):
                    scores[name] = sync_loss(*second_expert(batch.window_mel, crop_mouths(frames)))
        scores["l1_mouth"] = F.l1_loss(crop_mouths(fake), crop_mouths(batch.target))
        quality.update(fake, batch.target)
        sensitivity.update(fake, batch)
        for name, score in scores.items():
            sums[name] += score.float() * len(fake)
        count += len(fake)
    sums["count"] = torch.tensor(float(count), device=fabric.device)
    total: Any = fabric.all_reduce(dict(sums), reduce_op="sum")
    windows = total.pop("count")
    means = {name: (value / windows).item() for name, value in total.items()}
    return means | sensitivity.compute() | quality.compute(fabric)
