"""TensorBoard log of a run."""

import pytest

from tests.helpers.trainers import open_log, run_trainer
from tests.helpers.training_runs import open_tensorboard


def test_resume_hides_later_points_of_an_earlier_run(tmp_path):
    with open_tensorboard(tmp_path) as tensorboard:
        for step in range(1, 7):
            tensorboard.add_scalars("train", {"loss": step}, step)
    with open_tensorboard(tmp_path, resume_step=3) as tensorboard:
        for step in range(4, 6):
            tensorboard.add_scalars("train", {"loss": -step}, step)
    events = open_log(tmp_path).Scalars("train/loss")
    assert [(event.step, event.value) for event in events] == [(1, 1), (2, 2), (3, 3), (4, -4), (5, -5)]


def test_run_logs_its_learning_rate(noise_data, tmp_path):
    folder = run_trainer("syncnet", noise_data, tmp_path, None, "recipe=public", "learning_rate=0.002")
    rates = [event.value for event in open_log(folder).Scalars("train/learning_rate")]
    assert rates == pytest.approx([0.002] * 6)
