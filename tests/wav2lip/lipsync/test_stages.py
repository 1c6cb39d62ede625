"""Batches of the generation stages."""

import numpy as np
import pytest
import torch

from models import Wav2Lip
from tests.helpers.lipsync import generate
from wav2lip.engine.interface import FrameItem
from wav2lip.faces.crops import FACE_SIZE
from wav2lip.lipsync.blending import build_blend
from wav2lip.lipsync.generator_runtime import GeneratorRuntime


@pytest.mark.parametrize(("side", "batch"), [(64, 8), (6000, 2), (12000, 1)])
def test_batches_of_large_frames_are_smaller(side, batch):
    num_read = 0

    def frames():
        nonlocal num_read
        for index in range(9):
            num_read += 1
            frame = np.broadcast_to(np.uint8(0), (side, side, 3))  # its nbytes are large, but it takes no memory
            yield FrameItem(index, frame, [])

    generator = GeneratorRuntime(Wav2Lip(width=0.0625), torch.device("cpu"))
    assert generator.resolution == FACE_SIZE
    items = generate(frames(), None, generator, 8, build_blend("box"))
    for index in range(8):
        assert next(items).index == index
        assert num_read <= index - index % batch + batch
