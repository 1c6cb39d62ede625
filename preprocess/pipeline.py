"""The stages in their order, from videos to a data set and its report.

Map stages work on one video, chunk or clip at a time, spread over the workers of an executor. Reduce stages need the
records of all clips and run in the driver, which is the only writer of the manifest.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from face_detection import Detector
from preprocess.config import VideoSettings
from preprocess.curation.clip_inputs import inspect_clips
from preprocess.curation.curate import CurationSettings, curate
from preprocess.curation.filelists import write_filelists
from preprocess.curation.outcomes import InputRecords
from preprocess.ingest import SOURCES, Source, add_digests, read_sources, write_sources
from preprocess.report.dataset import describe
from preprocess.stages.crops import CropsStage, clips_of, remove_clips
from preprocess.stages.faces import FacesStage, tracks_path
from preprocess.stages.pack import PackSettings, run_pack
from preprocess.stages.probe import ProbeStage
from preprocess.stages.quality import run_quality
from preprocess.stages.report import run_report
from preprocess.stages.segments import SegmentsStage
from preprocess.stages.shots import ShotsStage
from preprocess.sync.apply_offset import recover
from preprocess.video_chunks import StageInput, VideoChunk, split_into_chunks
from wav2lip.dataset.clip import INFO, PARTIAL_DIR
from wav2lip.errors import InputError, file_error
from wav2lip.execution.build import ExecutorSettings, build_executor
from wav2lip.execution.interface import ResourceFactory
from wav2lip.execution.manifest import FAILED, OK, REJECTED, STATE_FOLDER, Manifest, Record
from wav2lip.execution.stage_runner import StageRunner, StageWork
from wav2lip.faces.framing import KEY
from wav2lip.files import remove_partial_files

log = logging.getLogger(__name__)

VIDEO_STAGES = ("probe", "shots", "faces", "segments", "crops")  # map over videos and their chunks
CLIP_STAGES = ("quality",)  # map over clips
REDUCE_STAGES = ("sync", "splits", "pack", "report")  # reduce over all clips
STAGES = VIDEO_STAGES + CLIP_STAGES + REDUCE_STAGES


@dataclass(frozen=True)
class Job:
    """Everything that a run does to its videos."""

    root: Path  # data root to write
    settings: VideoSettings
    detector: ResourceFactory[Detector]
    curation: CurationSettings = field(default_factory=CurationSettings)
    pack: PackSettings | None = field(default_factory=PackSettings)  # None: training reads the clip folders
    filelists: Path | None = None  # folder of the file lists; None: inside the data root
    batch_size: int = 32  # frames per call of the detector with compat=public
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)  # where the stages run
    stages: Sequence[str] = STAGES
    overwrite: bool = False  # run the stages again for all inputs
    retry: bool = False  # run them again for rejected inputs
    crashes: Sequence[Record] = ()  # crashes of merged shards, used for stages that may not run

    def __post_init__(self) -> None:
        unknown = [stage for stage in self.stages if stage not in STAGES]
        if unknown or not self.stages:
            raise InputError(f"stages={','.join(unknown)}: must be among {', '.join(STAGES)}")

    @property
    def last_stage(self) -> int:
        """Index of the last stage to run; those before it are needed for their records."""
        return max(STAGES.index(stage) for stage in self.stages)

    def needs(self, stage: str) -> bool:
        """Return whether the records of a stage are needed."""
        return STAGES.index(stage) <= self.last_stage


@dataclass(frozen=True)
class Result:
    """Records and report of a run."""

    inputs: list[InputRecords]  # same order as the sources
    dataset: dict[str, Any] | None  # content of dataset.json; None without a reduce stage


class ChunkRecords:
    """Records of all chunks of a run, filled stage by stage."""

    def __init__(self, probed: Mapping[str, Record], chunks: Mapping[str, Sequence[VideoChunk]]):
        """probed, chunks: by clip id of the source, in the order in which chunks are to be processed."""
        self._probed = probed
        self._chunks = {chunk.key: chunk for source_chunks in chunks.values() for chunk in source_chunks}
        self._keys = {clip: [chunk.key for chunk in source_chunks] for clip, source_chunks in chunks.items()}
        self._records: dict[str, dict[str, Record]] = {key: {} for key in self._chunks}

    def stage_inputs(self) -> dict[str, StageInput]:
        """Return the chunks that no stage has rejected so far, with their records."""
        return {
            key: StageInput(chunk, {"probe": self._probed[chunk.source.clip], **self._records[key]})
            for key, chunk in self._chunks.items()
            if all(record.status == OK for record in self._records[key].values())
        }

    def add(self, stage: str, records: Mapping[str, Record]) -> None:
        """Add the records of a stage, by chunk."""
        for key, record in records.items():
            self._records[key][stage] = record

    def is_current(self, key: str) -> bool:
        """Return whether a chunk is part of this run and was not rejected."""
        return key in self._records and all(r.status != REJECTED for r in self._records[key].values())

    def has_source(self, clip: str) -> bool:
        """Return whether a video is an input of this run, rejected or not."""
        return clip in self._probed

    def input_records(self, source: Source) -> InputRecords:
        """Return all records of one input."""
        chunks = [(self._chunks[key], self._records[key]) for key in self._keys.get(source.clip, ())]
        return InputRecords(source, self._probed[source.clip], chunks)


def _remove_partial_results(root: Path) -> None:
    """Delete what a killed run has left of clips, tracks, lists and descriptions."""
    shutil.rmtree(root / PARTIAL_DIR, ignore_errors=True)
    for folder in (root, root / "filelists", root / STATE_FOLDER, root / STATE_FOLDER / "tracks"):
        remove_partial_files(folder)


def run(sources: Sequence[Source], job: Job) -> Result:
    """Run the stages over videos.

    Raises: InputError if job.root cannot be written or another run writes there, or if records of an earlier stage that
        is not in job.stages are missing.
    """
    try:
        job.root.mkdir(parents=True, exist_ok=True)
        with Manifest(job.root) as manifest, build_executor(job.executor) as executor:
            _remove_partial_results(job.root)
            recover(job.root)
            crashes = {(record.stage, record.key): record for record in job.crashes}
            runner = StageRunner(manifest, executor, job.stages, job.overwrite, job.retry, crashes)
            inputs = _run_video_stages(_identify(sources, manifest), job, runner)
            clips = [clip["clip"] for video in inputs for clip in video.clips()]
            if any(job.needs(stage) for stage in REDUCE_STAGES):
                return Result(inputs, _run_reduce_stages(inputs, clips, job, runner))
            if job.needs("quality"):
                run_quality(job.root, inspect_clips(job.root, clips, executor, "quality")[0], runner)
            return Result(inputs, None)
    except OSError as error:
        raise file_error(error, job.root) from error
    finally:
        shutil.rmtree(job.root / PARTIAL_DIR, ignore_errors=True)


def _identify(sources: Sequence[Source], manifest: Manifest) -> list[Source]:
    """Return the sources with the digests of their content, which the next run reuses."""
    path = manifest.folder / SOURCES
    identified = add_digests(sources, read_sources(path))
    write_sources(path, identified)
    return identified


def _run_video_stages(sources: Sequence[Source], job: Job, runner: StageRunner) -> list[InputRecords]:
    """Run the map stages over videos and their chunks."""
    # The largest video is first, or one worker would process it alone at the end.
    ordered = sorted(sources, key=lambda source: -source.size)
    probed = runner.run("probe", ProbeStage(job.settings), {source.clip: source for source in ordered})
    records = ChunkRecords(
        probed,
        {
            source.clip: split_into_chunks(source, probed[source.clip], job.settings)
            for source in ordered
            if probed[source.clip].status == OK
        },
    )
    for stage, work in _chunk_stages(job):
        _run_chunk_stage(stage, work, records, job, runner)
    if job.needs("crops"):
        _remove_stale_clips(records, runner.manifest, job.root)
    return [records.input_records(source) for source in sources]


def _chunk_stages(job: Job) -> Iterator[tuple[str, StageWork]]:
    sync = job.curation.sync
    corrects_sync = sync is not None and sync.correct
    overwrite_crops = job.overwrite and "crops" in job.stages
    stages: dict[str, StageWork] = {
        "shots": ShotsStage(job.settings.shots),
        "faces": FacesStage(job.settings.faces, job.detector, job.batch_size, job.root),
        "segments": SegmentsStage(job.settings.segments, job.root),
        "crops": CropsStage(job.settings, job.root, overwrite_crops, restore_audio=not corrects_sync),
    }
    return ((stage, work) for stage, work in stages.items() if job.needs(stage))


def _run_chunk_stage(stage: str, work: StageWork, records: ChunkRecords, job: Job, runner: StageRunner) -> None:
    """Run a map stage over all remaining chunks."""
    inputs = records.stage_inputs()

    def output_exists(record: Record) -> bool:
        if stage == "faces":
            return tracks_path(job.root, inputs[record.key].chunk).exists()
        if isinstance(work, CropsStage) and work.restore_audio:
            return all(work.is_current(clip, record.fingerprint) for clip in clips_of(record))
        return all((job.root / clip / INFO).exists() for clip in clips_of(record))

    def remove_replaced_clips(record: Record) -> None:
        previous = runner.manifest.records("crops").get(record.key)
        if stage == "crops" and record.status != FAILED:
            remove_clips(job.root, clips_of(previous) - clips_of(record))

    records.add(
        stage, runner.run(stage, work, inputs, output_exists=output_exists, before_adding=remove_replaced_clips)
    )


def _remove_stale_clips(records: ChunkRecords, manifest: Manifest, root: Path) -> None:
    """Remove clips that the videos of this run no longer contain; clips of other videos stay."""
    foreign = 0
    for key, record in manifest.records("crops").copy().items():
        if not clips_of(record) or records.is_current(key):
            continue
        if records.has_source(key.rpartition("@")[0]):
            remove_clips(root, clips_of(record))
            manifest.add(Record("crops", key, ""))
        else:
            foreign += len(clips_of(record))
    if foreign:
        log.warning("%s: contains %d clips of other videos; they stay, but are in no file list", root, foreign)


def _run_reduce_stages(
    inputs: Sequence[InputRecords], clips: Sequence[str], job: Job, runner: StageRunner
) -> dict[str, Any]:
    """Curate the clips, then write the file lists, the packs, dataset.json and report.html."""
    curation = curate(job.root, clips, job.curation, runner)
    splits = curation.assignment.splits
    if "splits" in job.stages:
        write_filelists(job.filelists or job.root / "filelists", splits)
    if "pack" in job.stages:
        listed = sorted({clip for names in splits.values() for clip in names})
        run_pack(job.root, listed, job.pack, job.executor.workers)
    content = describe(inputs, curation, _describe_settings(job))
    if "report" in job.stages:
        run_report(job.root, content)
    return content


def _describe_settings(job: Job) -> dict[str, Any]:
    """Return all settings that shaped the data set."""
    curation = job.curation
    return {
        **asdict(job.settings),
        KEY: job.settings.framing.to_json(),
        "sync": None if curation.sync is None else asdict(curation.sync),
        "quality": asdict(curation.limits),
        "splits": asdict(curation.splits),
    }
