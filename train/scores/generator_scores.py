"""How well the generator repaints held-out mouths."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.data.samples import GeneratorInputs
from train.expert import judged
from train.losses import sync_loss
from train.scores import seen, shift_curve
from train.scores.seen import Seen, Viewers
from train.trained import asked
from wav2lip.crops import mouths
from wav2lip.evaluation.metrics.metric import LOWER

BETTER = {"loss": LOWER, "l1": LOWER, "sync": LOWER, "l1_mouth": LOWER, **seen.BETTER, **shift_curve.BETTER}
OF_CRITIC = {"perceptual": LOWER}

Losses = Callable[[Tensor, GeneratorInputs], dict[str, Tensor]]


@torch.no_grad()
def score_generator(
    fabric: Fabric,
    generator: nn.Module,
    expert: nn.Module,
    batches: Iterable[GeneratorInputs],
    losses_of: Losses,
    viewers: Viewers | None = None,
) -> dict[str, float]:
    """Means over all windows of the batches and the processes. Leaves the generator in eval mode.

    Of the terms of the loss; of the sync loss of the true frames, which is the mark to reach, and of the reference
    frames as they are, which is what a viewer would see of the sound without the generator; of the mean absolute error
    of the lower halves; and of what is seen, as the evaluation measures it.

    viewers: networks that look at the frames, beside what needs none.
    losses_of: the terms of the trainer's loss for generated frames (B, 3, 5, R, R) and their batch.
    """
    generator.eval()
    sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=fabric.device))
    looked, count = Seen(viewers or Viewers()), 0
    for batch in batches:
        fake = asked(fabric, generator, batch.frame_mels, batch.faces)
        scores = losses_of(fake, batch)
        with fabric.autocast():
            scores["sync_of_truth"] = sync_loss(*judged(expert, batch.window_mel, mouths(batch.target)))
            scores["sync_of_input"] = sync_loss(*judged(expert, batch.window_mel, mouths(batch.faces[:, 3:])))
        scores["l1_mouth"] = F.l1_loss(mouths(fake), mouths(batch.target))
        looked.add(fake, batch.target)
        for name, score in scores.items():
            sums[name] += score.float() * len(fake)
        count += len(fake)
    counted = {**sums, "count": torch.tensor(float(count), device=fabric.device)}
    total: Any = fabric.all_reduce(counted, reduce_op="sum")
    windows = total.pop("count")
    return {name: (value / windows).item() for name, value in total.items()} | looked.scores(fabric)
