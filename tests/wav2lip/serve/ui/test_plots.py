"""Curves of a run as SVG: positions computed by hand, and escaped names."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

from train.validation import generator, syncnet
from wav2lip.serve.ui.plots import FIRST_SCORES, HEIGHT, LEFT, MAX_POINTS, RIGHT, WIDTH, gallery, plot, subsample
from wav2lip.serve.ui.training_runs import Curve


def test_curve_spans_the_plot_and_falls_downwards():
    svg = ElementTree.fromstring(plot({"train": Curve([10, 20], [2.0, 1.0])}, "loss"))
    path = next(element.get("d") for element in svg.iter("path"))
    (x0, y0), (x1, y1) = [tuple(map(float, point.split())) for point in re.findall(r"[ML]([\d.]+ [\d.]+)", path)]
    assert (x0, x1) == (LEFT, WIDTH - RIGHT)
    assert 0 < y0 < y1 < HEIGHT


def test_values_that_are_not_finite_leave_a_gap():
    svg = plot({"train": Curve([1, 2, 3, 4], [1.0, math.nan, 3.0, math.inf])}, "loss")
    assert re.search(r'd="M[\d.]+ [\d.]+M[\d.]+ [\d.]+"', svg)
    assert svg.count("<circle") == 2


def test_thin_limits_points_and_keeps_the_last():
    points = subsample(Curve(list(range(1999)), [float(step) for step in range(1999)]))
    assert len(points) <= MAX_POINTS
    assert points[-1] == (1998, 1998.0)


def test_gallery_joins_training_and_validation_with_loss_first():
    curves = {tag: Curve([1], [0.25]) for tag in ("train/learning_rate", "val/sync", "train/loss", "val/loss", "x")}
    page = gallery(curves)
    assert re.findall(r"<b>([^<]+)</b>", page) == ["Loss", "Sync loss", "Learning rate"]
    assert "train 0.25, val 0.25" in page


def test_gallery_escapes_names_of_the_log():
    page = gallery({'train/<img src=x onerror="a()">': Curve([1], [1.0])})
    assert "<img" not in page


def test_first_scores_are_logged_by_the_trainers():
    assert set(FIRST_SCORES) <= {*syncnet.BETTER, *generator.BETTER}
