"""Optimized renderer against the plain generator; `test_goldens_e2e.py` has frames of the published pipeline."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.sadtalker.volumes import axis_positions, identity_grid
from tests.helpers.goldens import tensor
from tests.helpers.sadtalker import load
from wav2lip.devices import inference_dtype
from wav2lip.sadtalker.renderer import TorchRenderer
from wav2lip.sadtalker.renderer.motion import linear_weights

CPU = torch.device("cpu")
SIZE = 128  # the smallest that the hourglass can halve five times


@pytest.fixture(scope="module")
def generator():
    return load("generator")


@pytest.fixture(scope="module")
def scene(generator):
    """Picture, source and driving key points, and the plain generator's frames."""
    picture = (255 * tensor(1, (SIZE, SIZE, 3))).byte().numpy()
    source = tensor(2, (15, 3), -0.6, 0.6)
    driving = source + tensor(3, (2, 15, 3), -0.15, 0.15)
    x = torch.from_numpy(picture).movedim(-1, 0)[None] / 255
    with torch.inference_mode():
        frames = torch.cat([generator(x, source[None], points[None]) for points in driving])
    return picture, source.numpy(), driving.numpy(), frames.movedim(1, -1)


def test_linear_weights_warp_as_grid_sample():
    volume, shift = tensor(4, (1, 2, 4, 6, 8), -1, 1), torch.tensor([0.3, -0.9, 0.05])
    expected = F.grid_sample(volume, (identity_grid(4, 6, 8) + shift)[None], align_corners=False)
    x, y, z = (linear_weights(axis_positions(n), shift[k : k + 1])[0] for k, n in enumerate((8, 6, 4)))
    torch.testing.assert_close(torch.einsum("zd,yh,xw,bcdhw->bczyx", z, y, x, volume), expected, atol=1e-5, rtol=0)


def test_float32_frames_equal_plain_generator(generator, scene):
    picture, source, driving, expected = scene
    renderer = TorchRenderer(generator, CPU, torch.float32)
    (stream,) = renderer.streams(renderer.source_features(picture), source)
    actual = torch.stack([stream(torch.from_numpy(points)) for points in driving])
    assert expected.std() > 0.05
    torch.testing.assert_close(actual, expected, atol=0.01 / 255 * 4, rtol=0)
    assert (actual - expected).abs().mean() < 0.01 / 255


def test_several_devices_render_the_frames_in_order(generator, scene):
    picture, source, driving, expected = scene
    renderer = TorchRenderer(generator, [CPU, CPU], inference_dtype(CPU))  # bf16 takes minutes where it is emulated
    assert renderer.call_size(3) == 6
    frames = renderer.open(renderer.source_features(picture), source)(driving)
    assert frames.shape == (2, SIZE, SIZE, 3)
    assert frames.dtype == np.uint8
    difference = np.abs(frames - 255 * expected.numpy()).mean(axis=(1, 2, 3))
    assert (difference < 2).all()  # grey levels of bf16
    assert np.abs(frames[0] - 255 * expected[1].numpy()).mean() > 5  # the frames differ
