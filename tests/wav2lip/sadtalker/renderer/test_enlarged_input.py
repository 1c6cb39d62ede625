"""Convolutions of enlarged maps at low resolution against the same convolutions of the enlarged maps."""

import torch
import torch.nn.functional as F

from tests.helpers.goldens import tensor
from wav2lip.sadtalker.renderer.convolution import cells
from wav2lip.sadtalker.renderer.enlarged_input import doubled_input_weight, quadrupled_input_weights, write_phases


def test_doubled_map():
    x, weight = tensor(1, (1, 3, 5, 4), -1, 1), tensor(2, (6, 3, 3, 3), -1, 1)
    out = torch.empty(10, 8, 6)
    write_phases(cells(F.conv2d(x, doubled_input_weight(weight), padding=1)), out, (0, 1), (0, 1), 2)
    expected = F.conv2d(F.interpolate(x, scale_factor=2), weight, padding=1)
    torch.testing.assert_close(out, cells(expected), atol=1e-5, rtol=0)


def test_doubled_volume():
    x, weight = tensor(3, (1, 2, 3, 4, 5), -1, 1), tensor(4, (3, 2, 3, 3, 3), -1, 1)
    out = torch.empty(3, 8, 10, 3)
    write_phases(cells(F.conv3d(x, doubled_input_weight(weight), padding=1)), out, (0, 1), (0, 1), 2)
    expected = F.conv3d(F.interpolate(x, scale_factor=(1, 2, 2)), weight, padding=1)
    torch.testing.assert_close(out, cells(expected), atol=1e-5, rtol=0)


def test_quadrupled_map():
    x, weight = tensor(5, (1, 3, 4, 5), -1, 1), tensor(6, (2, 3, 3, 3), -1, 1)
    out = torch.full((16, 20, 2), torch.nan)
    kernels = quadrupled_input_weights(weight)
    assert sum(kernel[:, 0].numel() for kernel, _ in kernels) == 25 * len(weight)  # products per cell
    outer, inner = (0, 3), (1, 2)
    for (kernel, padding), (rows, columns) in zip(
        kernels, [(outer, outer), (outer, inner), (inner, outer), (inner, inner)], strict=True
    ):
        write_phases(cells(F.conv2d(x, kernel, padding=padding)), out, rows, columns, 4)
    expected = F.conv2d(F.interpolate(x, scale_factor=4), weight, padding=1)
    torch.testing.assert_close(out, cells(expected), atol=1e-5, rtol=0)
