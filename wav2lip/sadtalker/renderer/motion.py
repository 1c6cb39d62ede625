"""Dense motion for inference: the same numbers as `models.sadtalker.dense_motion` with less work per frame.

The flow of a keypoint shifts the whole volume by one vector, so that its warp is a product of three small matrices,
one per axis, and its heatmap a product of three lines. What depends on the source only is computed once.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.sadtalker.dense_motion import COMPRESSED, HEATMAP_VARIANCE, MASK_THRESHOLD, NUM_FLOWS, DenseMotion
from models.sadtalker.volumes import axis_positions, identity_grid
from wav2lip.sadtalker.renderer.convolution import Convolution, PaddedConvolution, fold_norm
from wav2lip.sadtalker.renderer.enlarged_input import doubled_input_weight, write_phases

PADDING = (1, 1)
MASK_MARGIN = 3  # cells that the mask convolution reads on each side
OCCLUSION_KERNEL = 7


class MotionNetwork:
    """Weights of a dense motion network, folded and in a precision."""

    def __init__(self, network: DenseMotion, dtype: torch.dtype):
        self.dtype = dtype
        self.compress = Convolution(*fold_norm(network.compress, network.norm), padding=(0, 0, 0), slope=0.0)
        self.down, self.up = [], []
        hourglass: Any = network.hourglass
        for index, block in enumerate(hourglass.encoder.down_blocks):
            weight, bias = fold_norm(block.conv, block.norm)
            weight = reorder_flows(weight) if index == 0 else weight
            self.down.append(PaddedConvolution(weight, bias, PADDING, 0.0, dtype))
        for block in hourglass.decoder.up_blocks:
            weight, bias = fold_norm(block.conv, block.norm)
            self.up.append(PaddedConvolution(doubled_input_weight(weight), bias.repeat(4), PADDING, 0.0, dtype))
        weight, bias = fold_norm(hourglass.decoder.conv, hourglass.decoder.norm)
        inputs = NUM_FLOWS * (COMPRESSED + 1)
        weight = torch.cat([weight[:, :-inputs], reorder_flows(weight[:, -inputs:])], dim=1)
        self.last = PaddedConvolution(weight, bias, PADDING, 0.0, dtype)
        # Of its seven taps along the depth: three, three and one, because oneDNN computes seven at 0.7 of its speed.
        taps, padding = network.mask.weight, (MASK_MARGIN, MASK_MARGIN)
        self.mask = [
            PaddedConvolution(taps[:, :, first : first + 3], bias, padding, None, dtype)
            for first, bias in ((0, network.mask.bias), (3, None))
        ]
        self.last_mask_tap = Convolution(taps[:, :, 6], None, padding, None, dtype)
        self.occlusion, self.occlusion_bias = self._occlusion_taps(network, dtype)

    @staticmethod
    def _occlusion_taps(network: DenseMotion, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the weights of the occlusion convolution, (D, C, 49), each tap in the order of F.fold."""
        conv = network.occlusion
        in_channels = network.mask.in_channels
        taps = conv.weight.detach()[0].flip(-2, -1).flatten(1).unflatten(0, (in_channels, -1))
        assert conv.bias is not None
        return taps.transpose(0, 1).to(dtype).contiguous(), conv.bias.detach()


def reorder_flows(weight: Tensor) -> Tensor:
    """Reorder input channels from (heatmap, features) of each flow to all heatmaps, then all features."""
    flows = weight.unflatten(1, (NUM_FLOWS, COMPRESSED + 1))
    return torch.cat([flows[:, :, 0], flows[:, :, 1:].flatten(1, 2)], dim=1)


class SourceMotion:
    """Motion of one source, with the buffers of its frames; one thread at a time."""

    def __init__(self, network: MotionNetwork, features: Tensor, source: Tensor):
        """features: (1, 32, D, H, W) float32. source: (15, 3) float32 keypoints."""
        self.network, self.source = network, source
        self.depth, self.height, self.width = sizes = features.shape[2:]
        device = features.device
        compressed = network.compress(features)[0]  # (4, D, H, W)
        self.rows = compressed.permute(2, 0, 1, 3).reshape(self.height, -1)  # (H, 4 * D * W)
        self.axes = [axis_positions(size, device) for size in reversed(sizes)]  # x, y, z
        self.grid = identity_grid(self.depth, self.height, self.width, device).flatten(0, 2)
        self.source_heatmaps = self._heatmaps(source)
        # Concatenated maps of the hourglass between two planes of zeros, by size, largest first; then the smallest map.
        self.buffers: list[Tensor] = []
        height, width = self.height, self.width
        inputs = [NUM_FLOWS * (COMPRESSED + 1), *(down.out_channels for down in network.down)]
        outputs = [*(up.out_channels // 4 for up in reversed(network.up)), 0]
        for size in (sum(pair) for pair in zip(inputs, outputs, strict=True)):
            shape = (self.depth + 2, height, width, size)
            self.buffers.append(torch.zeros(shape, dtype=network.dtype, device=device))
            height, width = height // 2, width // 2
        shape = (self.depth + 2 * MASK_MARGIN, self.height, self.width, network.last.out_channels)
        self.features = torch.zeros(shape, dtype=network.dtype, device=device)

    def __call__(self, driving: Tensor) -> tuple[Tensor, Tensor]:
        """Return the deformation (D, H, W, 3) and the occlusion (H, W, 1) of a frame, float32.

        driving: (15, 3) float32 keypoints.
        """
        shifts = F.pad(self.source - driving, (0, 0, 1, 0))  # (16, 3)
        x = self._hourglass(driving, shifts)
        masks = F.softmax(self._masks(x).flatten(0, 2), dim=1)
        masks.masked_fill_(masks < MASK_THRESHOLD, 0)
        deformation = torch.addmm(self.grid * masks.sum(dim=1, keepdim=True), masks, shifts)
        occlusion = self._occlusion(x[MASK_MARGIN:-MASK_MARGIN])
        return deformation.reshape(self.depth, self.height, self.width, 3), occlusion

    def _masks(self, x: Tensor) -> Tensor:
        """Return the logits of the flows, (D, H, W, 16) float32. x: see `_hourglass`."""
        masks = self.network.last_mask_tap(x[2 * MASK_MARGIN :].movedim(-1, 1)).movedim(1, -1).float()  # depth as batch
        for first, convolution in zip((0, 3), self.network.mask, strict=True):
            masks = masks + convolution(x[first : first + self.depth + 2])
        return masks

    def _hourglass(self, driving: Tensor, shifts: Tensor) -> Tensor:
        """Return the features of a frame between three planes of zeros on each side, (D + 6, H, W, C)."""
        x = self.buffers[0][..., -NUM_FLOWS * (COMPRESSED + 1) :]
        x[1:-1, ..., 0] = 0  # the background has no heatmap
        x[1:-1, ..., 1:NUM_FLOWS].copy_(self._heatmaps(driving) - self.source_heatmaps)
        self._warp(shifts, x[1:-1, ..., NUM_FLOWS:])
        for conv, buffer in zip(self.network.down, self.buffers[1:], strict=True):
            pooled = F.avg_pool2d(conv(x).movedim(-1, 1), 2)  # depth as batch
            x = buffer[..., -conv.out_channels :]
            x[1:-1].copy_(pooled.movedim(1, -1))
        for buffer, conv in zip(reversed(self.buffers[:-1]), self.network.up, strict=True):
            write_phases(conv(x), buffer[1:-1, ..., : conv.out_channels // 4], (0, 1), (0, 1), 2)
            x = buffer
        self.network.last(x, out=self.features[MASK_MARGIN:-MASK_MARGIN])
        return self.features

    def _heatmaps(self, keypoints: Tensor) -> Tensor:
        """Return the heatmaps of keypoints, (D, H, W, 15)."""
        x, y, z = (
            torch.exp(-0.5 * (axis[:, None] - keypoints[:, n]).square() / HEATMAP_VARIANCE)
            for n, axis in enumerate(self.axes)
        )
        return z[:, None, None] * (y[:, None] * x)

    def _warp(self, shifts: Tensor, out: Tensor) -> None:
        """Write the compressed features warped by each flow, (D, H, W, 16 * 4)."""
        x, y, z = (linear_weights(axis, shifts[:, n]) for n, axis in enumerate(self.axes))
        moved = (y.flatten(0, 1) @ self.rows).reshape(NUM_FLOWS, -1, self.width)  # (16, H * 4 * D, W)
        moved = torch.bmm(moved, x.transpose(1, 2))
        moved = moved.reshape(NUM_FLOWS, self.height * COMPRESSED, self.depth, self.width)
        moved = torch.matmul(z[:, None], moved).reshape(NUM_FLOWS, self.height, COMPRESSED, self.depth, self.width)
        out.unflatten(-1, (NUM_FLOWS, COMPRESSED)).copy_(moved.permute(3, 1, 4, 0, 2))

    def _occlusion(self, x: Tensor) -> Tensor:
        """x: (D, H, W, C). Returns: (H, W, 1) float32 in (0, 1)."""
        taps = torch.bmm(x.flatten(1, 2), self.network.occlusion).sum(dim=0, dtype=torch.float32)
        size = (self.height, self.width)
        out = F.fold(taps.t()[None], size, OCCLUSION_KERNEL, padding=OCCLUSION_KERNEL // 2)
        return torch.sigmoid(out + self.network.occlusion_bias)[0].movedim(0, -1)


def linear_weights(positions: Tensor, shifts: Tensor) -> Tensor:
    """Return matrices that sample an axis at shifted positions, linearly and with zeros outside: (K, n, n).

    positions: (n,), the cells. shifts: (K,). The align_corners=False of `sample_volume` applies.
    """
    size = len(positions)
    cell = ((positions + shifts[:, None] + 1) * size - 1) / 2
    index = torch.arange(size, dtype=cell.dtype, device=cell.device)
    return (1 - (cell[..., None] - index).abs()).clamp_(min=0)
