"""Summaries, intervals and comparisons, against SciPy and by hand."""

import json

import numpy as np
import pytest
import scipy.stats

from wav2lip.evaluation.aggregate import (
    bootstrap_interval,
    compare,
    compare_systems,
    compute_fid,
    count_missing_reasons,
    summarize,
)
from wav2lip.evaluation.cache import CachedResult, ResultCache
from wav2lip.evaluation.metrics import BY_NAME, METRICS, Scores
from wav2lip.evaluation.samples import SampleScores


def make_results(system, metric, values):
    return [CachedResult(system, f"clip{n}", "", {metric: float(v)}, {}, {}) for n, v in enumerate(values)]


def test_interval_equals_scipys_bootstrap():
    values = np.random.default_rng(0).normal(7, 1, 40)
    expected = scipy.stats.bootstrap((values,), np.mean, method="percentile", rng=0).confidence_interval
    assert bootstrap_interval(values, seed=1) == pytest.approx((expected.low, expected.high), abs=0.04)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)


def test_interval_of_infinite_values():
    assert bootstrap_interval(np.array([np.inf, np.inf]), 0) == (np.inf, np.inf)
    low, high = bootstrap_interval(np.array([30.0, 31, 32, 33, np.inf]), 0)
    assert 30 <= low < 34
    assert high == np.inf


def test_mean_skips_clips_without_the_metric():
    cached = [*make_results("a", "ssim", [0.5, 0.7]), CachedResult("a", "x", "", {"psnr": 20.0}, {}, {})]
    summary = summarize(cached, 0)
    assert (summary["ssim"].mean, summary["ssim"].clips) == (pytest.approx(0.6), 2)
    assert (summary["psnr"].mean, summary["psnr"].low, summary["psnr"].clips) == (20, None, 1)
    assert set(summary) == {"ssim", "psnr"}


def test_systems_are_compared_on_common_clips():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.8, 0.05, 12), rng.normal(0.7, 0.05, 12)
    comparison = compare(BY_NAME["ssim"], "a", "b", make_results("a", "ssim", a), make_results("b", "ssim", b[:10]), 0)
    assert comparison is not None
    assert (comparison.mean, comparison.clips) == (pytest.approx((a - b)[:10].mean()), 10)
    assert comparison.p == pytest.approx(scipy.stats.wilcoxon((a - b)[:10]).pvalue)
    assert comparison.better == "a"


@pytest.mark.parametrize(
    ("metric", "a", "b", "better"),
    [
        ("ssim", [0.9, 0.9, 0.8], [0.5, 0.6, 0.7], "a"),
        ("lse_d", [9, 9, 8], [5, 6, 7], "b"),
        ("expert_offset", [-3, 4, -2], [1, -1, 0], "b"),
        ("sharpness", [0.9, 1.1, 1.0], [0.5, 2.0, 1.4], "a"),
        ("flicker", [1, 2, 3], [2, 1, 3], None),
    ],
)
def test_better_follows_the_direction_of_the_metric(metric, a, b, better):
    comparison = compare(
        BY_NAME[metric], "a", "b", make_results("a", metric, 2 * a), make_results("b", metric, 2 * b), 0
    )
    assert comparison is not None
    assert comparison.better == better


def test_no_system_is_better_with_fewer_than_six_clips():
    a, b = make_results("a", "ssim", [0.9] * 5), make_results("b", "ssim", [0.5] * 5)
    comparison = compare(BY_NAME["ssim"], "a", "b", a, b, 0)
    assert comparison is not None
    assert (comparison.low, comparison.p, comparison.better) == (pytest.approx(0.4), None, None)


def test_real_videos_are_not_compared():
    cached = {name: make_results(name, "ssim", [0.1, 0.2, 0.3]) for name in ("real", "a", "b", "c")}
    assert {(d.system, d.other) for d in compare_systems(cached, 0)} == {("a", "b"), ("a", "c"), ("b", "c")}


def test_every_metric_is_documented():
    assert len(METRICS) == len(BY_NAME) > 15
    assert all(m.formula and m.source and m.range and m.needs for m in METRICS)


def test_cached_result_is_valid_for_its_inputs_only(tmp_path):
    cache = ResultCache(tmp_path)
    scores = SampleScores(
        Scores({"psnr": float("inf"), "ssim": 1 / 3}, {"lpips": "no weights"}), frames=5, frames_with_face=4
    )
    scores.thumbnails = np.zeros((8, 16, 3), np.uint8)
    written = cache.write("a", "b/c", "mark", scores)
    assert cache.read("a", "b/c", "mark") == written
    assert written.values == {"psnr": float("inf"), "ssim": 0.333333333}
    assert cache.read("a", "b/c", "other") is None
    json.loads(cache.path("a", "b/c", ".json").read_text(), parse_constant=pytest.fail)  # strict: no Infinity
    cache.write("a", "b/c", "mark", "cannot be read")
    assert cache.read("a", "b/c", "mark") is None


def test_fid_uses_all_features_of_a_system(tmp_path):
    cache, rng = ResultCache(tmp_path), np.random.default_rng(0)
    cached = {}
    for system, offset in (("real", 0), ("a", 2)):
        cached[system] = []
        for n in range(2):
            features = rng.normal(offset, 0, (3, 4)).astype(np.float32)
            cached[system].append(cache.write(system, f"{n}", "", SampleScores(Scores(), features=features)))
    fid = compute_fid(cache, cached["a"], cached["real"])
    assert fid is not None
    assert fid.mean == pytest.approx(4 * 2**2)
    assert compute_fid(cache, [], cached["real"]) is None


def test_reasons_are_sorted_by_frequency():
    cached = [CachedResult("a", "x", "", {}, {"lpips": reason}, {}) for reason in ("p", "q", "q")]
    assert list(count_missing_reasons(cached, "lpips").items()) == [("q", 2), ("p", 1)]
