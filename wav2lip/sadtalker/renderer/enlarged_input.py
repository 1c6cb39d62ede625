"""3 x 3 convolutions of maps enlarged by nearest neighbors, computed at low resolution.

Equal cells are multiplied once by the sum of their weights: 16 instead of 36 products per cell for maps that are
doubled, 25 instead of 144 for those that are enlarged four times.
"""

from __future__ import annotations

import torch
from torch import Tensor


def doubled_input_weight(weight: Tensor) -> Tensor:
    """Return the kernel of a convolution whose input was doubled in height and width.

    weight: (C', C, [3,] 3, 3). Returns: (4 * C', C, [3,] 2, 2), for a padding of 1 in height and width.
    """
    return torch.cat([kernel for row in _merge_taps(weight, -2) for kernel in _merge_taps(row, -1)])


def quadrupled_input_weights(weight: Tensor) -> list[tuple[Tensor, tuple[int, int]]]:
    """Return the kernels and paddings of a convolution whose input was enlarged four times.

    Of the four outputs per cell and axis the outer two read two cells, and the inner two only their own: kernels 2 x 2
    for the corners, 2 x 1 and 1 x 2 for the edges, 1 x 1 for the inside.
    """
    edges = torch.cat([row.sum(-1, keepdim=True) for row in _merge_taps(weight, -2)])
    sides = torch.cat(_merge_taps(weight.sum(-2, keepdim=True), -1))
    inside = weight.sum((-2, -1), keepdim=True)
    return [(doubled_input_weight(weight), (1, 1)), (edges, (1, 0)), (sides, (0, 1)), (inside, (0, 0))]


def _merge_taps(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Merge the taps that read the same cell: for the first and for the last output of a cell."""
    first, middle, last = weight.unbind(axis)
    return torch.stack([first, middle + last], axis), torch.stack([first + middle, last], axis)


def write_phases(values: Tensor, out: Tensor, rows: tuple[int, int], columns: tuple[int, int], scale: int) -> None:
    """Write the outputs of kernels at low resolution to two rows and two columns of each block of the enlarged map.

    values: (..., H + 1 or H, W + 1 or W, K * C): the outer rows (columns) of a block have one kernel each, whose size
        along that axis is 2; the inner ones share a kernel of size 1.
    out: (..., scale * H, scale * W, C).
    """
    height, width, size = out.shape[-3] // scale, out.shape[-2] // scale, out.shape[-1]
    outer_rows, outer_columns = values.shape[-3] > height, values.shape[-2] > width
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            top, left = i * outer_rows, j * outer_columns
            kernel = top * (1 + outer_columns) + left
            part = values[..., top : top + height, left : left + width, kernel * size : (kernel + 1) * size]
            out[..., row::scale, column::scale, :].copy_(part)
