"""Loss weights: schedules, the switch of the sync loss and its ramp, their state; and the mouth-weighted L1."""

import re

import pytest
import torch

from train.losses.reconstruction import mouth_weighted_l1
from train.losses.weights import LossWeights, PiecewiseLinear
from wav2lip.errors import InputError


def build_weights(syncnet=0.0, syncnet_on=0.03, **options):
    syncnet = PiecewiseLinear.from_config("syncnet_wt", syncnet)
    syncnet_on = PiecewiseLinear.from_config("syncnet_wt_on", syncnet_on)
    return LossWeights(syncnet=syncnet, syncnet_on=syncnet_on, sync_threshold=0.75, **options)


def values_at_steps(weights, steps, name="syncnet"):
    values = []
    for step in steps:
        weights.set_step(step)
        values.append(getattr(weights, name))
    return values


def test_number_is_constant():
    assert values_at_steps(build_weights(syncnet=0.01), (0, 5, 10**9)) == [0.01] * 3


def test_weight_is_interpolated_between_points():
    schedule = PiecewiseLinear.from_config("disc_wt", [[100, 0.0], [200, 0.08], [400, 0.04]])
    # before the first point, a quarter of the way, at a point, halfway down, after the last point
    assert [schedule.at(step) for step in (0, 125, 200, 300, 9999)] == pytest.approx([0, 0.02, 0.08, 0.06, 0.04])


def test_sync_loss_switches_on_below_threshold_as_upstream():
    weights = build_weights(disc=PiecewiseLinear.from_config("disc_wt", 0.07))
    assert values_at_steps(weights, [0]) == [0]
    weights.on_validation(0.76)
    assert values_at_steps(weights, [1]) == [0]
    weights.on_validation(0.74)
    assert values_at_steps(weights, [2]) == [0.03]
    assert weights.l1 == 1 - 0.03 - 0.07


def test_sync_loss_stays_off_before_its_first_step():
    weights = build_weights(sync_min_step=10)
    weights.set_step(8)
    weights.on_validation(0.5)  # after nine steps
    assert values_at_steps(weights, [9]) == [0]
    weights.on_validation(0.5)  # after ten steps
    assert values_at_steps(weights, [10]) == [0.03]


def test_ramp_starts_at_switch_and_survives_resume():
    weights = build_weights(sync_ramp_steps=3)
    weights.set_step(9)
    weights.on_validation(0.5)  # after ten steps
    assert values_at_steps(weights, range(10, 12)) == pytest.approx([0.01, 0.02])
    resumed = build_weights(sync_ramp_steps=3)
    resumed.load_state_dict(weights.state_dict())
    assert values_at_steps(resumed, range(11, 14)) == pytest.approx([0.02, 0.03, 0.03])


def test_later_validation_does_not_restart_ramp():
    weights = build_weights(sync_ramp_steps=2)
    for step in (0, 1, 2):
        weights.set_step(step)
        weights.on_validation(0.5)
    assert values_at_steps(weights, [3]) == [0.03]


def test_state_has_weights_and_changed_schedule_is_logged(caplog):
    weights = build_weights(syncnet=[[0, 0.0], [10, 0.02]])
    weights.set_step(5)
    state = weights.state_dict()
    assert state["weights"] == pytest.approx(
        {"syncnet_wt": 0.01, "disc_wt": 0, "vgg_wt": 0, "teacher_wt": 0, "feature_matching_wt": 0, "l1_wt": 0.99}
    )
    caplog.set_level("INFO", logger="train")
    build_weights(syncnet=[[0, 0.0], [10, 0.02]]).load_state_dict(state)
    assert caplog.text == ""
    build_weights(syncnet=0.01).load_state_dict(state)
    (line,) = caplog.messages
    assert line.startswith("syncnet_wt: using [[0, 0.01]]") and "[[0, 0.0], [10, 0.02]]" in line


def test_state_without_switch_step_is_fully_on():
    weights = build_weights(sync_ramp_steps=100)
    weights.load_state_dict({"sync_on": True})
    assert values_at_steps(weights, [3000]) == [0.03]


@pytest.mark.parametrize(("value", "message"), [
    ([], "syncnet_wt=[]: steps must be integers"),
    ([[0.5, 0.1]], "syncnet_wt=[[0.5, 0.1]]: steps must be integers"),
    ([[10, 0.1], [10, 0.2]], "steps must be ascending"),
    (1.5, "syncnet_wt=1.5: weights must be between 0 and 1"),
    (0.99, "must sum to at most 1, got 1.02"),
])  # fmt: skip
def test_invalid_weights_are_rejected(value, message):
    with pytest.raises(InputError, match=re.escape(message)):
        build_weights(syncnet=value, syncnet_on=0, disc=PiecewiseLinear.from_config("disc_wt", 0.03))


def test_mouth_weighted_l1_equals_hand_calculation():
    real, fake = torch.zeros(1, 1, 2, 2), torch.tensor([[[[0.1, 0.3], [0.4, 0.8]]]])
    assert mouth_weighted_l1(fake, real, 1.0).item() == pytest.approx((0.1 + 0.3 + 0.4 + 0.8) / 4)
    # two upper pixels of weight 1, two lower ones of weight 3, 8 in total
    assert mouth_weighted_l1(fake, real, 3.0).item() == pytest.approx((0.1 + 0.3 + 3 * 0.4 + 3 * 0.8) / 8)
    # continuous at a weight of 1
    assert mouth_weighted_l1(fake, real, 1.0000001).item() == pytest.approx(0.4, rel=1e-5)
