"""Runs: read as TensorBoard reads them, and looked up by listed names only."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.training_runs import DIAGNOSIS, open_tensorboard, write_run_log
from wav2lip.errors import InputError
from wav2lip.media import VideoWriter
from wav2lip.serve.ui.tabs.training import render_curves, render_images, render_overview
from wav2lip.serve.ui.training_runs import RunCatalog


def test_read_returns_the_logged_values(runs):
    run = RunCatalog(runs).read("speakers/expert")

    assert run.curves["train/loss"].steps == [1, 2, 3, 4]
    assert run.curves["train/loss"].values == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert run.curves["val/loss"].values == [0.5]
    assert (run.step, run.is_running, run.diagnosis) == (4, True, DIAGNOSIS)
    strip = run.images["val"][0]
    assert (strip.step, strip.width, strip.height) == (4, 6, 4)
    assert strip.png.startswith(b"\x89PNG")


def test_read_sees_new_values_of_a_running_run(tmp_path):
    catalog = RunCatalog(tmp_path)
    with open_tensorboard(tmp_path / "a") as tensorboard:
        tensorboard.add_scalars("train", {"loss": 2.0}, 1)
        tensorboard._writer.flush()
        assert catalog.read("a").step == 1

        tensorboard.add_scalars("train", {"loss": 1.0}, 2)
        tensorboard._writer.flush()
        assert catalog.read("a").curves["train/loss"].values == [2.0, 1.0]


def test_repeated_steps_of_a_resumed_run_appear_once(tmp_path):
    write_run_log(tmp_path / "a", range(1, 5))
    with open_tensorboard(tmp_path / "a", resume_step=2) as tensorboard:
        tensorboard.add_scalars("train", {"loss": 7.0}, 3)

    curve = RunCatalog(tmp_path).read("a").curves["train/loss"]
    assert (curve.steps, curve.values) == ([1, 2, 3], pytest.approx([1, 1 / 2, 7]))


def test_root_that_is_a_run_has_its_own_name(tmp_path):
    write_run_log(tmp_path / "mine")
    assert RunCatalog(tmp_path / "mine").names() == ["mine"]


@pytest.mark.parametrize("name", ["..", "../runs", "/etc", "speakers", "", "speakers/expert/tensorboard", "a\0b"])
def test_unlisted_name_is_not_used_as_path(runs, name):
    with pytest.raises(InputError, match="no such run"):
        RunCatalog(runs).read(name)


def test_previews_are_sorted_by_step_and_looked_up_by_name(tmp_path):
    write_run_log(tmp_path / "g")
    for step in (20, 3):
        with VideoWriter(tmp_path / "g" / "previews" / f"step{step:09d}.mp4", 25) as video:
            video.write(np.zeros((16, 16, 3), np.uint8))
    (tmp_path / "g" / "last.pth").write_bytes(b"weights")
    (tmp_path / "g" / "previews" / "step_by_step.mp4").touch()  # a file of the user
    catalog = RunCatalog(tmp_path)

    assert [path.name for path in catalog.read("g").previews] == ["step000000003.mp4", "step000000020.mp4"]
    assert "Step 20" in render_images(catalog.read("g"))
    for name in ("../last.pth", "last.pth", "../../g/last.pth"):
        with pytest.raises(InputError, match="no such preview"):
            catalog.preview("g", name)


def test_render_overview_escapes_the_diagnosis(runs):
    assert "1 &lt; 2 speakers" in render_overview(RunCatalog(runs).read("speakers/expert"))


def test_render_curves_marks_a_curve_of_nan(runs):
    assert "No finite value" in render_curves(RunCatalog(runs).read("speakers/expert"))


def test_image_is_looked_up_by_step(tmp_path):
    write_run_log(tmp_path / "g", range(1, 9))
    catalog = RunCatalog(tmp_path)
    assert catalog.image("g", "val", 8).png == catalog.read("g").images["val"][0].png
    with pytest.raises(InputError, match="step 7"):
        catalog.image("g", "val", 7)


def test_newest_images_stay_in_memory(tmp_path):
    with open_tensorboard(tmp_path / "g") as tensorboard:
        for step in range(1, 41):
            tensorboard.add_image("val", torch.zeros(3, 2, 2), step)
    assert RunCatalog(tmp_path).read("g").images["val"][-1].step == 40
