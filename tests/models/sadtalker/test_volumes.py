"""Two-dimensional forms of the operators on volumes against PyTorch's own operators on the CPU."""

import torch
import torch.nn.functional as F

from models.sadtalker import volumes
from tests.helpers.goldens import tensor


def test_conv3d_as_2d_equals_conv3d():
    x = tensor(1, (2, 3, 5, 6, 7), -1, 1)
    for kernel, padding in ((3, (1, 1, 1)), (7, (3, 3, 3)), (1, (0, 0, 0))):
        weight, bias = tensor(2, (4, 3, kernel, kernel, kernel), -1, 1), tensor(3, (4,))
        expected = F.conv3d(x, weight, bias, padding=padding)
        actual = volumes.conv3d_as_2d(x, weight, bias, padding)
        torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


def test_gather_equals_grid_sample_inside_and_outside():
    volume, grid = tensor(4, (1, 3, 4, 5, 6), -1, 1), tensor(5, (1, 7, 8, 9, 3), -1.6, 1.6)
    expected = F.grid_sample(volume, grid, align_corners=False)
    assert (expected == 0).any()
    actual = volumes.gather_volume(volume[0], grid[0]).movedim(-1, 0)[None]
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=0)


def test_device_without_the_operators_computes_the_same(monkeypatch):
    block, x, grid = volumes.ResidualBlock3d(4).eval(), tensor(6, (1, 4, 4, 8, 8)), tensor(7, (1, 2, 3, 3, 3), -1, 1)
    with torch.inference_mode():
        expected = block(x), volumes.sample_volume(x, grid)
        calls = []
        monkeypatch.setattr(volumes, "has_operator", lambda *args: calls.append(args))
        actual = block(x), volumes.sample_volume(x, grid)
    assert set(calls) == {("conv3d", "cpu"), ("grid_sample", "cpu")}
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def test_operators_are_tried_once_per_device(monkeypatch):
    volumes.has_operator.cache_clear()
    calls = []

    def missing(*_args, **_kwargs):
        calls.append(1)
        raise NotImplementedError("Conv3D is not supported on MPS")

    with monkeypatch.context() as patch:
        patch.setattr(F, "conv3d", missing)
        assert not volumes.has_operator("conv3d", "cpu")
        assert not volumes.has_operator("conv3d", "cpu")
        assert volumes.has_operator("grid_sample", "cpu")
    assert len(calls) == 1
    volumes.has_operator.cache_clear()
