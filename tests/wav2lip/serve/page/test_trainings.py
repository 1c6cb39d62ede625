"""Trainings are found and read as TensorBoard would, and nothing beside them can be asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.wav2lip.serve.page.conftest import VERDICT, write_log
from train.watching.monitor import Monitor
from wav2lip.errors import InputError
from wav2lip.media import VideoWriter
from wav2lip.serve.page.training_tab import drawn, seen, summary
from wav2lip.serve.page.trainings import Trainings


def test_a_training_is_read_as_it_was_logged(runs):
    training = Trainings(runs).read("speakers/expert")

    assert training.curves["train/loss"].steps == [1, 2, 3, 4]
    assert training.curves["train/loss"].values == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert training.curves["val/loss"].values == [0.5]
    assert (training.step, training.running, training.verdict) == (4, True, VERDICT)
    strip = training.pictures["val"][0]
    assert (strip.step, strip.width, strip.height) == (4, 6, 4)
    assert strip.png.startswith(b"\x89PNG")


def test_what_a_running_training_adds_is_there_at_the_next_look(tmp_path):
    trainings = Trainings(tmp_path)
    with Monitor(tmp_path / "a") as monitor:
        monitor.scalars("train", {"loss": 2.0}, 1)
        monitor._writer.flush()
        assert trainings.read("a").step == 1

        monitor.scalars("train", {"loss": 1.0}, 2)
        monitor._writer.flush()
        assert trainings.read("a").curves["train/loss"].values == [2.0, 1.0]


def test_steps_that_a_resumed_training_takes_again_are_shown_once(tmp_path):
    write_log(tmp_path / "a", range(1, 5))
    with Monitor(tmp_path / "a").after(2) as monitor:
        monitor.scalars("train", {"loss": 7.0}, 3)

    curve = Trainings(tmp_path).read("a").curves["train/loss"]
    assert (curve.steps, curve.values) == ([1, 2, 3], pytest.approx([1, 1 / 2, 7]))


def test_a_folder_that_is_itself_a_training_is_called_by_its_own_name(tmp_path):
    write_log(tmp_path / "mine")
    assert Trainings(tmp_path / "mine").names() == ["mine"]


@pytest.mark.parametrize("name", ["..", "../runs", "/etc", "speakers", "", "speakers/expert/tensorboard", "a\0b"])
def test_a_name_that_is_not_listed_is_no_path(runs, name):
    with pytest.raises(InputError, match="no such training"):
        Trainings(runs).read(name)


def test_previews_are_listed_by_step_and_given_by_name_only(tmp_path):
    write_log(tmp_path / "g")
    for step in (20, 3):
        with VideoWriter(tmp_path / "g" / "previews" / f"step{step:09d}.mp4", 25) as video:
            video.write(np.zeros((16, 16, 3), np.uint8))
    (tmp_path / "g" / "last.pth").write_bytes(b"weights")
    trainings = Trainings(tmp_path)

    (tmp_path / "g" / "previews" / "step_by_step.mp4").touch()  # somebody's own
    assert [path.name for path in trainings.read("g").previews] == ["step000000003.mp4", "step000000020.mp4"]
    assert "Step 20" in seen(trainings.read("g"))
    for other in ("../last.pth", "last.pth", "../../g/last.pth"):
        with pytest.raises(InputError, match="no such preview"):
            trainings.preview("g", other)


def test_a_verdict_is_shown_as_text(runs):
    assert "1 &lt; 2 speakers" in summary(Trainings(runs).read("speakers/expert"))


def test_a_score_that_never_was_a_number_is_said_to_be_none(runs):
    assert "No finite value" in drawn(Trainings(runs).read("speakers/expert"))


def test_a_picture_is_given_by_its_step(tmp_path):
    write_log(tmp_path / "g", range(1, 9))
    trainings = Trainings(tmp_path)
    assert trainings.picture("g", "val", 8).png == trainings.read("g").pictures["val"][0].png
    with pytest.raises(InputError, match="step 7"):
        trainings.picture("g", "val", 7)


def test_pictures_of_the_newest_validations_are_kept(tmp_path):
    with Monitor(tmp_path / "g") as monitor:
        for step in range(1, 41):
            monitor.picture("val", torch.zeros(3, 2, 2), step)
    assert Trainings(tmp_path).read("g").pictures["val"][-1].step == 40
