"""All that a run found, ready to be told; results.json holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from wav2lip.evaluation.metrics import METRICS, Metric, frechet
from wav2lip.evaluation.records import Record, Records, write_json
from wav2lip.evaluation.settings import Settings
from wav2lip.evaluation.takes import REAL
from wav2lip.evaluation.totals import Difference, Total, differences, fid, totals, why_missing
from wav2lip.shift_curve import SHIFTS

ONE_SET = "there are no real videos to compare with, or no frame of one of the two has a face; give some"


@dataclass(frozen=True)
class Results:
    """Of every system."""

    title: str  # the mode and what it was given
    seed: int  # of the bootstrap, and of what sounds were shuffled by
    evaluators: Mapping[str, str]
    records: Mapping[str, Sequence[Record]]  # by system, the real videos first
    totals: Mapping[str, Mapping[str, Total]]  # by system and metric
    missing: Mapping[str, str]  # metric that no system has, and why
    differences: Sequence[Difference]
    folder: Path  # of the run

    @property
    def metrics(self) -> list[Metric]:
        """Those that some system has."""
        return [metric for metric in METRICS if any(metric.name in total for total in self.totals.values())]

    @property
    def failed(self) -> list[Record]:
        """What could not be measured."""
        return [record for some in self.records.values() for record in some if record.failed]

    def write_json(self) -> Path:
        """results.json: what stands in the report, as numbers."""
        path = self.folder / "results.json"
        content: dict[str, Any] = {
            "title": self.title,
            "seed": self.seed,
            "evaluators": dict(self.evaluators),
            "shifts": list(SHIFTS),
            "metrics": {metric.name: asdict(metric) for metric in METRICS},
            "totals": {
                system: {name: {k: _plain(v) for k, v in asdict(one).items()} for name, one in total.items()}
                for system, total in self.totals.items()
            },
            "not_computed": dict(self.missing),
            "differences": [asdict(one) | {"better": one.better} for one in self.differences],
            "clips": {
                system: [
                    vars(record) | {"values": {name: _plain(value) for name, value in record.values.items()}}
                    for record in some
                ]
                for system, some in self.records.items()
            },
        }
        write_json(path, content)
        return path


def results_of(
    title: str, seed: int, settings: Settings, records: Mapping[str, Sequence[Record]], folder: Path
) -> Results:
    """Add up what was measured."""
    found = {system: totals(some, seed) for system, some in records.items()}
    kept = Records(folder)
    for system, some in records.items():
        distance = fid(kept, some, records[REAL]) if REAL in records and system != REAL else None
        if distance is not None:
            found[system][frechet.METRIC.name] = distance
    missing = {}
    for metric in METRICS:
        if not any(metric.name in total for total in found.values()):
            made = [record for system, some in records.items() if system != REAL for record in some]
            reasons = why_missing(made or list(records[REAL]), metric.name)
            without = frechet.NO_NETWORK if settings.fid_network is None and settings.fid_weights is None else ONE_SET
            missing[metric.name] = without if metric is frechet.METRIC else next(iter(reasons), "no clip was measured")
    return Results(
        title, seed, settings.evaluators(), records, found, missing, differences(records, seed), folder
    )  # fmt: skip


def _plain(value: float | int | None) -> float | int | str | None:
    return value if value is None or isfinite(value) else str(value)
