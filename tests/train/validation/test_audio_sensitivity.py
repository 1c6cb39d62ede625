"""Sensitivity of the generator: share by which wrong audio raises the error of the mouth."""

import pytest
import torch
from torch import nn

from tests.helpers.training import cpu_fabric
from tests.helpers.validation import NumberGenerator
from train.data.samples import GeneratorInputs
from train.validation.audio_sensitivity import AudioSensitivityMeter

ERROR = 4  # gray levels by which the targets differ from what NumberGenerator makes of their audio


def numbered_batch(numbers):
    """Windows whose audio is a number, and whose true frames have that gray level plus ERROR."""
    numbers = torch.tensor(numbers, dtype=torch.float32)[:, None, None, None, None]
    target = ((numbers + ERROR) / 255).expand(-1, 3, 5, 96, 96)
    faces = torch.zeros(len(numbers), 6, 5, 96, 96)
    return GeneratorInputs(faces, numbers.expand(-1, 5, 1, 80, 16), numbers[:, 0].expand(-1, 1, 80, 16), target)


def measure_sensitivity(generator, batches):
    meter = AudioSensitivityMeter(cpu_fabric(), generator)
    for batch in batches:
        meter.update(generator(batch.frame_mels, batch.faces), batch)
    return meter.compute()


@pytest.mark.parametrize("sizes", [[40], [10, 13, 17], [1] * 40, [18, 22]])
def test_sensitivity_is_the_growth_of_the_error_in_any_batches(sizes):
    batches = [numbered_batch(list(each)) for each in torch.arange(40).split(sizes)]
    # The audio of 16 windows before is 16 gray levels lower: an error of 20 instead of 4.
    assert measure_sensitivity(NumberGenerator(), batches) == {"audio_sensitivity": pytest.approx(20 / 4 - 1, rel=1e-4)}


def test_generator_that_ignores_the_audio_has_none():
    class Constant(nn.Module):
        def forward(self, mels, _):
            return torch.full((len(mels), 3, 5, 96, 96), 0.5)

    assert measure_sensitivity(Constant(), [numbered_batch(list(range(40)))]) == {"audio_sensitivity": 0}


def test_too_few_windows_have_no_score():
    assert measure_sensitivity(NumberGenerator(), [numbered_batch(list(range(16)))]) == {}
