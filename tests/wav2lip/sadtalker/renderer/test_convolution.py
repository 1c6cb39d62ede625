"""Convolutions with padded input against those of PyTorch."""

import pytest
import torch
import torch.nn.functional as F

from tests.helpers.goldens import tensor
from wav2lip.sadtalker.renderer.convolution import PaddedConvolution, cells


def activate(x, slope):
    return x if slope is None else F.leaky_relu(x, slope)


@pytest.mark.parametrize("slope", [None, 0.0, 0.01])
@pytest.mark.parametrize("columns", [3, 1])
def test_padded_map(slope, columns):
    x, weight = tensor(1, (1, 5, 8, 7), -1, 1), tensor(2, (6, 5, 3, columns), -1, 1)
    bias, pad = tensor(3, (6,), -1, 1), columns // 2
    padded = cells(F.pad(x, (0, 0, 1, 1))).contiguous()
    before = padded.clone()
    actual = PaddedConvolution(weight, bias, (pad,), slope)(padded)
    expected = activate(F.conv2d(x.double(), weight.double(), bias.double(), padding=(1, pad)), slope)
    torch.testing.assert_close(actual, cells(expected).float(), atol=1e-5, rtol=0)
    torch.testing.assert_close(padded, before, atol=0, rtol=0)


@pytest.mark.parametrize("size", [3, 2])
def test_padded_volume_of_some_channels(size):
    x, weight = tensor(4, (1, 4, 6, 5, 7), -1, 1), tensor(5, (3, 4, 3, size, size), -1, 1)
    stored = torch.full((8, 5, 7, 9), 7.0)
    stored[..., 2:6] = cells(F.pad(x, (0, 0, 0, 0, 1, 1)))
    actual = PaddedConvolution(weight, tensor(6, (3,), -1, 1), (1, 1), 0.0)(stored[..., 2:6])
    expected = F.conv3d(x.double(), weight.double(), tensor(6, (3,), -1, 1).double(), padding=1).relu()
    torch.testing.assert_close(actual, cells(expected).float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("is_paired", [None, True])
def test_bfloat16(is_paired):
    x, weight = tensor(1, (1, 5, 8, 7), -1, 1), tensor(2, (6, 5, 3, 3), -1, 1)
    convolution = PaddedConvolution(weight, None, (1,), dtype=torch.bfloat16, is_paired=is_paired)
    actual = convolution(cells(F.pad(x, (0, 0, 1, 1))).bfloat16())
    torch.testing.assert_close(actual.float(), cells(F.conv2d(x, weight, padding=1)), atol=0.1, rtol=0)
