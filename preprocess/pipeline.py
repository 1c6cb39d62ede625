"""The whole of a run: what is left to do, done, remembered, dealt out and told."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from face_detection import Detector, build_detector
from preprocess import report, splits
from preprocess.cut import Job
from preprocess.fates import FAILED, OK, REJECTED, Outcome
from preprocess.ingest import Source
from preprocess.journal import Journal
from preprocess.workers import DetectorMaker, spread
from wav2lip.clips import INFO, PARTIAL
from wav2lip.devices import choose_device
from wav2lip.errors import InputError

log = logging.getLogger(__name__)

BAR = "{l_bar}{bar}| {n:.1f} of {total} videos [{elapsed}, {remaining} left]"


@dataclass(frozen=True)
class DetectorChoice:
    """Which detector the workers build."""

    name: str
    weights: str | None = None
    device: str = "auto"
    batch_size: int = 32
    compat: str = "none"

    def resolve(self) -> DetectorChoice:
        """The choice with the detector that "auto" stands for here; weights that are missing are downloaded once."""
        found = build_detector(self.name, weights=self.weights, compat=self.compat)
        choose_device(self.device)  # one sentence now rather than one from each worker
        return DetectorChoice(found.name, self.weights, self.device, self.batch_size, self.compat)

    def build(self, worker: int) -> Detector:
        """Build it; several workers spread over the GPUs there are."""
        device = choose_device(self.device)
        if self.name == "s3fd" and device.type == "cuda" and device.index is None:
            import torch

            device = torch.device("cuda", worker % torch.cuda.device_count())
        return build_detector(
            self.name,
            weights=self.weights,
            device=device,
            batch_size=self.batch_size,
            compat=self.compat,
            download=False,
        )


@dataclass(frozen=True)
class Shares:
    """How clips are dealt out to train, val and test."""

    val: float = 0.05  # of the sources
    test: float = 0.05
    seed: int = 0
    by: str = "auto"

    def __post_init__(self) -> None:
        splits.check_shares(self.val, self.test)


@dataclass(frozen=True)
class Result:
    """What a run leaves."""

    outcomes: list[Outcome]  # one for each input, in the order of their names
    earlier: set[str]  # clips whose outcome is an earlier run's
    filelists: Path

    @property
    def clips(self) -> list[str]:
        """The clips there are."""
        return [outcome.clip for outcome in self.outcomes if outcome.fate == OK]


def run(
    sources: Sequence[Source],
    job: Job,
    maker: DetectorMaker,
    *,
    workers: int = 2,
    overwrite: bool = False,
    retry: bool = False,
    shares: Shares | None = None,
    filelists: Path | None = None,
) -> Result:
    """Make the clips of all sources in job.root, then the file lists and dataset.json.

    workers: processes; 0 works in this one. overwrite: do everything again. retry: do what was rejected again.
    filelists: folder for the lists, by default one in job.root: a data set carries its own.
    Raises: InputError if job.root cannot be written or another run writes there.
    """
    if workers < 0:
        raise InputError(f"workers={workers}: is below 0; give a number of processes, 0 for none besides this one")
    filelists = filelists or job.root / "filelists"
    try:
        job.root.mkdir(parents=True, exist_ok=True)
        with Journal(job.root, job.settings) as journal:
            outcomes = {} if overwrite else _done_before(sources, job.root, journal, retry)
            earlier = set(outcomes)
            todo = [source for source in sources if source.clip not in outcomes]
            todo.sort(key=lambda source: -source.size)  # the largest first, or one worker is left with it at the end
            outcomes |= _do(todo, job, maker, workers, journal)
            left = journal.clips() - {source.clip for source in sources}
        if left:
            log.warning("%s: holds %d clips of other videos; they stay, but are in no file list", job.root, len(left))
        result = Result([outcomes[source.clip] for source in sources], earlier, filelists)
        dealt = _deal(result, shares or Shares())
        report.write_dataset(job.root, job.settings, result.outcomes, dealt, filelists)
    except OSError as error:
        raise InputError(f"{job.root}: cannot be written ({error}); make room or choose another out=") from error
    return result


def _done_before(sources: Sequence[Source], root: Path, journal: Journal, retry: bool) -> dict[str, Outcome]:
    """Outcomes that stand, by clip."""
    known = {source.clip: outcome for source in sources if (outcome := journal.find(source)) is not None}
    return {
        clip: outcome
        for clip, outcome in known.items()
        if (outcome.fate == OK and (root / clip / INFO).exists()) or (outcome.fate == REJECTED and not retry)
    }


def _do(todo: Sequence[Source], job: Job, maker: DetectorMaker, workers: int, journal: Journal) -> dict[str, Outcome]:
    if not todo:
        log.info("nothing to do: every input was done before, with these settings")
        return {}
    outcomes: dict[str, Outcome] = {}
    shutil.rmtree(job.root / PARTIAL, ignore_errors=True)  # of a run that was killed
    try:
        with tqdm(total=len(todo), unit="video", disable=None, bar_format=BAR) as bar:

            def show(at_work: float) -> None:
                bar.n = round(len(outcomes) + at_work, 2)
                bar.refresh()

            for source, outcome in spread(todo, job, maker, workers, show):
                outcomes[outcome.clip] = outcome
                if outcome.fate != FAILED:
                    journal.add(source, outcome)
                show(0)
    finally:
        shutil.rmtree(job.root / PARTIAL, ignore_errors=True)
    return outcomes


def _deal(result: Result, shares: Shares) -> dict[str, list[str]]:
    """Write the file lists; with no clip there is nothing to list, and older lists stay."""
    if not result.clips:
        return {name: [] for name in splits.SPLITS}
    dealt = splits.split(result.clips, shares.val, shares.test, shares.seed, shares.by)
    splits.write_filelists(result.filelists, dealt)
    return dealt
