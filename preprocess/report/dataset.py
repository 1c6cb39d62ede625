"""dataset.json: every input and every clip of a data set with its outcome; the reports are drawn from it."""

from __future__ import annotations

import filecmp
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from preprocess.curation.curate import Curation
from preprocess.curation.outcomes import InputRecords, dropped_spans, input_outcome, kept_seconds
from preprocess.curation.splits import SPLITS
from preprocess.report.advice import list_warnings
from wav2lip import __version__
from wav2lip.audio.windows import FPS
from wav2lip.dataset.framing import DATASET
from wav2lip.execution.manifest import OK, REJECTED, Record
from wav2lip.files import publish

VERSION = 3


def describe(inputs: Sequence[InputRecords], curation: Curation, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of dataset.json, which depends on the data set alone.

    settings: all that shaped the data set, JSON values.
    """
    input_entries = [_describe_input(video, curation) for video in inputs]
    split_by_clip = curation.assignment.split_by_clip()
    clips = [_describe_clip(video, clip, curation, split_by_clip) for video in inputs for clip in video.clips()]
    content: dict[str, Any] = {
        "version": VERSION,
        "tool": f"wav2lip {__version__}",
        "settings": settings,
        "totals": {
            "inputs": len(input_entries),
            "inputs_used": sum(entry["status"] == OK for entry in input_entries),
            "seconds_in": _total(entry["seconds"] for entry in input_entries),
            "seconds_kept": _total(entry["seconds_kept"] for entry in input_entries),
            "clips": len(clips),
            "clips_kept": sum(clip["status"] == OK for clip in clips),
        },
        "dropped": _sum_dropped(input_entries),
        "splits": {name: _describe_split(clips, name) for name in SPLITS},
        "split_by": curation.assignment.by,
        "sync": curation.sync_summary,
        "warnings": [],
        "inputs": input_entries,
        "clips": clips,
    }
    content["warnings"] = list_warnings(content)
    return content


def write_dataset(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write dataset.json, piece by piece because it has some kB per clip; an unchanged one is not touched."""
    path, partial = folder / DATASET, folder / f".{DATASET}.partial"
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.JSONEncoder(indent=1, ensure_ascii=False).iterencode(content))
        file.write("\n")
    if path.exists() and filecmp.cmp(path, partial, shallow=False):
        partial.unlink()
    else:
        publish(partial, path)
    return path


def _describe_input(video: InputRecords, curation: Curation) -> dict[str, Any]:
    dropped, seconds_kept = dropped_spans(video, curation.rejections), kept_seconds(video, curation.rejections)
    status, cause, reason = input_outcome(video, dropped, seconds_kept)
    probed = video.probed.data
    faces = [
        records["faces"].data for _, records in video.chunks if "faces" in records and records["faces"].status == OK
    ]
    problems = dict.fromkeys(p for record in video.records() for p in record.data.get("problems", ()))
    return {
        "source": video.source.name,
        "status": status,
        "cause": cause,
        "reason": reason,
        "problems": list(problems),
        "seconds": video.frames() / FPS,
        "seconds_kept": seconds_kept,
        "fps": probed.get("fps"),
        "width": faces[0]["width"] if faces else probed.get("width"),
        "height": faces[0]["height"] if faces else probed.get("height"),
        "clips": [clip["clip"] for clip in video.clips()],
        "dropped": dropped,
    }


def _describe_clip(
    video: InputRecords, clip: Mapping[str, Any], curation: Curation, split_by_clip: Mapping[str, str]
) -> dict[str, Any]:
    name = clip["clip"]
    rejection = curation.rejections.get(name)
    sync, quality = curation.sync.get(name), curation.qualities.get(name)
    return {
        "clip": name,
        "source": video.source.name,
        "start": clip["first"] / FPS,
        "seconds": clip["frames"] / FPS,
        "frames": clip["frames"],
        "split": split_by_clip.get(name) if rejection is None else None,
        "status": OK if rejection is None else REJECTED,
        "stage": "" if rejection is None else rejection.stage,
        "cause": "" if rejection is None else rejection.cause,
        "reason": "" if rejection is None else rejection.reason,
        "sync": _describe_sync(sync),
        "quality": quality.data if quality is not None and quality.status == OK else None,
    }


def _describe_sync(record: Record | None) -> dict[str, Any] | None:
    if record is None or "offset" not in record.data:
        return None
    return {name: record.data.get(name) for name in ("offset", "confidence", "applied", "confident", "curve")}


def _sum_dropped(inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the seconds and inputs dropped for each cause, the largest first."""
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    sources: dict[tuple[str, str], set[str]] = defaultdict(set)
    for entry in inputs:
        for span in entry["dropped"]:
            key = (span["stage"], span["cause"])
            seconds[key] += span["to"] - span["from"]
            sources[key].add(entry["source"])
    order = sorted(seconds, key=lambda key: (-seconds[key], key))
    return [
        {"stage": key[0], "cause": key[1], "seconds": round(seconds[key], 3), "inputs": len(sources[key])}
        for key in order
    ]


def _describe_split(clips: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    members = [clip for clip in clips if clip["split"] == name]
    return {"clips": len(members), "seconds": _total(clip["seconds"] for clip in members)}


def _total(seconds: Iterable[float]) -> float:
    return round(sum(seconds), 3)
