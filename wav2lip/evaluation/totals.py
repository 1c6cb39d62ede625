"""What many clips say of a system: means with their uncertainty, and whether two systems differ.

Intervals are bootstrap percentiles (Efron 1979) over clips, as a clip's frames are not independent; two systems are
compared on the clips that both have (paired), by the same resampling and by Wilcoxon's signed-rank test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wav2lip.evaluation.metrics import BY_NAME, HIGHER, METRICS, Metric, frechet
from wav2lip.evaluation.records import Record, Records
from wav2lip.evaluation.takes import REAL
from wav2lip.shift_curve import ShiftCurve

RESAMPLES = 2000
LEVEL = 0.95  # of confidence
ROWS = 4096  # of features read at a time
FEWEST = 6  # pairs: of five, even if all lean one way, chance does the same once in 16 times


@dataclass(frozen=True)
class Total:
    """A metric over the clips of a system."""

    mean: float
    low: float | None  # of the interval; None of a metric that is of all clips at once, and of one clip
    high: float | None
    clips: int


@dataclass(frozen=True)
class Difference:
    """A metric of one system less that of another, over the clips that both have.

    Of a metric with a best value (offset, sharpness) what is subtracted are the distances from that.
    """

    metric: str
    system: str
    other: str
    mean: float
    low: float
    high: float
    clips: int
    p: float | None  # of Wilcoxon's test, two-sided; None of too few clips

    @property
    def better(self) -> str | None:
        """The system that is better, where the interval says so, of six clips or more: of few that all lean one way,
        resampling makes a certainty."""
        if self.clips < FEWEST or self.low <= 0 <= self.high:
            return None
        return self.system if (self.low > 0) == (BY_NAME[self.metric].better == HIGHER) else self.other


def totals(records: Sequence[Record], seed: int) -> dict[str, Total]:
    """Each metric that some clip has, in the order of METRICS."""
    found = {}
    for metric in METRICS:
        values = [record.values[metric.name] for record in records if metric.name in record.values]
        if values:
            low, high = interval(np.array(values), seed) if len(values) > 1 else (None, None)
            found[metric.name] = Total(float(np.mean(values)), low, high, len(values))
    return found


def interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Within which the mean lies, (N,) values: percentiles of the means of resamples, which may be infinite."""
    rng = np.random.default_rng(seed)
    means = np.sort([values[rng.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)])
    tail = round((1 - LEVEL) / 2 * RESAMPLES)
    return float(means[tail]), float(means[-1 - tail])


def differences(records: Mapping[str, Sequence[Record]], seed: int) -> list[Difference]:
    """Every metric of every two systems but the real videos."""
    names = [name for name in records if name != REAL]
    pairs = [(a, b) for n, a in enumerate(names) for b in names[n + 1 :]]
    found = (difference(metric, a, b, records[a], records[b], seed) for a, b in pairs for metric in METRICS)
    return [one for one in found if one is not None]


def difference(
    metric: Metric, system: str, other: str, ours: Sequence[Record], theirs: Sequence[Record], seed: int
) -> Difference | None:
    """Of one metric; None if fewer than two clips have it in both, as finite numbers."""
    before = {record.clip: record.values[metric.name] for record in theirs if metric.name in record.values}
    pairs = [(r.values[metric.name], before[r.clip]) for r in ours if metric.name in r.values and r.clip in before]
    pairs = [pair for pair in pairs if np.isfinite(pair).all()]
    if len(pairs) < 2:
        return None
    apart = np.array([metric.off(a) - metric.off(b) for a, b in pairs])
    low, high = interval(apart, seed)
    return Difference(metric.name, system, other, float(apart.mean()), low, high, len(apart), _wilcoxon(apart))


def _wilcoxon(apart: np.ndarray) -> float | None:
    if len(apart) < FEWEST or not apart.any():
        return None
    from scipy.stats import wilcoxon  # a second to import

    return float(wilcoxon(apart).pvalue)


def fid(records: Records, made: Sequence[Record], real: Sequence[Record]) -> Total | None:
    """FID of a system against the real videos; None where one of them has no features."""
    clouds = [frechet.Cloud.of(_features(records, some)) for some in (made, real)]
    if clouds[0] is None or clouds[1] is None:
        return None
    return Total(frechet.frechet_distance(clouds[0], clouds[1]), None, None, len(made))


def _features(records: Records, some: Sequence[Record]) -> Iterator[np.ndarray]:
    for record in some:
        path: Path = records.place(record.system, record.clip, ".npy")
        if record.failed is None and path.is_file():
            rows = np.load(path, mmap_mode="r")
            yield from (rows[n : n + ROWS] for n in range(0, len(rows), ROWS))


def mean_curve(records: Sequence[Record], judge: str) -> ShiftCurve | None:
    """The mean over the clips that have a curve of this judge."""
    curves = [record.curves[judge] for record in records if judge in record.curves]
    return ShiftCurve(np.mean(curves, axis=0)) if curves else None


def why_missing(records: Sequence[Record], metric: str) -> dict[str, int]:
    """Why clips lack a metric, with how many, the commonest first."""
    assert metric in BY_NAME
    reasons = [record.not_computed[metric] for record in records if metric in record.not_computed]
    return {reason: reasons.count(reason) for reason in sorted(set(reasons), key=lambda r: (-reasons.count(r), r))}
