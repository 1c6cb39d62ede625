"""Weights of the generator's loss: lines through points, the switch of the sync loss, its ramp, and their state."""

import re

import pytest
import torch

from train.loss_weights import Line, LossWeights
from train.losses import mouth_l1
from wav2lip.errors import InputError


def weights(sync=0.0, sync_on=0.03, **more):
    return LossWeights(sync=Line.of("syncnet_wt", sync), sync_on=Line.of("syncnet_wt_on", sync_on),
                       sync_threshold=0.75, **more)  # fmt: skip


def over(weights, steps, name="sync"):
    values = []
    for step in steps:
        weights.begin(step)
        values.append(getattr(weights, name))
    return values


def test_a_number_counts_the_same_at_every_step():
    assert over(weights(sync=0.01), (0, 5, 10**9)) == [0.01] * 3


def test_between_points_a_weight_goes_in_a_straight_line():
    line = Line.of("disc_wt", [[100, 0.0], [200, 0.08], [400, 0.04]])
    # before the first point as there, a quarter of the way, at a point, half the way down, after the last as there
    assert [line.at(step) for step in (0, 125, 200, 300, 9999)] == pytest.approx([0, 0.02, 0.08, 0.06, 0.04])


def test_the_sync_loss_switches_on_at_once_below_the_threshold_as_in_the_release_and_l1_takes_the_rest():
    ours = weights(critic=Line.of("disc_wt", 0.07))
    assert over(ours, [0]) == [0]
    ours.after_validation(0.76)
    assert over(ours, [1]) == [0]
    ours.after_validation(0.74)
    assert over(ours, [2]) == [0.03]
    assert ours.l1 == 1 - 0.03 - 0.07


def test_a_ramp_begins_where_the_sync_loss_is_switched_on_and_goes_on_after_a_resume():
    ours = weights(sync_ramp=3)
    ours.begin(9)
    ours.after_validation(0.5)  # after ten steps
    assert over(ours, range(10, 12)) == pytest.approx([0.01, 0.02])
    resumed = weights(sync_ramp=3)
    resumed.load_state(ours.state())
    assert over(resumed, range(11, 14)) == pytest.approx([0.02, 0.03, 0.03])


def test_a_later_validation_does_not_begin_the_ramp_anew():
    ours = weights(sync_ramp=2)
    for step in (0, 1, 2):
        ours.begin(step)
        ours.after_validation(0.5)
    assert over(ours, [3]) == [0.03]


def test_the_state_tells_what_was_in_force_and_another_schedule_is_spoken_of(caplog):
    ours = weights(sync=[[0, 0.0], [10, 0.02]])
    ours.begin(5)
    state = ours.state()
    assert state["weights"] == pytest.approx({"sync": 0.01, "critic": 0, "features": 0, "l1": 0.99})
    caplog.set_level("INFO", logger="train")
    weights(sync=[[0, 0.0], [10, 0.02]]).load_state(state)
    assert caplog.text == ""
    weights(sync=0.01).load_state(state)
    assert (
        "weight of sync: the checkpoint had the points [[0, 0.0], [10, 0.02]]; from here on [[0, 0.01]]" in caplog.text
    )


def test_a_state_from_before_ramps_is_switched_on_for_long():
    ours = weights(sync_ramp=100)
    ours.load_state({"sync_on": True})
    assert over(ours, [3000]) == [0.03]


@pytest.mark.parametrize(("value", "sentence"), [
    ([], "syncnet_wt=[]: steps are whole numbers from 0 up"),
    ([[0.5, 0.1]], "syncnet_wt=[[0.5, 0.1]]: steps are whole numbers"),
    ([[10, 0.1], [10, 0.2]], "the steps do not rise"),
    (1.5, "syncnet_wt=1.5: a weight is a share of the loss; give numbers from 0 to 1"),
    (0.99, "can come to 1.02, which leaves the L1 loss less than nothing"),
])  # fmt: skip
def test_weights_that_cannot_be_are_one_sentence(value, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        weights(sync=value, sync_on=0, critic=Line.of("disc_wt", 0.03))


def test_l1_with_a_heavier_mouth_by_hand():
    real, fake = torch.zeros(1, 1, 2, 2), torch.tensor([[[[0.1, 0.3], [0.4, 0.8]]]])
    assert mouth_l1(fake, real, 1.0).item() == pytest.approx((0.1 + 0.3 + 0.4 + 0.8) / 4)
    # two pixels above count 1 each, two below 3 each, of 8 in all
    assert mouth_l1(fake, real, 3.0).item() == pytest.approx((0.1 + 0.3 + 3 * 0.4 + 3 * 0.8) / 8)
    # and weights whose mean is 1: from a weight of 1 on nothing jumps
    assert mouth_l1(fake, real, 1.0000001).item() == pytest.approx(0.4, rel=1e-5)
