"""Small restoration networks with random weights, in files as their authors publish them."""

from __future__ import annotations

import torch
from spandrel.architectures.Compact import Compact


def build_compact(scale=1, channels=3):
    """Return a small Real-ESRGAN compact network."""
    torch.manual_seed(0)
    return Compact(num_in_ch=channels, num_out_ch=channels, num_feat=8, num_conv=2, upscale=scale).eval()


def save_network(path, network, wrap=lambda weights: {"params_ema": weights}):
    """Save weights in the form that the authors of the networks publish."""
    torch.save(wrap(network.state_dict()), path)
    return path
