"""Convolutions for inference: folded weights, and oneDNN's weight order where it applies.

Maps are channels-last, volumes too; a volume (1, C, D, H, W) is one matrix of D * H * W cells by C channels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from models.sadtalker.volumes import conv3d_as_2d, has_operator
from wav2lip.lipsync.optimize.onednn_prepack import can_prepack


class Convolution:
    """A convolution of stride 1 with an activation, on channels-last input of one batch item."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        padding: tuple[int, ...],
        slope: float | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        """weight: (C', C, kernel) of 2 or 3 dimensions, on the device that computes.
        slope: of a leaky ReLU, 0 for a ReLU, None without an activation.
        """
        self.padding, self.slope = padding, slope
        self.volume = weight.dim() == 5
        layout = torch.channels_last_3d if self.volume else torch.channels_last
        self.weight = weight.detach().to(dtype).contiguous(memory_format=layout)
        self.bias = None if bias is None else bias.detach().to(dtype)
        self.packed = self._pack() if weight.device.type == "cpu" and can_prepack() else None

    def _pack(self) -> Tensor | None:
        ones = [1] * len(self.padding)
        try:
            return torch.ops.mkldnn._reorder_convolution_weight(self.weight, self.padding, ones, ones, 1, None)
        except (RuntimeError, TypeError):  # this processor or version of PyTorch has no such form
            return None

    def __call__(self, x: Tensor) -> Tensor:
        if self.packed is None:
            return self._activate(self._convolve(x))
        ones = [1] * len(self.padding)
        name, scalars = {None: ("none", []), 0.0: ("relu", [])}.get(self.slope, ("leaky_relu", [self.slope]))
        ops: Any = torch.ops.mkldnn
        return ops._convolution_pointwise(x, self.packed, self.bias, self.padding, ones, ones, 1, name, scalars, "")

    def _convolve(self, x: Tensor) -> Tensor:
        if not self.volume:
            return F.conv2d(x, self.weight, self.bias, padding=self.padding)
        if has_operator("conv3d", x.device.type):
            return F.conv3d(x, self.weight, self.bias, padding=self.padding)
        return conv3d_as_2d(x, self.weight, self.bias, self.padding)

    def _activate(self, x: Tensor) -> Tensor:
        return x if self.slope is None else F.leaky_relu_(x, self.slope) if self.slope else F.relu_(x)


def fold_norm(conv: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution that is followed by a batch-norm in eval mode."""
    c: Any = conv
    n: Any = norm
    return fuse_conv_bn_weights(c.weight, c.bias, n.running_mean, n.running_var, n.eps, n.weight, n.bias)


def spectral_weight(conv: nn.Module) -> Tensor:
    """Return the weight of a convolution under spectral norm in eval mode: divided by u . (W v)."""
    c: Any = conv
    return c.weight_orig / torch.dot(c.weight_u, c.weight_orig.flatten(1) @ c.weight_v)


def cells(x: Tensor) -> Tensor:
    """Return a channels-last map (1, C, H, W) as (H, W, C), or a volume (1, C, D, H, W) as (D, H, W, C)."""
    return x[0].movedim(0, -1)


def channels(x: Tensor) -> Tensor:
    """Invert `cells`."""
    return x.movedim(-1, 0)[None]
