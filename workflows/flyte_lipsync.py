"""Lip-sync one video as a Flyte flow: python -m workflows.flyte_lipsync --checkpoint_path F --face F --audio F

Tasks: audio analysis, plan, segments (mapped in chunks), join; with --engine sadtalker audio analysis and result. Their
arguments are digests of contents, by which results are cached, and URIs, which the cache ignores. The storage folder
keeps plans and segments for cached tasks. Flyte's crash and usage reports are switched off.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ["DO_NOT_TRACK"] = "1"  # before flyte is imported

import flyte

from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.audio.voice_activity import detect_voice
from wav2lip.batch.engines import FORMAT, Factory, LipSyncFactory, SadTalkerFactory
from wav2lip.batch.jobs import Job, add_digests, parse_flags
from wav2lip.batch.work import JoinResult, PlanResult, RenderResult, RenderSegment, Segment, SegmentedJob
from wav2lip.cli import run as run_entry_point
from wav2lip.costs.ledger import job_name, sum_jobs, total
from wav2lip.costs.prices import Prices, read_prices
from wav2lip.costs.table import format_table
from wav2lip.engines import ENGINES, SADTALKER, WAV2LIP
from wav2lip.errors import USER_ERRORS, InputError
from wav2lip.execution.grant import local_grant
from wav2lip.execution.interface import Progress, WorkerContext
from wav2lip.execution.manifest import OK, REJECTED, Record, hash_values
from wav2lip.execution.usage import MeasuredWork
from wav2lip.hashing import hash_checkpoint
from wav2lip.media import probe, read_audio
from wav2lip.sadtalker.checkpoints import hash_folder

IMAGE = flyte.Image.from_base(os.environ.get("WAV2LIP_IMAGE", "wav2lip:cpu"))
RETRIES = 2  # of a task that fails; bad input is a record and fails once
URIS = ("request", "run_id")  # arguments that the cache ignores
AUDIO = "audio"  # stage

cpu_env = flyte.TaskEnvironment("wav2lip_cpu", image=IMAGE, resources=flyte.Resources(cpu=2, memory="4Gi"))
gpu_env = flyte.TaskEnvironment(
    "wav2lip_render", image=IMAGE,
    resources=flyte.Resources(cpu=4, memory="12Gi", gpu=os.environ.get("WAV2LIP_GPU")),  # type: ignore[arg-type]
)  # fmt: skip
flow_env = flyte.TaskEnvironment(
    "wav2lip_flow", image=IMAGE, resources=flyte.Resources(cpu=1, memory="1Gi"), depends_on=[cpu_env, gpu_env]
)


def cache() -> flyte.Cache:
    """Cache by the digests and the version of the stages; `override` would never hit in local runs."""
    return flyte.Cache("auto", version_override=f"lipsync-{FORMAT}", ignored_inputs=URIS)


@dataclass(frozen=True)
class Request:
    """Paths and options of one result; travels as JSON."""

    face: str
    audio: str
    outfile: str
    checkpoint: str  # file of the generator; folder of SadTalker's checkpoints
    storage: str  # folder for plans and segments, readable by all workers
    flags: tuple[str, ...] = ()  # options as on the command line of the engine
    engine: str = WAV2LIP
    detector: str = "auto"
    device: str = "auto"
    segment_seconds: float = 60.0
    segments_per_task: int = 4
    prices: str = ""

    @classmethod
    def parse(cls, text: str) -> Request:
        """Parse `json`. Raises: InputError for an unknown engine or impossible numbers."""
        values = json.loads(text)
        request = cls(**{**values, "flags": tuple(values["flags"])})
        if request.engine not in ENGINES:
            raise InputError(f"--engine {request.engine}: must be one of {', '.join(ENGINES)}")
        if not request.segment_seconds > 0 or request.segments_per_task < 1:
            raise InputError("--segment_seconds, --segments_per_task: must be above 0 and at least 1")
        return request

    @property
    def json(self) -> str:
        """The request as a string, for `parse`."""
        return json.dumps(asdict(self))

    def job(self, face_digest: str, audio_digest: str) -> Job:
        """Return the job of the batch stages."""
        paths = Path(self.face), Path(self.audio), Path(self.outfile)
        options = parse_flags(self.flags, self.engine)
        return Job(paths[2].name, *paths, options, self.engine, "", face_digest, audio_digest)

    def model(self, checkpoint_digest: str) -> LipSyncFactory:
        """Return the factory of the generator."""
        return LipSyncFactory(self.checkpoint, self.device, self.detector, None, checkpoint_digest)

    def factories(self, checkpoint_digest: str) -> Mapping[str, Factory]:
        """Return the factory of the engine, by its name."""
        if self.engine == WAV2LIP:
            return {WAV2LIP: self.model(checkpoint_digest)}
        return {SADTALKER: SadTalkerFactory(self.checkpoint, self.device, self.detector, None, checkpoint_digest)}

    def hash_checkpoint(self) -> str:
        """Hash the weights."""
        return hash_folder(self.checkpoint) if self.engine == SADTALKER else hash_checkpoint(self.checkpoint)


@lru_cache
def _context() -> WorkerContext:
    """Return the context of this process, which keeps the generator loaded."""
    return WorkerContext(0, local_grant(1))


def _measure(work: Any, stage_input: Any, run_id: str) -> str:
    """Run work; return its record as JSON with its usage and the run in which it was computed."""
    measured = MeasuredWork(work)(stage_input, _context(), lambda fraction: None)
    record = replace(measured.result, usage=measured.usage.to_json())
    return json.dumps({"run": run_id, "record": asdict(record)})


def _load(text: str, run_id: str) -> Record:
    """Return the record of a task; cached if another run computed it."""
    content = json.loads(text)
    return replace(Record(**content["record"]), cached=content["run"] != run_id)


@dataclass(frozen=True)
class AnalyzeAudio:
    """Check that the audio can be used, and measure it."""

    def __call__(self, job: Job, context: WorkerContext, progress: Progress) -> Record:
        """Return seconds, and the share of them with a voice."""
        fingerprint, (audio,) = hash_values(AUDIO, FORMAT, job.audio_digest), job.audios
        try:
            media = probe(audio)
            media.require_audio()
            voice = detect_voice(read_audio(audio, SAMPLE_RATE))
        except USER_ERRORS as error:
            return Record(AUDIO, job.key, fingerprint, REJECTED, "bad input", str(error), job.describe())
        share = round(float(voice.mean()), 4) if len(voice) else 0.0
        data = {**job.describe(), "seconds": round(media.seconds, 3), "voice_share": share}
        return Record(AUDIO, job.key, fingerprint, data=data)


@cpu_env.task(cache=cache(), retries=RETRIES)
def analyze_audio(audio_digest: str, request: str, run_id: str) -> str:
    """Measure the driving audio."""
    return _measure(AnalyzeAudio(), Request.parse(request).job("", audio_digest), run_id)


@gpu_env.task(cache=cache(), retries=RETRIES)
def plan(key: str, digests: list[str], seconds: float, storage: str, fresh: str, request: str, run_id: str) -> str:
    """Locate the faces and divide the result into segments.

    key: fingerprint of contents and options. digests: of face, audio and checkpoint. fresh: not empty repeats the task.
    """
    parsed = Request.parse(request)
    work = PlanResult(parsed.model(digests[2]), Path(storage), seconds, is_always_divided=True)
    return _measure(work, parsed.job(*digests[:2]), run_id)


@gpu_env.task(cache=cache(), retries=RETRIES)
def render(
    key: str, digests: list[str], plan_path: str, fingerprint: str, numbers: list[int], fresh: str, request: str,
    run_id: str,
) -> list[str]:  # fmt: skip
    """Render some segments of a plan."""
    parsed = Request.parse(request)
    job, work = parsed.job(*digests[:2]), RenderSegment(parsed.model(digests[2]))
    return [_measure(work, Segment(job, number, Path(plan_path), fingerprint), run_id) for number in numbers]


@gpu_env.task(cache=cache(), retries=RETRIES)
def render_whole(key: str, digests: list[str], outfile: str, fresh: str, request: str, run_id: str) -> str:
    """Render a result at once; see `plan` for the arguments."""
    parsed = Request.parse(request)
    return _measure(RenderResult(parsed.factories(digests[2])), parsed.job(*digests[:2]), run_id)


@cpu_env.task(cache=cache(), retries=RETRIES)
def join(
    key: str, digests: list[str], plan_path: str, fingerprint: str, count: int, outfile: str, fresh: str, request: str,
    run_id: str,
) -> str:  # fmt: skip
    """Join the segments and the audio without re-encoding."""
    parsed = Request.parse(request)
    job = parsed.job(*digests[:2])
    segments = tuple(Segment(job, number, Path(plan_path), fingerprint) for number in range(count))
    return _measure(JoinResult(parsed.model(digests[2])), SegmentedJob(job, segments), run_id)


@flow_env.task
def lipsync(request: str) -> str:
    """Run the flow; returns the table of time and cost.

    Raises: InputError with the reason of the first task that could not be done.
    """
    parsed, run_id = Request.parse(request), uuid.uuid4().hex
    (job,) = add_digests([parsed.job("", "")])
    if job.fault:
        raise InputError(job.fault)
    digests = [job.face_digest, job.audio_digest, parsed.hash_checkpoint()]
    key = parsed.factories(digests[2])[parsed.engine].fingerprint(job)

    records = _check([_load(analyze_audio(job.audio_digest, request, run_id), run_id)])
    if parsed.engine == SADTALKER:
        common = key, digests, parsed.outfile
        records += _check([
            _repeat_if_missing(
                lambda fresh: _load(render_whole(*common, fresh, request, run_id), run_id),
                [job.outfile], run_id,
            )
        ])  # fmt: skip
    else:
        records += _render_in_segments(parsed, job, key, digests, run_id)
    return _format_costs(records, parsed, job)


def _render_in_segments(parsed: Request, job: Job, key: str, digests: list[str], run_id: str) -> list[Record]:
    """Plan, render and join a result of Wav2Lip; returns the records of these tasks."""
    request = parsed.json
    path = PlanResult(parsed.model(digests[2]), Path(parsed.storage), parsed.segment_seconds).path(job)
    planned = _repeat_if_missing(
        lambda fresh: _load(
            plan(key, digests, parsed.segment_seconds, parsed.storage, fresh, request, run_id), run_id
        ),
        [path], run_id,
    )  # fmt: skip
    records = _check([planned])
    segments = [Segment(job, number, path, planned.fingerprint) for number in range(planned.data["segments"])]
    records += _check(_render_all(segments, parsed.segments_per_task, (key, digests, request, run_id)))
    common = key, digests, str(path), planned.fingerprint, len(segments), parsed.outfile
    records += _check([
        _repeat_if_missing(
            lambda fresh: _load(join(*common, fresh, request, run_id), run_id), [job.outfile], run_id
        )
    ])  # fmt: skip
    return records


def _repeat_if_missing(task: Callable[[str], Record], files: Sequence[Path], run_id: str) -> Record:
    """Return the record of a task, repeated if a cached one has lost its files."""
    record = task("")
    return record if record.status != OK or all(file.exists() for file in files) else task(run_id)


def _render_all(
    segments: Sequence[Segment], size: int, arguments: tuple[str, list[str], str, str]
) -> list[Record]:  # fmt: skip
    """Map the segments in chunks; a cached chunk that has lost its files is rendered again."""
    key, digests, request, run_id = arguments
    chunks = [segments[first : first + size] for first in range(0, len(segments), size)]

    def render_chunks(selected: Sequence[Sequence[Segment]], fresh: str) -> list[list[Record]]:
        n = len(selected)
        results = flyte.map(
            render, [key] * n, [digests] * n, [str(chunk[0].plan) for chunk in selected],
            [chunk[0].fingerprint for chunk in selected], [[segment.number for segment in chunk] for chunk in selected],
            [fresh] * n, [request] * n, [run_id] * n, return_exceptions=False,
        )  # fmt: skip
        return [[_load(text, run_id) for text in texts] for texts in results]  # type: ignore[union-attr]

    rendered = render_chunks(chunks, "")
    lost = [
        index
        for index, (chunk, records) in enumerate(zip(chunks, rendered, strict=True))
        if all(record.status == OK for record in records) and not all(segment.path.exists() for segment in chunk)
    ]
    if lost:
        for index, records in zip(lost, render_chunks([chunks[index] for index in lost], run_id), strict=True):
            rendered[index] = records
    return [record for records in rendered for record in records]


def _check(records: list[Record]) -> list[Record]:
    """Raise InputError with the reason of the first record that is not OK."""
    for record in records:
        if record.status != OK:
            raise InputError(record.reason)
    return records


def _format_costs(records: Sequence[Record], request: Request, job: Job) -> str:
    """Return the table with one row: cached records carry the names of the run that computed them."""
    records = [
        replace(record, key=job.key + record.key.removeprefix(job_name(record.key)), data=record.data | job.describe())
        for record in records
    ]
    prices = read_prices(Path(request.prices)) if request.prices else Prices()
    jobs = sum_jobs(records, prices)
    priced = f"Prices in {prices.currency} of {prices.date}; cached tasks in brackets." if request.prices else ""
    return format_table(jobs, total(jobs), None, priced)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line; flags of infer that it does not name are options."""
    parser = argparse.ArgumentParser(
        prog="python -m workflows.flyte_lipsync", description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--checkpoint_path", required=True, metavar="FILE", help="generator; folder of checkpoints for sadtalker")
    add("--face", required=True, metavar="FILE", help="video or image with a face")
    add("--audio", required=True, metavar="FILE", help="file with audio")
    add("--outfile", default="results/result_voice.mp4", metavar="FILE", help="result")
    add("--storage", default="results/flyte", metavar="DIR", help="folder for plans and segments")
    add("--engine", choices=ENGINES, default=WAV2LIP, help="talking-head engine")
    add("--detector", default="auto", help="auto, s3fd, mtcnn or haar")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--segment_seconds", type=float, default=60.0, metavar="S", help="length of a segment of wav2lip")
    add("--segments_per_task", type=int, default=4, metavar="N", help="segments that one task renders")
    add("--prices", default="", metavar="FILE", help="prices like configs/prices/example.yaml")
    add("--remote", action="store_true", help="run on the cluster of the Flyte config, not in this process")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Run the flow in this process, or on a cluster, and print the table."""
    args, flags = build_parser().parse_known_args(argv)
    values = {name: value for name, value in vars(args).items() if name not in ("checkpoint_path", "remote")}
    request = Request(**values, checkpoint=args.checkpoint_path, flags=tuple(flags))
    parse_flags(flags, args.engine)
    if args.remote:
        flyte.init_from_config()
        sys.stdout.write(f"{flyte.run(lipsync, request.json).url}\n")
        return
    flyte.init()
    outputs = flyte.with_runcontext(mode="local").run(lipsync, request.json).outputs()
    sys.stdout.write(f"{outputs[0]}\n")


if __name__ == "__main__":
    run_entry_point(main)
