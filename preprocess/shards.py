"""Shards of a data set: each run does the stages of its videos and clips, and `preprocess.merge` all that follow."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from preprocess.curation.filelists import replace_text
from preprocess.curation.outcomes import InputRecords
from preprocess.ingest import SOURCES, Source, read_sources
from preprocess.pipeline import CLIP_STAGES, VIDEO_STAGES, Job
from preprocess.stages.crops import clips_of, remove_clips
from preprocess.stages.faces import tracks_file
from wav2lip.dataset.clip import INFO, partial_folder
from wav2lip.errors import InputError
from wav2lip.execution.manifest import FAILED, STATE_FOLDER, Manifest, Record, read_records
from wav2lip.execution.shard import Shard
from wav2lip.files import publish

SHARD = "shard.json"  # file in the state folder, written when all stages of a shard are finished
SHARD_STAGES = VIDEO_STAGES + CLIP_STAGES
KEY_BLOCK = 1 << 16  # bytes read at the start, the middle and the end of a video
# Keys of the config that do not shape the data set and may differ between shards.
RUNTIME_KEYS = {
    "videos", "out", "shard", "stages", "executor", "ray_address", "workers", "worker_cpus", "worker_gpus", "device",
    "batch_size", "s3fd_weights", "landmark_weights", "overwrite", "retry", "filelists",
}  # fmt: skip


@dataclass(frozen=True)
class FinishedShard:
    """A finished shard on disk."""

    root: Path
    shard: Shard
    config: Mapping[str, Any]  # keys of configs/preprocess.yaml that shape the data set, the detector resolved
    sources: Sequence[Source]  # with their digests; the paths are not valid
    crashes: Sequence[Record]  # inputs that crashed their worker


def select_sources(sources: Sequence[Source], shard: Shard) -> list[Source]:
    """Return the videos of a shard, by their content: a video stays in its shard when others are added or renamed."""
    return [source for source in sources if shard.contains(_content_key(source.path))]


def _content_key(path: Path) -> bytes:
    """Hash the size and three blocks of a file: every shard reads all files of the folder; an unreadable one is b""."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            blocks = [size.to_bytes(8, "big")]
            for offset in (0, max(0, size // 2 - KEY_BLOCK // 2), max(0, size - KEY_BLOCK)):
                file.seek(offset)
                blocks.append(file.read(KEY_BLOCK))
    except OSError:
        return b""
    return hashlib.sha256(b"".join(blocks)).digest()


def begin_shard(job: Job) -> Job:
    """Return the job without the stages that need the whole data set; the shard counts as unfinished until its end."""
    (job.root / STATE_FOLDER / SHARD).unlink(missing_ok=True)
    stages = [stage for stage in job.stages if stage in SHARD_STAGES]
    if not stages:
        raise InputError(f"stages={','.join(job.stages)}: must be among {', '.join(SHARD_STAGES)} with shard=")
    return replace(job, stages=stages)


def finish_shard(job: Job, shard: Shard, cfg: Mapping[str, Any], inputs: Sequence[InputRecords]) -> None:
    """Mark a shard as finished, for `read_shard`."""
    config = {key: value for key, value in cfg.items() if key not in RUNTIME_KEYS}
    faces = job.settings.faces  # resolved values in the place of "auto"
    config |= {"detector": faces.detector, "smooth_window_frames": faces.smooth_window_frames}
    crashes = [asdict(r) for video in inputs for r in video.records() if r.status == FAILED]
    content = {"shard": str(shard), "config": config, "device": cfg["device"], "crashes": crashes}
    replace_text(job.root / STATE_FOLDER / SHARD, json.dumps(content, indent=1, default=str) + "\n")


def read_shard(root: Path) -> FinishedShard:
    """Read a shard. Raises: InputError if the folder is none, or is unfinished."""
    path = root / STATE_FOLDER / SHARD
    if not path.exists():
        raise InputError(f"{root}: is no finished shard; run its preprocess command again until it ends")
    content = json.loads(path.read_text(encoding="utf-8"))
    sources = list(read_sources(root / STATE_FOLDER / SOURCES).values())
    crashes = [Record(**record) for record in content["crashes"]]
    config = {**content["config"], "device": content["device"]}
    return FinishedShard(root, Shard.parse(content["shard"]), config, sources, crashes)


def check_shards(shards: Sequence[FinishedShard]) -> None:
    """Check that shards are the parts of one data set. Raises: InputError if not."""
    first = shards[0]
    numbers = [shard.shard.number for shard in shards]
    for shard in shards:
        if shard.shard.count != first.shard.count or numbers.count(shard.shard.number) > 1:
            raise InputError(f"{shard.root}: is shard {shard.shard}; give each of one number of shards once")
        differing = [k for k in first.config if k != "device" and shard.config.get(k) != first.config[k]]
        if differing:
            raise InputError(
                f"{shard.root}: {', '.join(differing)} differ from {first.root}; run the shards with the same settings"
            )
    missing = sorted(set(range(1, first.shard.count + 1)) - set(numbers))
    if missing:
        names = ", ".join(f"{number}/{first.shard.count}" for number in missing)
        raise InputError(f"shards=: {names} missing; give all {first.shard.count}")
    clips = [source.clip for shard in shards for source in shard.sources]
    repeated = next((clip for clip in clips if clips.count(clip) > 1), None) if len(set(clips)) < len(clips) else None
    if repeated is not None:
        raise InputError(f"{repeated}: is in two shards; run all shards again on the same folder of videos")


def import_shard(shard: FinishedShard, manifest: Manifest) -> None:
    """Copy the records, tracks and clips of a shard into another data root; what is there already is skipped.

    Images are hard links where the file system supports them. The files come before their record, so that a killed
    merge is completed by the next.
    """
    videos = {source.clip for source in shard.sources}
    clips: set[str] = set()
    for stage in SHARD_STAGES:
        for key, record in read_records(shard.root / STATE_FOLDER / f"{stage}.jsonl").items():
            is_current = key in clips if stage in CLIP_STAGES else key.rpartition("@")[0] in videos or key in videos
            if stage == "crops" and is_current:
                clips |= clips_of(record)
            if is_current and not _is_imported(record, manifest):
                _import_files(record, shard.root, manifest)
                manifest.add(record, flush=False)


def _is_imported(record: Record, manifest: Manifest) -> bool:
    if manifest.find(record.stage, record.key, record.fingerprint) is None:
        return False
    if record.stage == "faces":
        return record.status != "ok" or tracks_file(manifest.root, record.key).exists()
    return all((manifest.root / clip / INFO).exists() for clip in clips_of(record))


def _import_files(record: Record, shard: Path, manifest: Manifest) -> None:
    """Copy the tracks or the clips of a record; clips that replaced others take their place."""
    root = manifest.root
    tracks = tracks_file(shard, record.key)
    if record.stage == "faces" and tracks.exists():
        target = tracks_file(root, record.key)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        shutil.copy2(tracks, partial)
        publish(partial, target)
    if record.stage == "crops":
        remove_clips(root, clips_of(manifest.records("crops").get(record.key)) - clips_of(record))
        for clip in sorted(clips_of(record)):
            _import_clip(shard, root, clip)


def _import_clip(shard: Path, root: Path, clip: str) -> None:
    partial = partial_folder(root, clip)
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(shard / clip, partial, copy_function=_link_or_copy)
    shutil.rmtree(root / clip, ignore_errors=True)
    (root / clip).parent.mkdir(parents=True, exist_ok=True)
    publish(partial, root / clip)


def _link_or_copy(source: str, target: str) -> None:
    """Link an image, which no later stage changes; copy all else with its modification time."""
    if source.endswith(".jpg"):
        try:
            os.link(source, target)
            return
        except OSError:  # The file system does not support hard links, or is another one.
            pass
    shutil.copy2(source, target)
