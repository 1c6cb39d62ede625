"""Curves as SVG: places by hand, and nothing that the log says gets out as markup."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from train.scores import generator_scores, syncnet_scores
from wav2lip.serve.page.plots import FIRST, HEIGHT, LEFT, MOST_POINTS, RIGHT, WIDTH, gallery, nice_ticks, plot, thinned
from wav2lip.serve.page.trainings import Curve


def test_a_curve_runs_from_the_left_axis_to_the_right_margin_and_falls_downwards():
    svg = ElementTree.fromstring(plot({"train": Curve([10, 20], [2.0, 1.0])}, "loss"))
    path = next(element.get("d") for element in svg.iter("path"))
    (x0, y0), (x1, y1) = [tuple(map(float, point.split())) for point in re.findall(r"[ML]([\d.]+ [\d.]+)", path)]
    assert (x0, x1) == (LEFT, WIDTH - RIGHT)
    assert 0 < y0 < y1 < HEIGHT


def test_a_loss_that_burst_leaves_a_gap():
    svg = plot({"train": Curve([1, 2, 3, 4], [1.0, math.nan, 3.0, math.inf])}, "loss")
    assert re.search(r'd="M[\d.]+ [\d.]+M[\d.]+ [\d.]+"', svg)
    assert svg.count("<circle") == 2


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.2, 0.21), (-3, 700), (5, 5), (0, 0), (-1e-9, 1e-9), (1e6, 2e6)])
def test_ticks_are_round_even_and_around_the_values(low, high):
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 8
    steps = [after - before for before, after in pairwise(ticks)]
    mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
    assert steps == pytest.approx([steps[0]] * len(steps))
    assert round(mantissa, 6) in (1, 2, 5, 10)


def test_a_long_curve_is_thinned_and_keeps_its_last_point():
    drawn = thinned(Curve(list(range(1999)), [float(step) for step in range(1999)]))
    assert len(drawn) <= MOST_POINTS
    assert drawn[-1] == (1998, 1998.0)


def test_training_and_validation_share_a_figure_and_the_loss_comes_first():
    curves = {tag: Curve([1], [0.25]) for tag in ("train/learning_rate", "val/sync", "train/loss", "val/loss", "x")}
    page = gallery(curves)
    assert re.findall(r"<b>([^<]+)</b>", page) == ["Loss", "Sync loss", "Learning rate"]
    assert "train 0.25, val 0.25" in page


def test_a_name_of_the_log_cannot_be_markup():
    page = gallery({'train/<img src=x onerror="a()">': Curve([1], [1.0])})
    assert "<img" not in page


def test_the_scores_that_are_shown_first_are_those_that_the_trainers_log():
    assert set(FIRST) <= {*syncnet_scores.BETTER, *generator_scores.BETTER}
