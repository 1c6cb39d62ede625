"""Error against the true frames as a function of the audio shift."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.finetuning import ERROR_SHIFTS, error_curve
from wav2lip.audio.windows import first_column

SIZE, FRAMES = 8, 80


class LoudnessAsBrightness(torch.nn.Module):
    """A generator whose mouth is as bright as the first column of its audio is loud."""

    resolution = SIZE

    def forward(self, mel, faces):
        """Return gray faces."""
        return mel[:, :, :1, :1].expand(-1, 3, SIZE, SIZE)


def test_error_is_smallest_without_a_shift():
    levels = np.random.default_rng(0).integers(0, 256, FRAMES)
    mel = np.zeros((80, first_column(FRAMES) + 40), np.float32)
    for frame in range(FRAMES):  # the window of a frame begins one frame before it
        mel[:, first_column(frame - 1) : first_column(frame)] = levels[frame] / 255

    def read(frame, size):
        return np.full((size, size, 3), levels[frame], np.uint8)

    clip = SimpleNamespace(frames=np.arange(FRAMES), read=read, mel=lambda write_cache: mel)
    curve = error_curve(LoudnessAsBrightness(), clip)
    assert curve[ERROR_SHIFTS.index(0)] == pytest.approx(0, abs=1e-4)
    assert np.delete(curve, ERROR_SHIFTS.index(0)).min() > 50  # two random levels differ by 85 on average
