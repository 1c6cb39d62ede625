"""Offset curve of a source whose audio lag is known."""

import math
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models import SyncNet
from tests.helpers.training import cpu_fabric, loss_weights
from tests.helpers.validation import (
    AUDIO_LAG_FRAMES,
    NumberExpert,
    NumberGenerator,
    index_for_syncnet,
    numbered_offset_set,
)
from train.data.index import WindowIndex
from train.data.samples import GeneratorSamples, SyncNetSamples
from train.steps.generator import GeneratorStep
from train.steps.syncnet import SyncNetStep
from train.validation.offset_curve import curve_scores, measure_curve, plot_curve
from wav2lip.sync.offset_curve import SHIFTS, OffsetCurve


def measure(step, samples, build_index):
    offset_set = numbered_offset_set(samples, build_index)
    assert set(offset_set.indices.clip.tolist()) == {0, 1}
    batch = offset_set.__getitems__(range(len(offset_set)))
    return measure_curve(cpu_fabric(), step.expert, [step.expert_inputs(batch.inputs())])


def test_curve_finds_the_audio_lag():
    curve = measure(SyncNetStep(cpu_fabric(), NumberExpert()), SyncNetSamples(5), index_for_syncnet)
    assert curve.offset == AUDIO_LAG_FRAMES
    expected = [1 - math.cos((shift - AUDIO_LAG_FRAMES) / 100) for shift in SHIFTS]
    # A window starts at a whole mel column, up to 1 / 3.2 of a frame early.
    assert curve.distance == pytest.approx(expected, abs=1 - math.cos(0.01) + 0.002)


def test_curve_of_generated_lips_is_relative_to_their_audio():
    step = GeneratorStep(cpu_fabric(), NumberGenerator(), NumberExpert(), loss_weights(0.0))
    assert measure(step, GeneratorSamples(), WindowIndex.for_generator).offset == 0


def test_confidence_is_median_minus_minimum():
    distance = np.full(31, 0.9)
    distance[[4, 20, 21]] = [0.95, 0.2, 0.4]
    curve = OffsetCurve(distance)
    assert curve_scores(curve) == {
        "expert_distance": 0.2, "expert_confidence": pytest.approx(0.7), "expert_offset": 5.0,
    }  # fmt: skip
    image = plot_curve(curve)
    assert image.shape == (3, 350, 600)
    assert 0 <= image.min() < 0.5 < image.max() <= 1


class NoFloat64(torch.Tensor):
    """A tensor of a device without float64, such as Apple's, until it is copied to the CPU."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        result = super().__torch_function__(func, types, args, kwargs)
        if isinstance(result, cls) and result.dtype == torch.float64:
            raise TypeError("this device has no float64")
        return result


def test_curve_is_measured_on_a_device_without_float64():
    # Tensors on the meta device have no values, so the single process must send none to it.
    fabric = SimpleNamespace(world_size=1, device=torch.device("meta"), autocast=nullcontext)
    torch.manual_seed(0)
    lips, mels = torch.rand(2, 15, 48, 96), torch.rand(2, 31, 80, 16)
    expert = SyncNet(width=0.125)
    curve = measure_curve(fabric, expert, [(lips.as_subclass(NoFloat64), mels.as_subclass(NoFloat64))])
    assert curve.distance == pytest.approx(measure_curve(fabric, expert, [(lips, mels)]).distance)
    with pytest.raises(TypeError, match="no float64"):
        lips.as_subclass(NoFloat64).double()


@pytest.mark.parametrize("training", [True, False])
def test_curve_restores_the_mode_of_the_expert(training):
    expert = NumberExpert().train(training)
    measure_curve(cpu_fabric(), expert, [])
    assert expert.training == training
