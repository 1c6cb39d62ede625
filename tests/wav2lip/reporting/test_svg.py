"""Ticks, paths and escaping of SVG plots."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from wav2lip.reporting.svg import PlotArea, nice_ticks, text


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.2, 0.21), (-3, 700), (5, 5), (0, 0), (-1e-9, 1e-9), (1e6, 2e6)])
def test_nice_ticks_are_round_even_and_enclose_the_values(low, high):
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 8
    steps = [after - before for before, after in pairwise(ticks)]
    mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
    assert steps == pytest.approx([steps[0]] * len(steps))
    assert round(mantissa, 6) in (1, 2, 5, 10)


def test_path_maps_data_to_the_plot_with_gaps():
    area = PlotArea(100, 50, 10, 10, 5, 5, (0, 4), (0, 2))
    assert area.path([(0, 0.0), (2, 2.0), (3, math.nan), (4, 1.0)]) == '<path d="M10.0 45.0L50.0 5.0M90.0 25.0"></path>'


def test_labels_and_titles_are_escaped():
    area = PlotArea(100, 50, 10, 10, 5, 5, (0, 1), (0, 1))
    svg_text = area.svg(area.dot(0, 0, 2, title="<a>") + text(0, 0, "<b>"), '"<c>')
    assert "<a>" not in svg_text and "<b>" not in svg_text and '"<c>' not in svg_text
