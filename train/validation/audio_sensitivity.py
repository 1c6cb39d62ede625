"""Share by which wrong audio raises the error of generated mouths: do the lips follow the audio? No expert is needed.

The reference frames are of another moment of the clip, so a mouth that is right with its own audio and worse with other
audio can only come from the audio. A generator that ignores the audio has 0.
"""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.data.samples import GeneratorInputs
from train.distributed import all_reduce_sum
from train.trainable import predict
from wav2lip.evaluation.metrics.base import HIGHER
from wav2lip.faces.tensors import crop_mouths

LAG = 16  # windows between one and that of its wrong audio; windows of a validation are at least a frame apart
BETTER = {"audio_sensitivity": HIGHER}


class AudioSensitivityMeter:
    """Accumulates the error of the mouth with right and with wrong audio over one validation in one process.

    The wrong audio of a window is that of the window LAG windows before it, whatever the batches; the first LAG windows
    do not count.
    """

    def __init__(self, fabric: Fabric, generator: nn.Module):
        self.fabric, self.generator = fabric, generator
        self.sums = torch.zeros(2, dtype=torch.float64)  # of the L1 with right and with wrong audio
        self._past: Tensor | None = None  # audio of the last LAG windows

    def update(self, fake: Tensor, batch: GeneratorInputs) -> None:
        """Add the frames (B, 3, 5, R, R) generated from a batch, and generate them again with wrong audio."""
        mels = batch.frame_mels
        past = mels[:0] if self._past is None else self._past
        audio = torch.cat([past, mels])
        self._past = audio[-LAG:]
        sources = torch.arange(len(mels), device=mels.device) + len(past) - LAG
        counts = sources >= 0
        if not counts.any():
            return
        wrong = predict(self.fabric, self.generator, audio[sources.clamp(min=0)], batch.faces)
        errors = [(crop_mouths(frames) - crop_mouths(batch.target)).abs().flatten(1).mean(dim=1)[counts].sum()
                  for frames in (fake, wrong)]  # fmt: skip
        self.sums += torch.stack(errors).double().cpu()

    def compute(self) -> dict[str, float]:
        """Return audio_sensitivity of the windows of all processes, or nothing if none has wrong audio; collective."""
        right, wrong = all_reduce_sum(self.fabric, self.sums).tolist()
        return {"audio_sensitivity": wrong / right - 1} if right else {}
