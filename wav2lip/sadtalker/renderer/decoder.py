"""SPADE decoder for inference: the same numbers as `models.sadtalker.decoder` with less work and memory.

Spectral norm is folded. Scale and offset of a normalization come from one convolution. Layers that read enlarged maps
run at low resolution. On the CPU, convolutions in float32 need two thirds of the products (`PaddedConvolution`), and
large maps are computed in strips of rows that stay in the cache, into buffers that every frame reuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.sadtalker.decoder import HIDDEN_CHANNELS, MIDDLE_BLOCKS, SLOPE, SpadeBlock, SpadeDecoder, SpadeNorm
from wav2lip.sadtalker.renderer.convolution import Convolution, PaddedConvolution, cells, channels, spectral_weight
from wav2lip.sadtalker.renderer.enlarged_input import doubled_input_weight, quadrupled_input_weights, write_phases

EPS = 1e-5
STRIP_BYTES = 4 << 20  # size of a strip's scale and offset on the CPU


class Workspace:
    """Buffers of one stream of frames, by use and shape."""

    def __init__(self, device: torch.device):
        self.device = device
        self._buffers: dict[tuple[str, tuple[int, ...], torch.dtype], Tensor] = {}

    def get(self, use: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a buffer, which contains zeros at first and the previous content later."""
        key = use, shape, dtype
        if key not in self._buffers:
            self._buffers[key] = torch.zeros(shape, dtype=dtype, device=self.device)
        return self._buffers[key]

    def pad(self, use: str, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return a map (H, W, C) between two rows of zeros."""
        padded = self.get(use, (len(x) + 2, *x.shape[1:]), dtype)
        padded[1:-1].copy_(x)
        return padded


class Modulation:
    """Scale and offset of a normalized map from the segmentation map."""

    def __init__(self, norm: SpadeNorm, scale: int, dtype: torch.dtype, project: Tensor | None = None):
        """scale: size of the normalized map relative to the segmentation map, 1, 2 or 4.
        project: (C', C), the 1 x 1 convolution that follows; then the offset is that of its output.
        """
        n: Any = norm
        self.scale, self.dtype = scale, dtype
        weight, bias = n.mlp_shared[0].weight.detach(), n.mlp_shared[0].bias.detach()
        kernels = {1: [], 2: [(doubled_input_weight(weight), (1, 1))], 4: quadrupled_input_weights(weight)}[scale]
        self.hidden = [
            Convolution(kernel, bias.repeat(len(kernel) // len(bias)), padding, 0.0, dtype)
            for kernel, padding in kernels
        ]
        offset, offset_bias = n.mlp_beta.weight, n.mlp_beta.bias
        if project is not None:
            offset, offset_bias = torch.einsum("oc,cikl->oikl", project, offset), project @ offset_bias
        self.channels = len(n.mlp_gamma.bias)
        # In 16 bits, pairs cost 0.02 grey levels in the enlarged maps and another 0.08 in the others.
        self.convolution = PaddedConvolution(
            torch.cat([n.mlp_gamma.weight, offset]), torch.cat([n.mlp_gamma.bias + 1, offset_bias]), (1,), None, dtype,
            is_paired=scale > 1,
        )  # fmt: skip

    def hidden_map(self, segmentation: Tensor, workspace: Workspace) -> Tensor:
        """Return the hidden map between two rows of zeros, (scale * H + 2, scale * W, 128).

        segmentation: (H, W, 256); at scale 1 the hidden map itself (H, W, 128).
        """
        if self.scale == 1:
            return workspace.pad("hidden", segmentation, self.dtype)
        height, width = (self.scale * size for size in segmentation.shape[:2])
        padded = workspace.get("hidden", (height + 2, width, HIDDEN_CHANNELS), self.dtype)
        out = padded[1:-1]
        maps = [cells(convolution(channels(segmentation))) for convolution in self.hidden]
        if self.scale == 2:
            write_phases(maps[0], out, (0, 1), (0, 1), 2)
        else:
            for values, (rows, columns) in zip(maps, product(((0, 3), (1, 2)), repeat=2), strict=True):
                write_phases(values, out, rows, columns, 4)
        return padded

    def strips(self, hidden: Tensor) -> list[slice]:
        """Return the rows of each strip."""
        height = len(hidden) - 2
        rows = height
        if hidden.device.type == "cpu":
            row_bytes = hidden.shape[1] * self.convolution.out_channels * hidden.element_size()
            rows = max(2, STRIP_BYTES // row_bytes // 2 * 2)
        return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]

    def scale_and_offset(self, hidden: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Return 1 + gamma and beta of some rows, (R, W, C) each."""
        values = self.convolution(hidden[rows.start : rows.stop + 2])
        return values[..., : self.channels], values[..., self.channels :]


def enlarge(x: Tensor, rows: slice, factor: int) -> Tensor:
    """Return rows of a map (H, W, C) enlarged by a factor, as a view (R, 1, W, 1, C) that broadcasts over blocks."""
    return x[rows.start // factor : rows.stop // factor, None, :, None]


def blocks(x: Tensor, factor: int) -> Tensor:
    """View a map (H, W, C) as (H / factor, factor, W / factor, factor, C)."""
    return x.unflatten(1, (-1, factor)).unflatten(0, (-1, factor))


def normalize(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Apply instance-norm in float32: (H, W, C) -> (H, W, C) in a dtype."""
    flat = x.flatten(0, 1).float()
    centered = flat - flat.mean(dim=0)
    variance = centered.square().mean(dim=0)  # torch.var_mean and vector_norm are slow along columns
    return centered.mul_((variance + EPS).rsqrt_()).to(dtype).reshape(x.shape)


class Block:
    """A SPADE block with folded weights."""

    def __init__(self, block: SpadeBlock, scale: int, enlargement: int, dtype: torch.dtype):
        """scale: size of the output relative to the segmentation map. enlargement: of the input, 1 or 2."""
        b: Any = block
        self.enlargement, self.dtype = enlargement, dtype
        self.norm_0, self.norm_1 = Modulation(b.norm_0, scale, dtype), Modulation(b.norm_1, scale, dtype)
        self.conv_0, self.conv_1 = (
            PaddedConvolution(spectral_weight(conv), conv.bias, (1,), None, dtype) for conv in (b.conv_0, b.conv_1)
        )
        self.norm_s = None
        if block.learned_shortcut:
            weight = spectral_weight(b.conv_s).detach().flatten(1)
            self.norm_s = Modulation(b.norm_s, scale, dtype, weight)
            self.conv_s = weight.t().to(dtype).contiguous()

    def __call__(self, x: Tensor, segmentation: Sequence[Tensor], workspace: Workspace) -> Tensor:
        """x: (H, W, C) float32. segmentation: see `Modulation.hidden_map`, for each normalization.

        Returns: (H', W', C') float32.
        """
        normalized = normalize(x, self.dtype)
        modulated = self._modulate(self.norm_0, normalized, self.enlargement, segmentation[0], workspace)
        middle = self.conv_0(modulated)
        modulated = self._modulate(self.norm_1, normalize(middle, self.dtype), 1, segmentation[1], workspace)
        residual = self.conv_1(modulated)
        if self.norm_s is None:
            return x.add_(residual)
        return self._shortcut(self.norm_s, normalized, segmentation[2], workspace).add_(residual)

    def _modulate(
        self, norm: Modulation, normalized: Tensor, factor: int, segmentation: Tensor, workspace: Workspace
    ) -> Tensor:
        """Enlarge, scale and offset a map, and apply the leaky ReLU; the result is between two rows of zeros."""
        hidden = norm.hidden_map(segmentation, workspace)
        padded = workspace.get("modulated", (len(hidden), hidden.shape[1], norm.channels), self.dtype)
        out = padded[1:-1]
        for rows in norm.strips(hidden):
            scale, offset = (blocks(values, factor) for values in norm.scale_and_offset(hidden, rows))
            torch.addcmul(offset, scale, enlarge(normalized, rows, factor), out=blocks(out[rows], factor))
            F.leaky_relu_(out[rows], SLOPE)
        return padded

    def _shortcut(self, norm: Modulation, normalized: Tensor, segmentation: Tensor, workspace: Workspace) -> Tensor:
        hidden = norm.hidden_map(segmentation, workspace)
        height, width = len(hidden) - 2, hidden.shape[1]
        out = workspace.get("shortcut", (height, width, self.conv_s.shape[1]), torch.float32)
        for rows in norm.strips(hidden):
            scale, offset = norm.scale_and_offset(hidden, rows)
            scaled = blocks(scale, self.enlargement) * enlarge(normalized, rows, self.enlargement)
            out[rows] = (scaled.reshape(-1, norm.channels) @ self.conv_s).reshape(offset.shape).add_(offset)
        return out


class Decoder:
    """Decoder with folded weights; first and last convolution in float32, where 16 bits would cost most."""

    def __init__(self, decoder: SpadeDecoder, dtype: torch.dtype):
        d: Any = decoder
        self.dtype = dtype
        self.fc = PaddedConvolution(d.fc.weight, d.fc.bias, (1,))
        middle: list[Any] = [d.get_submodule(f"G_middle_{n}") for n in range(MIDDLE_BLOCKS)]
        shared = [norm.mlp_shared[0] for block in middle for norm in (block.norm_0, block.norm_1)]
        weight, bias = (torch.cat([getattr(conv, name) for conv in shared]) for name in ("weight", "bias"))
        self.hidden = PaddedConvolution(weight, bias, (1,), 0.0, dtype)  # of all middle blocks at once
        self.middle = [Block(block, 1, 1, dtype) for block in middle]
        self.up = [Block(d.up_0, 2, 2, dtype), Block(d.up_1, 4, 2, dtype)]
        self.image = Convolution(d.conv_img.weight, d.conv_img.bias, (1, 1))

    def __call__(self, segmentation: Tensor, workspace: Workspace) -> Tensor:
        """segmentation: (H + 2, W, 256) float32 between two rows of zeros.

        Returns: (4 * H, 4 * W, 3) float32 in (0, 1), RGB.
        """
        x = self.fc(segmentation)
        if self.dtype != segmentation.dtype:
            segmentation = workspace.pad("segmentation", segmentation[1:-1], self.dtype)
        hidden = self.hidden(segmentation).split(HIDDEN_CHANNELS, dim=-1)
        for index, block in enumerate(self.middle):
            x = block(x, hidden[2 * index : 2 * index + 2], workspace)
        for block in self.up:
            x = block(x, 3 * [segmentation[1:-1]], workspace)
        return cells(self.image(channels(F.leaky_relu_(x, SLOPE)))).sigmoid_()
