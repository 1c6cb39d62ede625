"""Statistics over clips: means with their uncertainty, and paired comparisons of systems.

Intervals are bootstrap percentiles (Efron 1979) over clips, because a clip's frames are not independent. Two systems
are compared on the clips that both have, by the same resampling and by Wilcoxon's signed-rank test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from wav2lip.arrays import read_array
from wav2lip.evaluation.cache import CachedResult, ResultCache, encode_values, write_json
from wav2lip.evaluation.metrics import BY_NAME, HIGHER, METRICS, Metric, frechet
from wav2lip.evaluation.samples import REAL
from wav2lip.evaluation.settings import EvalSettings
from wav2lip.sync.offset_curve import SHIFTS, OffsetCurve

NUM_RESAMPLES = 2000
CONFIDENCE_LEVEL = 0.95
BATCH_ROWS = 4096  # rows of features per read
MIN_PAIRS = 6  # five pairs of the same sign occur by chance with probability 1/16
NO_FACES = "there are no real videos to compare with, or one set has no face; give videos with faces"


@dataclass(frozen=True)
class Summary:
    """A metric over the clips of a system."""

    mean: float
    low: float | None  # bounds of the interval; None for a single clip, and for metrics over all clips together
    high: float | None
    clips: int


@dataclass(frozen=True)
class Comparison:
    """Mean difference of a metric between two systems, system minus other, over the clips that both have.

    For a metric with a best value (offset, sharpness) the distances from it are subtracted.
    """

    metric: str
    system: str
    other: str
    mean: float
    low: float
    high: float
    clips: int
    p: float | None  # two-sided Wilcoxon test; None with too few clips

    @property
    def better(self) -> str | None:
        """The better system if the interval excludes 0; None below six clips, whose interval is too narrow."""
        if self.clips < MIN_PAIRS or self.low <= 0 <= self.high:
            return None
        return self.system if (self.low > 0) == (BY_NAME[self.metric].better == HIGHER) else self.other


@dataclass(frozen=True)
class Results:
    """Results of a run."""

    title: str  # the mode and its main arguments
    seed: int  # seed of the bootstrap and of shuffled audio
    evaluators: Mapping[str, str]
    clips: Mapping[str, Sequence[CachedResult]]  # key: system, the real videos first
    summary: Mapping[str, Mapping[str, Summary]]  # keys: system and metric
    missing: Mapping[str, str]  # metrics that no system has, with the reason
    comparisons: Sequence[Comparison]
    folder: Path  # of the run

    @property
    def metrics(self) -> list[Metric]:
        """Metrics that some system has."""
        return [metric for metric in METRICS if any(metric.name in summary for summary in self.summary.values())]

    @property
    def errors(self) -> list[CachedResult]:
        """Clips that could not be measured."""
        return [result for results in self.clips.values() for result in results if result.error]

    def write_json(self) -> Path:
        """Write results.json: the numbers of the report."""
        path = self.folder / "results.json"
        content: dict[str, Any] = {
            "title": self.title,
            "seed": self.seed,
            "evaluators": dict(self.evaluators),
            "shifts": list(SHIFTS),
            "metrics": {metric.name: asdict(metric) for metric in METRICS},
            "summary": {
                system: {name: {key: _encode(v) for key, v in asdict(item).items()} for name, item in summary.items()}
                for system, summary in self.summary.items()
            },
            "not_computed": dict(self.missing),
            "comparisons": [asdict(item) | {"better": item.better} for item in self.comparisons],
            "clips": {
                system: [vars(result) | {"values": encode_values(result.values)} for result in results]
                for system, results in self.clips.items()
            },
        }
        write_json(path, content)
        return path


def aggregate(
    title: str, seed: int, settings: EvalSettings, clips: Mapping[str, Sequence[CachedResult]], folder: Path
) -> Results:
    """Compute the statistics of a run from the results of its clips."""
    summary = {system: summarize(results, seed) for system, results in clips.items()}
    cache = ResultCache(folder)
    for system, results in clips.items():
        fid = compute_fid(cache, results, clips[REAL]) if REAL in clips and system != REAL else None
        if fid is not None:
            summary[system][frechet.METRIC.name] = fid
    generated = [result for system, results in clips.items() if system != REAL for result in results]
    missing = {}
    for metric in METRICS:
        if not any(metric.name in metrics for metrics in summary.values()):
            reasons = count_missing_reasons(generated or list(clips[REAL]), metric.name)
            has_network = settings.fid_network is not None or settings.fid_weights is not None
            fid_reason = NO_FACES if has_network else frechet.NO_NETWORK
            missing[metric.name] = (
                fid_reason if metric is frechet.METRIC else next(iter(reasons), "no clip was measured")
            )
    comparisons = compare_systems(clips, seed)
    return Results(title, seed, settings.evaluators(), clips, summary, missing, comparisons, folder)


def summarize(results: Sequence[CachedResult], seed: int) -> dict[str, Summary]:
    """Summarize each metric that some clip has, in the order of METRICS."""
    summary = {}
    for metric in METRICS:
        values = [result.values[metric.name] for result in results if metric.name in result.values]
        if values:
            low, high = bootstrap_interval(np.array(values), seed) if len(values) > 1 else (None, None)
            summary[metric.name] = Summary(float(np.mean(values)), low, high, len(values))
    return summary


def bootstrap_interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the percentile interval of the mean of values (N,), which may be infinite."""
    rng = np.random.default_rng(seed)
    means = np.sort([values[rng.integers(0, len(values), len(values))].mean() for _ in range(NUM_RESAMPLES)])
    tail = round((1 - CONFIDENCE_LEVEL) / 2 * NUM_RESAMPLES)
    return float(means[tail]), float(means[-1 - tail])


def compare_systems(clips: Mapping[str, Sequence[CachedResult]], seed: int) -> list[Comparison]:
    """Compare every metric of every two systems; the real videos are not compared."""
    names = [name for name in clips if name != REAL]
    pairs = [(a, b) for n, a in enumerate(names) for b in names[n + 1 :]]
    comparisons = (compare(metric, a, b, clips[a], clips[b], seed) for a, b in pairs for metric in METRICS)
    return [comparison for comparison in comparisons if comparison is not None]


def compare(
    metric: Metric,
    system: str,
    other: str,
    results: Sequence[CachedResult],
    other_results: Sequence[CachedResult],
    seed: int,
) -> Comparison | None:
    """Compare one metric of two systems; None if fewer than two clips have a finite value in both."""
    other_values = {r.clip: r.values[metric.name] for r in other_results if metric.name in r.values}
    pairs = [
        (r.values[metric.name], other_values[r.clip])
        for r in results
        if metric.name in r.values and r.clip in other_values
    ]
    pairs = [pair for pair in pairs if np.isfinite(pair).all()]
    if len(pairs) < 2:
        return None
    differences = np.array([metric.deviation(a) - metric.deviation(b) for a, b in pairs])
    low, high = bootstrap_interval(differences, seed)
    mean, p = float(differences.mean()), _wilcoxon(differences)
    return Comparison(metric.name, system, other, mean, low, high, len(differences), p)


def _wilcoxon(differences: np.ndarray) -> float | None:
    if len(differences) < MIN_PAIRS or not differences.any():
        return None
    from scipy.stats import wilcoxon  # takes a second to import

    return float(wilcoxon(differences).pvalue)


def compute_fid(cache: ResultCache, generated: Sequence[CachedResult], real: Sequence[CachedResult]) -> Summary | None:
    """Return the FID of a system against the real videos; None if either has no features."""
    a, b = (frechet.FeatureStatistics.from_batches(_read_features(cache, results)) for results in (generated, real))
    if a is None or b is None:
        return None
    return Summary(frechet.frechet_distance(a, b), None, None, len(generated))


def _read_features(cache: ResultCache, results: Sequence[CachedResult]) -> Iterator[np.ndarray]:
    for result in results:
        path = cache.path(result.system, result.clip, ".npy")
        if result.error is None and path.is_file():
            rows = read_array(path)
            yield from (rows[n : n + BATCH_ROWS] for n in range(0, len(rows), BATCH_ROWS))


def mean_curve(results: Sequence[CachedResult], expert: str) -> OffsetCurve | None:
    """Return the mean over the clips that have a curve of this expert."""
    curves = [result.curves[expert] for result in results if expert in result.curves]
    return OffsetCurve(np.mean(curves, axis=0)) if curves else None


def count_missing_reasons(results: Sequence[CachedResult], metric: str) -> dict[str, int]:
    """Count the clips by the reason why they lack a metric, most frequent first."""
    assert metric in BY_NAME
    reasons = [result.not_computed[metric] for result in results if metric in result.not_computed]
    return {reason: reasons.count(reason) for reason in sorted(set(reasons), key=lambda r: (-reasons.count(r), r))}


def _encode(value: float | int | None) -> float | int | str | None:
    return value if value is None or isfinite(value) else str(value)
