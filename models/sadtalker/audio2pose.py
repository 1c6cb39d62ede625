"""Head motion from audio and a random latent: the decoder of a conditional variational autoencoder."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import conv_stack
from models.sadtalker.audio2exp import AUDIO_FEATURES, NUM_EXPRESSION, encode_audio
from models.sadtalker.pose_unet import PoseUNet
from models.sadtalker.unused import MotionDiscriminator, PoseEncoder
from models.wav2lip import AUDIO_ENCODER

WINDOW = 32  # frames
NUM_POSE = 6  # three angles and a translation
POSE = slice(NUM_EXPRESSION, NUM_EXPRESSION + NUM_POSE)  # columns of the coefficients
LATENT = 64
NUM_STYLES = 46


class PoseDecoder(nn.Module):
    """Head motion of one window relative to a reference pose."""

    def __init__(self) -> None:
        super().__init__()
        self.classbias = nn.Parameter(torch.zeros(NUM_STYLES, LATENT))
        self.resunet = PoseUNet()
        values = WINDOW * NUM_POSE
        self.MLP = nn.Sequential(
            OrderedDict(
                L0=nn.Linear(NUM_POSE + LATENT + values, 128),
                A0=nn.ReLU(),
                L1=nn.Linear(128, values),
                sigmoid=nn.Sigmoid(),
            )
        )
        self.pose_linear = nn.Linear(NUM_POSE, NUM_POSE)
        self.linear_audio = nn.Linear(AUDIO_FEATURES, NUM_POSE)

    def forward(self, audio: Tensor, reference: Tensor, style: Tensor, latent: Tensor) -> Tensor:
        """Return motion relative to the reference, (B, 32, 6) float32.

        audio: (B, 32, 512) embeddings. reference: (B, 6) pose. style: (B,) int64 in [0, 45].
        latent: (B, 64), standard normal.
        """
        return self.decode(self.linear_audio(audio), reference, style, latent)

    def decode(self, audio: Tensor, reference: Tensor, style: Tensor, latent: Tensor) -> Tensor:
        """Return what `forward` returns. audio: (B, 32, 6), the embeddings after `linear_audio`."""
        code = torch.cat([reference, latent + self.classbias[style], audio.flatten(1)], dim=1)
        motion = self.MLP(code).reshape(-1, 1, WINDOW, NUM_POSE)
        return self.pose_linear(self.resunet(motion)[:, 0])


class PoseAutoencoder(nn.Module):
    """Encoder and decoder as the files name them."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = PoseEncoder(NUM_STYLES, LATENT, AUDIO_FEATURES, WINDOW, NUM_POSE)
        self.decoder = PoseDecoder()


class AudioEncoder(nn.Module):
    """Wav2Lip's audio encoder, one name deeper."""

    def __init__(self) -> None:
        super().__init__()
        self.audio_encoder = conv_stack(1, AUDIO_ENCODER, width=1.0)

    def forward(self, mels: Tensor) -> Tensor:
        """mels: (B, T, 1, 80, 16). Returns: (B, T, 512)."""
        return encode_audio(self.audio_encoder, mels)


def blocks(frames: int) -> Iterator[tuple[int, int]]:
    """Yield the first frame and the number of new frames of each window of 32; the last window ends at the last frame.

    The last window starts before its new frames if the number of frames is no multiple of 32, and before 0 if there
    are fewer than 32 frames.
    """
    for start in range(0, frames - WINDOW + 1, WINDOW):
        yield start, WINDOW
    if frames % WINDOW:
        yield frames - WINDOW, frames % WINDOW


class Audio2Pose(nn.Module):
    """Head motion of a clip, window by window."""

    def __init__(self) -> None:
        super().__init__()
        self.audio_encoder = AudioEncoder()
        self.netG = PoseAutoencoder()
        self.netD_motion = MotionDiscriminator(NUM_POSE)

    def forward(
        self, mels: Tensor, coefficients: Tensor, style: int, latents: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return motion relative to the first frame, and the pose before smoothing, (1, T, 6) float32 each.

        mels: (1, T, 1, 80, 16) float32 in [-4, 4].
        coefficients: (1, T, 70) float32; columns 64 to 69 of row 0 are the reference pose.
        style: in [0, 45].
        latents: (N, 64) or (N, 1, 64), one for each window of `blocks(T - 1)`; zeros by default.
        """
        reference = coefficients[:, 0, POSE]
        motion = [torch.zeros_like(reference)[:, None]]
        audio = self.audio_encoder(mels[:, 1:]) if mels.shape[1] > 1 else mels.new_empty(1, 0, AUDIO_FEATURES)
        styles = torch.tensor([style], device=audio.device)
        for n, (start, new) in enumerate(blocks(audio.shape[1])):
            latent = reference.new_zeros(1, LATENT) if latents is None else latents[n].reshape(1, LATENT)
            window = pad_front(audio, -start) if start < 0 else audio[:, start : start + WINDOW]
            motion.append(self.netG.decoder(window, reference, styles, latent)[:, -new:])
        relative = torch.cat(motion, dim=1)
        return relative, reference[:, None] + relative


def pad_front(audio: Tensor, count: int) -> Tensor:
    """Repeat the first of (B, T, C) embeddings, (B, count + T, C)."""
    return F.pad(audio.transpose(1, 2), (count, 0), mode="replicate").transpose(1, 2)
