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
        ops: Any = torch.ops.mkldnn
        activation = _activation(self.slope)
        return ops._convolution_pointwise(x, self.packed, self.bias, self.padding, ones, ones, 1, *activation, "")

    def _convolve(self, x: Tensor) -> Tensor:
        if not self.volume:
            return F.conv2d(x, self.weight, self.bias, padding=self.padding)
        if has_operator("conv3d", x.device.type):
            return F.conv3d(x, self.weight, self.bias, padding=self.padding)
        return conv3d_as_2d(x, self.weight, self.bias, self.padding)

    def _activate(self, x: Tensor) -> Tensor:
        return x if self.slope is None else F.leaky_relu_(x, self.slope) if self.slope else F.relu_(x)


def _activation(slope: float | None) -> tuple[str, list[float]]:
    """Return the name and the parameters of an activation for oneDNN."""
    if slope is None:
        return "none", []
    return ("leaky_relu", [slope]) if slope else ("relu", [])


class PaddedConvolution:
    """A convolution with three taps along the first axis, on input that includes the padding of that axis.

    On the CPU, two cells along the axis are computed at a time by Winograd's minimal filtering F(2, 3)
    (Lavin and Gray 2016): four products instead of six, and in float32 rounding errors below those of the direct
    sum.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        padding: tuple[int, ...],
        slope: float | None = None,
        dtype: torch.dtype = torch.float32,
        is_paired: bool | None = None,
    ):
        """weight: (C', C, 3, kernel). padding: of the other axes. slope, device: see `Convolution`.

        is_paired: compute two cells at a time where possible; in float32 only by default, because rounding errors in
            16 bits grow to 1.6 times those of the direct sum.
        """
        self.out_channels = len(weight)
        self.padding = (0, *padding)[-2:]
        self.slope = slope
        self.bias = None if bias is None else bias.detach().to(dtype)
        self.kernels: list[Tensor] = []
        if dtype == torch.float32 or is_paired:
            self._transform(weight.detach(), dtype)
        self.direct = None if self.kernels else Convolution(weight, bias, (0, *padding), slope, dtype)

    def _transform(self, weight: Tensor, dtype: torch.dtype) -> None:
        """Set the four packed kernels, if this device and version of PyTorch have such convolutions."""
        first, middle, last = weight.unsqueeze(3).unbind(2) if weight.dim() == 4 else weight.unbind(2)
        taps = first, (first + middle + last) / 2, (first - middle + last) / 2, -last
        kernels = [Convolution(kernel, None, self.padding, None, dtype).packed for kernel in taps]
        if all(kernel is not None for kernel in kernels):
            self.kernels = [kernel for kernel in kernels if kernel is not None]

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """x: (N + 2, W, C) or (N + 2, H, W, C), N even. out: of a volume, or None for a new one.

        Returns: (N, W', C') or (N, H', W', C').
        """
        if self.direct is not None:
            result = cells(self.direct(channels(x)))
            return result if out is None else out.copy_(result)
        volume = x if x.dim() == 4 else x[:, None]
        cell_0, cell_1, cell_2, cell_3 = (volume[k : len(x) - 3 + k : 2].movedim(-1, 1) for k in range(4))
        ops: Any = torch.ops.mkldnn
        ones = [1, 1]
        total, difference = (
            ops._convolution_pointwise(each, kernel, None, self.padding, ones, ones, 1, "none", [], "")
            for each, kernel in zip((cell_1 + cell_2, cell_2 - cell_1), self.kernels[1:3], strict=True)
        )
        height, width = total.shape[-2:]
        if out is None:
            out = torch.empty((len(x) - 2, height, width, self.out_channels), dtype=x.dtype)
        even, odd = out.unflatten(0, (-1, 2)).movedim(-1, 2).unbind(1)
        torch.add(total, difference, out=even)
        torch.sub(total, difference, out=odd)
        activation = "relu" if self.slope == 0 else None  # the operator has no other
        for cell, kernel, sums in ((cell_0 - cell_2, self.kernels[0], even), (cell_1 - cell_3, self.kernels[3], odd)):
            ops._convolution_pointwise_.binary(
                sums, cell, kernel, self.bias, self.padding, ones, ones, 1, "add", 1.0, activation, [], ""
            )
        if self.slope:
            F.leaky_relu_(out, self.slope)
        return out if x.dim() == 4 else out[:, 0]


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
