"""How well the generator repaints held-out mouths."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.data import GeneratorInputs
from train.losses import sync_loss
from wav2lip.crops import mouths

Losses = Callable[[Tensor, GeneratorInputs], dict[str, Tensor]]


@torch.no_grad()
def score_generator(
    fabric: Fabric,
    generator: nn.Module,
    expert: nn.Module,
    batches: Iterable[GeneratorInputs],
    losses_of: Losses,
) -> dict[str, float]:
    """Means of all losses over the batches. Leaves the generator in eval mode.

    Beside them the sync loss of the true frames, which is the mark to reach, and of the reference frames as they
    are, which is what a viewer would see of the sound without the generator.

    losses_of: the terms of the trainer's loss for generated frames (B, 3, 5, 96, 96) and their batch.
    """
    generator.eval()
    sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=fabric.device))
    count = 0
    for batch in batches:
        fake = generator(batch.frame_mels, batch.faces)
        losses = losses_of(fake, batch)
        with fabric.autocast():
            losses["sync_of_truth"] = sync_loss(*expert(batch.window_mel, mouths(batch.target)))
            losses["sync_of_input"] = sync_loss(*expert(batch.window_mel, mouths(batch.faces[:, 3:])))
        for name, loss in losses.items():
            sums[name] += loss.float()
        count += 1
    means: Any = fabric.all_reduce({name: total / count for name, total in sums.items()})
    return {name: mean.item() for name, mean in means.items()}
