"""Thin generators with realistic statistics, random inputs, and the plain loop they are compared with."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from models import Wav2Lip


def build_generator(width=0.125, resolution=96, trained=True) -> Wav2Lip:
    """A random generator; trained: with statistics that vary between channels and output of every level."""
    torch.manual_seed(0)
    generator = Wav2Lip(width, resolution).eval()
    return randomize_statistics(generator) if trained else generator


def randomize_statistics(generator: Wav2Lip) -> Wav2Lip:
    rng = torch.Generator().manual_seed(1)
    for layer in generator.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.3, generator=rng)
            layer.running_var.uniform_(0.5, 2, generator=rng)
            nn.init.uniform_(layer.weight, 0.7, 1.6, generator=rng)
            nn.init.normal_(layer.bias, 0, 0.3, generator=rng)
    with torch.no_grad():
        generator.output_block[1].weight *= 8
    return generator


def random_inputs(count, size=96, seed=0):
    """Face crops, mel windows and reference crops."""
    rng = np.random.default_rng(seed)
    mels = rng.uniform(-4, 4, (count, 1, 80, 16)).astype(np.float32)
    return (rng.integers(0, 256, (count, size, size, 3), np.uint8), mels,
            rng.integers(0, 256, (count, size, size, 3), np.uint8))  # fmt: skip


@torch.no_grad()
def generate_reference(generator, crops, mels, references) -> np.ndarray:
    """One face at a time in float32, BGR, as upstream does; not truncated to integers."""
    frames = []
    for crop, mel, reference in zip(crops, mels, references, strict=True):
        masked = crop[..., ::-1].copy()
        masked[len(crop) // 2 :] = 0
        stacked = np.concatenate([masked, reference[..., ::-1]], axis=2).transpose(2, 0, 1)[None] / 255.0
        out = generator(torch.from_numpy(mel[None]), torch.from_numpy(stacked.astype(np.float32)))
        frames.append(out[0].numpy().transpose(1, 2, 0)[..., ::-1] * 255.0)
    return np.stack(frames)
