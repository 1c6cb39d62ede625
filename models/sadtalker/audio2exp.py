"""Expression coefficients from audio."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.blocks import conv_stack
from models.wav2lip import AUDIO_ENCODER

NUM_EXPRESSION = 64
AUDIO_FEATURES = AUDIO_ENCODER[-1].channels


def encode_audio(encoder: nn.Module, mels: Tensor) -> Tensor:
    """Embed mel windows (B, T, 1, 80, 16) as (B, T, 512)."""
    return encoder(mels.flatten(0, 1)).reshape(*mels.shape[:2], AUDIO_FEATURES)


class Audio2Exp(nn.Module):
    """Wav2Lip's audio encoder and a linear layer; frames are independent."""

    def __init__(self) -> None:
        super().__init__()
        self.audio_encoder = conv_stack(1, AUDIO_ENCODER, width=1.0)
        self.mapping1 = nn.Linear(AUDIO_FEATURES + NUM_EXPRESSION + 1, NUM_EXPRESSION)

    def forward(self, mels: Tensor, reference: Tensor, blink_ratio: Tensor) -> Tensor:
        """Return expression coefficients, (B, T, 64) float32.

        mels: (B, T, 1, 80, 16) float32 in [-4, 4].
        reference: (B, T, 64) float32, expression of the source; further columns are ignored.
        blink_ratio: (B, T, 1) float32, 0 for open eyes, 1 for closed ones.
        """
        audio = encode_audio(self.audio_encoder, mels)
        return self.mapping1(torch.cat([audio, reference[..., :NUM_EXPRESSION], blink_ratio], dim=-1))
