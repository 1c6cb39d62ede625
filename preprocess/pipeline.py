"""The whole of a run: the stages in their order, from videos to a data set and its report."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from face_detection import Detector
from preprocess import dataset, splits
from preprocess.clip_stages import ClipSettings, judge_clips
from preprocess.cut import Crops, remove_clips
from preprocess.faces import Faces, tracks_path
from preprocess.fates import History
from preprocess.ingest import Source
from preprocess.manifest import FAILED, OK, REJECTED, Manifest, Record
from preprocess.pack import pack
from preprocess.page import write_page
from preprocess.parts import Part, Task, parts_of
from preprocess.probe import Probe
from preprocess.quality_stage import measure_quality
from preprocess.resync import recover
from preprocess.runner import Runner, StageWork
from preprocess.segments import Segments
from preprocess.settings import Settings
from preprocess.shots import Shots
from preprocess.sync import look_up
from preprocess.workers import Crew, Maker
from wav2lip.clips import INFO, PARTIAL
from wav2lip.errors import InputError

log = logging.getLogger(__name__)

VIDEO_STAGES = ("probe", "shots", "faces", "segments", "crops")
CLIP_STAGES = ("quality", "sync", "splits", "pack", "report")
STAGES = VIDEO_STAGES + CLIP_STAGES


@dataclass(frozen=True)
class PackSettings:
    """The form that training reads fastest."""

    sizes: Sequence[int] = (96,)  # pixels
    encoding: str = "raw"


@dataclass(frozen=True)
class Job:
    """What is to be done with the videos."""

    root: Path  # where the data set goes
    settings: Settings
    detector: Maker[Detector]
    clips: ClipSettings = field(default_factory=ClipSettings)
    pack: PackSettings | None = field(default_factory=PackSettings)  # None: training reads the clips themselves
    filelists: Path | None = None  # folder for the lists; None: in the data set, which carries its own
    batch_size: int = 32  # frames given to the detector at a time
    workers: int = 2  # processes; 0 works in this one
    stages: Sequence[str] = STAGES
    overwrite: bool = False  # do everything again
    retry: bool = False  # do again what was rejected

    def __post_init__(self) -> None:
        unknown = [stage for stage in self.stages if stage not in STAGES]
        if unknown or not self.stages:
            raise InputError(f"stages={','.join(unknown)}: unknown; choose among {', '.join(STAGES)}")


@dataclass(frozen=True)
class Result:
    """What a run leaves."""

    histories: list[History]  # of the inputs, in their order
    dataset: dict[str, Any] | None  # what dataset.json says; None if no stage that judges clips was asked for


def run(sources: Sequence[Source], job: Job) -> Result:
    """Take videos through the stages.

    Raises: InputError if job.root cannot be written or another run writes there, or if a stage lacks an earlier one.
    """
    try:
        job.root.mkdir(parents=True, exist_ok=True)
        with Manifest(job.root) as manifest, Crew(job.workers) as crew:
            shutil.rmtree(job.root / PARTIAL, ignore_errors=True)  # of a run that was killed
            recover(job.root)
            runner = Runner(manifest, crew, job.stages, job.overwrite, job.retry)
            histories = _video_stages(sources, job, runner)
            last = max(STAGES.index(stage) for stage in job.stages)
            if STAGES[last] == "quality":  # nobody asked for a verdict
                measure_quality(job.root, look_up(job.root, _all_clips(histories), crew)[0], runner)
            return Result(histories, _finish(histories, job, runner) if last > STAGES.index("quality") else None)
    except OSError as error:
        raise InputError(
            f"{job.root}: cannot be written ({error}); make room or choose another out=, then run again"
        ) from error
    finally:
        shutil.rmtree(job.root / PARTIAL, ignore_errors=True)


def _video_stages(sources: Sequence[Source], job: Job, runner: Runner) -> list[History]:
    """What became of each video, in the order given."""
    probed = runner.run("probe", Probe(job.settings), {source.clip: source for source in _largest_first(sources)})
    parts = {
        source.clip: parts_of(source, probed[source.clip], job.settings) if probed[source.clip].fate == OK else []
        for source in sources
    }
    found = {
        part.key: (part, {"probe": probed[part.source.clip]})
        for source in _largest_first(sources)
        for part in parts[source.clip]
    }
    sync = job.clips.sync
    crops = Crops(
        job.settings, job.root, job.overwrite and "crops" in job.stages, unmoved=sync is None or not sync.correct
    )
    works: dict[str, StageWork] = {
        "shots": Shots(job.settings.shots),
        "faces": Faces(job.settings.faces, job.detector, job.batch_size, job.root),
        "segments": Segments(job.settings.segments, job.root),
        "crops": crops,
    }
    last = max(STAGES.index(stage) for stage in job.stages)
    for stage, work in works.items():
        if STAGES.index(stage) > last:
            break
        _part_stage(stage, work, found, job, runner)
    if last >= STAGES.index("crops"):
        _remove_stale(parts, found, runner.manifest, job.root)
    return [
        History(source, probed[source.clip], [_told(found[part.key]) for part in parts[source.clip]])
        for source in sources
    ]


def _largest_first(sources: Sequence[Source]) -> list[Source]:
    """Or one process is left with the largest at the end."""
    return sorted(sources, key=lambda source: -source.size)


def _part_stage(
    stage: str, work: StageWork, found: dict[str, tuple[Part, dict[str, Record]]], job: Job, runner: Runner
) -> None:
    """Do a stage to all parts that came so far."""
    tasks = {
        key: Task(part, dict(records))
        for key, (part, records) in found.items()
        if all(record.fate == OK for record in records.values())
    }

    def stands(record: Record) -> bool:
        if stage == "faces":
            return tracks_path(job.root, tasks[record.key].part).exists()
        if isinstance(work, Crops) and work.unmoved:
            return all(work.stands(clip, record.fingerprint) for clip in _clips(record))
        return all((job.root / clip / INFO).exists() for clip in _clips(record))

    def remove_others(record: Record) -> None:
        before = runner.manifest.records("crops").get(record.key)
        if record.fate != FAILED:
            remove_clips(job.root, _clips(before) - _clips(record))

    outcome = runner.run(
        stage, work, tasks, stands=stands, before_adding=remove_others if stage == "crops" else lambda record: None
    )
    for key, record in outcome.items():
        found[key][1][stage] = record


def _told(found: tuple[Part, dict[str, Record]]) -> tuple[Part, dict[str, Record]]:
    """A part with the records of its own stages."""
    part, records = found
    return part, {stage: record for stage, record in records.items() if stage != "probe"}


def _clips(record: Record | None) -> set[str]:
    return {clip["clip"] for clip in record.figures.get("clips", ())} if record is not None else set()


def _remove_stale(
    parts: dict[str, list[Part]], found: dict[str, tuple[Part, dict[str, Record]]], manifest: Manifest, root: Path
) -> None:
    """Remove the clips that videos of this run give no more; those of other videos stay, and are told of."""
    others = 0
    for key, record in manifest.records("crops").copy().items():
        if not _clips(record) or (key in found and all(r.fate != REJECTED for r in found[key][1].values())):
            continue
        if key.rpartition("@")[0] in parts:
            remove_clips(root, _clips(record))
            manifest.add(Record("crops", key, ""))
        else:
            others += len(_clips(record))
    if others:
        log.warning("%s: holds %d clips of other videos; they stay, but are in no file list", root, others)


def _finish(histories: Sequence[History], job: Job, runner: Runner) -> dict[str, Any]:
    """Judge the clips, and write the file lists, the packs, dataset.json and report.html."""
    judged = judge_clips(job.root, _all_clips(histories), job.clips, runner)
    lists = job.filelists or job.root / "filelists"
    kept = sorted({clip for names in judged.dealt.splits.values() for clip in names})
    if "splits" in job.stages:
        splits.write_filelists(lists, judged.dealt.splits)
    if "pack" in job.stages and kept and job.pack is not None:
        pack(job.root, kept, job.pack.sizes, job.pack.encoding, max(1, job.workers))
    content = dataset.describe(histories, judged, _told_settings(job))
    if "report" in job.stages:
        dataset.write(job.root, content)
        write_page(job.root, content)
    return content


def _all_clips(histories: Sequence[History]) -> list[str]:
    return [clip["clip"] for history in histories for _, clip in history.clips()]


def _told_settings(job: Job) -> dict[str, Any]:
    """All that shaped the data set."""
    clips = job.clips
    return {
        **asdict(job.settings),
        "sync": None if clips.sync is None else asdict(clips.sync),
        "quality": asdict(clips.limits),
        "splits": asdict(clips.shares),
    }
