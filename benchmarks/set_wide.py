"""Seconds and peak memory of the stages that need the whole data set, on synthetic records.

    python benchmarks/set_wide.py [--clips 100000] [--clips_per_video 5]

Records as the video and clip stages write them, without the clips themselves: random audio landmarks and image hashes,
one clip in a hundred a duplicate. Linux only: it resets the peak of the process before each stage.
"""

from __future__ import annotations

import argparse
import base64
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import numpy as np

from preprocess.curation.clip_origin import ClipOrigin
from preprocess.curation.curate import Curation
from preprocess.curation.duplicates import find_duplicates, group_duplicates, select_redundant
from preprocess.curation.outcomes import InputRecords, Rejection
from preprocess.curation.splits import SplitEntry, SplitSettings, assign_splits
from preprocess.ingest import Source
from preprocess.report.dataset import describe, write_dataset
from preprocess.report.html import write_report
from preprocess.video_chunks import VideoChunk
from wav2lip.dataset.shards import Index, PackManifest, Shard, latest_entries
from wav2lip.execution.grant import local_grant
from wav2lip.execution.manifest import Manifest, Record, read_records
from wav2lip.execution.usage import UsageMeter

T = TypeVar("T")

CLIP_FRAMES = 250  # 10 s
SHARD_CLIPS = 600  # of a pack: 4 GiB at 96 pixels


def measure(name: str, stage: Callable[[], T]) -> T:
    """Run a stage and print its seconds and the peak of this process meanwhile."""
    meter = UsageMeter(local_grant(1))
    result = stage()
    usage = meter.stop()
    print(f"| {name} | {usage.wall_s:.1f} | {usage.peak_rss_mib:.0f} |", flush=True)
    return result


def fingerprints(names: list[str], rng: np.random.Generator) -> dict[str, str]:
    """Return fingerprints as `duplicates.fingerprint_clip`; each hundredth repeats that of the clip before."""
    result: dict[str, str] = {}
    for number, name in enumerate(names):
        if number % 100 == 99:
            result[name] = result[names[number - 1]]
            continue
        columns = np.sort(rng.choice(np.arange(36, 800), 60, replace=False))
        landmarks = (rng.integers(0, 1 << 20, 60) << 12 | columns).astype("<u4")
        image = int(rng.integers(0, 1 << 63))
        result[name] = f"{CLIP_FRAMES}:{image:016x}:{base64.b64encode(landmarks.tobytes()).decode()}"
    return result


def build_inputs(videos: int, clips_per_video: int) -> list[InputRecords]:
    """Return the records of videos, each of one chunk."""
    inputs = []
    frames = CLIP_FRAMES * clips_per_video + 50
    for number in range(videos):
        clip = f"speaker{number % 997:03d}/take{number:06d}"
        source = Source(Path(f"{clip}.mp4"), f"{clip}.mp4", clip, 10**7, 0, "0" * 64)
        clips = [
            {"clip": f"{clip}_{first:06d}", "first": first, "frames": CLIP_FRAMES, "face": 0, "faces": 250, "filled": 3}
            for first in range(0, CLIP_FRAMES * clips_per_video, CLIP_FRAMES)
        ]
        probed = Record("probe", clip, "f", data={"seconds": frames / 25, "fps": 25.0, "width": 640, "height": 480})
        records = {
            "faces": Record("faces", f"{clip}@0", "f", data={"frames": frames, "width": 640, "height": 480}),
            "segments": Record(
                "segments", f"{clip}@0", "f", data={"dropped": [[frames - 50, frames, "faces", "no face"]]}
            ),
            "crops": Record("crops", f"{clip}@0", "f", data={"clips": clips, "dropped": [], "problems": []}),
        }
        inputs.append(InputRecords(source, probed, [(VideoChunk(source), records)]))
    return inputs


def clip_records(names: list[str], prints: dict[str, str], rng: np.random.Generator) -> tuple[dict, dict]:
    """Return quality and sync records."""
    qualities, sync = {}, {}
    for name in names:
        values = {key: float(rng.random()) for key in ("sharpness", "exposure", "black_share", "white_share")}
        rest = {"face_pixels": float(rng.integers(60, 200)), "head_turn": 0.1, "filled_share": 0.01}
        shares = {"silent_share": 0.1, "clipped_share": 0.0, "static_share": 0.01, "fingerprint": prints[name]}
        qualities[name] = Record("quality", name, "f", data=values | rest | shares)
        data = {"applied": 0, "offset": 0, "peak": 0.1, "confidence": 6.5, "confident": True, "windows": 200}
        sync[name] = Record("sync", name, "f", data=data | {"curve": rng.random(31).round(4).tolist()})
    return qualities, sync


def pack_index(names: list[str]) -> int:
    """Build and search the index of a pack, as reading it back does."""
    shards = []
    for first in range(0, len(names), SHARD_CLIPS):
        part = names[first : first + SHARD_CLIPS]
        n = len(part)
        index = Index(part, ["0" * 32] * n, [1] * n, [250 * 27648] * n, [800] * n, [[0, 250]] * n, [""] * n)
        shards.append(Shard(Path(f"{first:06d}"), index, 0))
    entries = latest_entries(shards)
    manifest = PackManifest(96, "raw", {shard.folder.name: shard.checksum for shard in shards}, [])
    return len(entries) + len(asdict(manifest)["shards"])


def write_and_read(root: Path, records: dict[str, Record]) -> int:
    """Append records to a manifest and read them back."""
    with Manifest(root) as manifest:
        for record in records.values():
            manifest.add(record, flush=False)
    return len(read_records(root / ".stages" / "quality.jsonl"))


def main() -> None:
    """Run the stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--clips_per_video", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    inputs = build_inputs(args.clips // args.clips_per_video, args.clips_per_video)
    names = [clip["clip"] for video in inputs for clip in video.clips()]
    origins = {n: ClipOrigin(n, n.rpartition("_")[0], int(n.rpartition("_")[2]), CLIP_FRAMES) for n in names}
    prints = fingerprints(names, rng)
    qualities, sync = clip_records(names, prints, rng)

    print(f"{len(names)} clips of {len(inputs)} videos\n\n| stage | seconds | peak, MiB |\n|---|---|---|")
    pairs = measure("duplicates", lambda: find_duplicates(prints, origins))
    groups = group_duplicates(pairs)
    pixels = {name: float(record.data["face_pixels"]) for name, record in qualities.items()}
    redundant = measure("redundant", lambda: select_redundant(pairs, pixels, dict.fromkeys(names, 10.0)))
    kept = [name for name in names if name not in redundant]
    entries = [SplitEntry(n, origins[n].source, n.split("/")[0], origins[n].first / 25, 10.0) for n in kept]
    for by in ("group", "video", "time"):
        settings = SplitSettings(by=by)
        assignment = measure(f"splits by {by}", lambda s=settings: assign_splits(entries, s, groups))
    measure("pack index", lambda: pack_index(names))
    rejections = {clip: Rejection("quality", "duplicate", "") for clip in redundant}
    summary = {
        "agreement_found": True,
        "conclusion": "",
        "expert": "cca",
        "confident": 1,
        "corrected": 0,
        "uncertain": 0,
    }
    curation = Curation(names, sync, summary, qualities, rejections, assignment)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        content = measure("describe", lambda: describe(inputs, curation, {}))
        measure("dataset.json", lambda: write_dataset(root, content))
        measure("report.html", lambda: write_report(root, content))
        sys.stderr.write(f"{len(pairs)} pairs, {(root / 'dataset.json').stat().st_size / 1e6:.0f} MB\n")
        measure("records", lambda: write_and_read(root, qualities))


if __name__ == "__main__":
    main()
