"""Means, their intervals and differences: against scipy, and by hand."""

import json

import numpy as np
import pytest
import scipy.stats

from wav2lip.evaluation.measure import Measured
from wav2lip.evaluation.metrics import BY_NAME, METRICS, Scores
from wav2lip.evaluation.records import Record, Records
from wav2lip.evaluation.totals import difference, differences, fid, interval, totals, why_missing


def records(system, metric, values):
    return [Record(system, f"clip{n}", "", {metric: float(v)}, {}, {}) for n, v in enumerate(values)]


def test_the_interval_is_that_of_scipys_bootstrap():
    values = np.random.default_rng(0).normal(7, 1, 40)
    theirs = scipy.stats.bootstrap((values,), np.mean, method="percentile", rng=0).confidence_interval
    assert interval(values, seed=1) == pytest.approx((theirs.low, theirs.high), abs=0.04)
    assert interval(values, seed=1) == interval(values, seed=1)


def test_infinite_values_have_an_interval_that_is_a_number_or_infinite():
    assert interval(np.array([np.inf, np.inf]), 0) == (np.inf, np.inf)
    low, high = interval(np.array([30.0, 31, 32, 33, np.inf]), 0)
    assert 30 <= low < 34
    assert high == np.inf


def test_a_metric_that_a_clip_lacks_is_left_out_of_the_mean_and_one_clip_has_no_interval():
    some = [*records("a", "ssim", [0.5, 0.7]), Record("a", "x", "", {"psnr": 20.0}, {}, {})]
    found = totals(some, 0)
    assert (found["ssim"].mean, found["ssim"].clips) == (pytest.approx(0.6), 2)
    assert (found["psnr"].mean, found["psnr"].low, found["psnr"].clips) == (20, None, 1)
    assert set(found) == {"ssim", "psnr"}


def test_systems_are_compared_on_the_clips_that_both_have_with_wilcoxons_p():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(0.8, 0.05, 12), rng.normal(0.7, 0.05, 12)
    found = difference(BY_NAME["ssim"], "a", "b", records("a", "ssim", ours), records("b", "ssim", theirs[:10]), 0)
    assert found is not None
    assert (found.mean, found.clips) == (pytest.approx((ours - theirs)[:10].mean()), 10)
    assert found.p == pytest.approx(scipy.stats.wilcoxon((ours - theirs)[:10]).pvalue)
    assert found.better == "a"


@pytest.mark.parametrize(
    ("metric", "ours", "theirs", "better"),
    [
        ("ssim", [0.9, 0.9, 0.8], [0.5, 0.6, 0.7], "a"),
        ("lse_d", [9, 9, 8], [5, 6, 7], "b"),
        ("expert_offset", [-3, 4, -2], [1, -1, 0], "b"),
        ("sharpness", [0.9, 1.1, 1.0], [0.5, 2.0, 1.4], "a"),
        ("flicker", [1, 2, 3], [2, 1, 3], None),
    ],
)
def test_better_is_what_the_direction_of_the_metric_says(metric, ours, theirs, better):
    found = difference(BY_NAME[metric], "a", "b", records("a", metric, 2 * ours), records("b", metric, 2 * theirs), 0)
    assert found is not None
    assert found.better == better


def test_of_fewer_than_six_clips_none_is_called_better():
    ours, theirs = records("a", "ssim", [0.9] * 5), records("b", "ssim", [0.5] * 5)
    found = difference(BY_NAME["ssim"], "a", "b", ours, theirs, 0)
    assert found is not None
    assert (found.low, found.p, found.better) == (pytest.approx(0.4), None, None)


def test_the_real_videos_are_compared_with_nobody():
    some = {name: records(name, "ssim", [0.1, 0.2, 0.3]) for name in ("real", "a", "b", "c")}
    assert {(d.system, d.other) for d in differences(some, 0)} == {("a", "b"), ("a", "c"), ("b", "c")}


def test_every_metric_is_documented():
    assert len(METRICS) == len(BY_NAME) > 15
    assert all(m.formula and m.source and m.range and m.needs for m in METRICS)


def test_a_record_comes_back_as_it_was_unless_its_inputs_changed(tmp_path):
    kept = Records(tmp_path)
    measured = Measured(Scores({"psnr": float("inf"), "ssim": 1 / 3}, {"lpips": "no weights"}), frames=5, with_face=4)
    measured.strip = np.zeros((8, 16, 3), np.uint8)
    written = kept.write("a", "b/c", "mark", measured)
    assert kept.read("a", "b/c", "mark") == written
    assert written.values == {"psnr": float("inf"), "ssim": 0.333333333}
    assert kept.read("a", "b/c", "other") is None
    json.loads(kept.place("a", "b/c", ".json").read_text(), parse_constant=pytest.fail)  # strict: no Infinity
    kept.write("a", "b/c", "mark", "cannot be read")
    assert kept.read("a", "b/c", "mark") is None


def test_fid_of_a_system_is_that_of_all_its_features(tmp_path):
    kept, rng = Records(tmp_path), np.random.default_rng(0)
    some = {}
    for system, offset in (("real", 0), ("a", 2)):
        some[system] = []
        for n in range(2):
            features = rng.normal(offset, 0, (3, 4)).astype(np.float32)
            some[system].append(kept.write(system, f"{n}", "", Measured(Scores(), features=features)))
    found = fid(kept, some["a"], some["real"])
    assert found is not None
    assert found.mean == pytest.approx(4 * 2**2)
    assert fid(kept, [], some["real"]) is None


def test_reasons_are_counted_the_commonest_first():
    some = [Record("a", "x", "", {}, {"lpips": why}, {}) for why in ("p", "q", "q")]
    assert list(why_missing(some, "lpips").items()) == [("q", 2), ("p", 1)]
