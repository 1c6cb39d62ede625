"""dataset.json: every input and every clip of a data set with its fate, from which the report is drawn."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from preprocess.advice import warnings
from preprocess.clip_stages import Judged
from preprocess.fates import History, fate_of, lost_spans, seconds_kept
from preprocess.manifest import OK, REJECTED, Record
from preprocess.settings import FPS
from preprocess.splits import SPLITS, replace_text
from wav2lip import __version__

DATASET = "dataset.json"
VERSION = 2


def describe(histories: Sequence[History], judged: Judged, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The content of dataset.json; the same data set gives the same.

    settings: all that shaped it, JSON values.
    """
    inputs = [_input(history, judged) for history in histories]
    split_of = judged.dealt.split_of()
    clips = [_clip(history, clip, judged, split_of) for history in histories for _, clip in history.clips()]
    content: dict[str, Any] = {
        "version": VERSION,
        "tool": f"wav2lip {__version__}",
        "settings": settings,
        "totals": {
            "inputs": len(inputs),
            "inputs_used": sum(entry["fate"] == OK for entry in inputs),
            "seconds_in": _seconds(entry["seconds"] for entry in inputs),
            "seconds_kept": _seconds(entry["kept_seconds"] for entry in inputs),
            "clips": len(clips),
            "clips_kept": sum(clip["fate"] == OK for clip in clips),
        },
        "lost": _sum_up(inputs),
        "splits": {name: _split(clips, name) for name in SPLITS},
        "held_out_by": judged.dealt.by,
        "sync": judged.sync_summary,
        "warnings": [],
        "inputs": inputs,
        "clips": clips,
    }
    content["warnings"] = warnings(content)
    return content


def write(root: Path, content: Mapping[str, Any]) -> Path:
    """Write dataset.json; one that is right already is not touched."""
    replace_text(root / DATASET, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return root / DATASET


def _input(history: History, judged: Judged) -> dict[str, Any]:
    lost, kept = lost_spans(history, judged.verdicts), seconds_kept(history, judged.verdicts)
    fate, cause, reason = fate_of(history, lost, kept)
    figures = history.probed.figures
    faces = [found["faces"].figures for _, found in history.parts if "faces" in found and found["faces"].fate == OK]
    problems = dict.fromkeys(p for record in history.records() for p in record.figures.get("problems", ()))
    return {
        "source": history.source.name,
        "fate": fate,
        "cause": cause,
        "reason": reason,
        "problems": list(problems),
        "seconds": history.frames() / FPS,
        "kept_seconds": kept,
        "fps": figures.get("fps"),
        "width": faces[0]["width"] if faces else figures.get("width"),
        "height": faces[0]["height"] if faces else figures.get("height"),
        "clips": [clip["clip"] for _, clip in history.clips()],
        "lost": lost,
    }


def _clip(history: History, clip: Mapping[str, Any], judged: Judged, split_of: Mapping[str, str]) -> dict[str, Any]:
    name = clip["clip"]
    verdict = judged.verdicts.get(name)
    sync, quality = judged.sync.get(name), judged.qualities.get(name)
    return {
        "clip": name,
        "source": history.source.name,
        "start": clip["first"] / FPS,
        "seconds": clip["frames"] / FPS,
        "frames": clip["frames"],
        "split": split_of.get(name) if verdict is None else None,
        "fate": OK if verdict is None else REJECTED,
        "stage": "" if verdict is None else verdict.stage,
        "cause": "" if verdict is None else verdict.cause,
        "reason": "" if verdict is None else verdict.reason,
        "sync": _sync(sync),
        "quality": quality.figures if quality is not None and quality.fate == OK else None,
    }


def _sync(record: Record | None) -> dict[str, Any] | None:
    if record is None or "offset" not in record.figures:
        return None
    names = ("offset", "confidence", "applied", "sure", "curve")
    return {name: record.figures.get(name) for name in names}


def _sum_up(inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was lost to each cause, the most first."""
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    losers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for entry in inputs:
        for span in entry["lost"]:
            by = (span["stage"], span["cause"])
            seconds[by] += span["to"] - span["from"]
            losers[by].add(entry["source"])
    order = sorted(seconds, key=lambda by: (-seconds[by], by))
    return [
        {
            "stage": stage,
            "cause": cause,
            "seconds": round(seconds[stage, cause], 3),
            "inputs": len(losers[stage, cause]),
        }
        for stage, cause in order
    ]


def _split(clips: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    inside = [clip for clip in clips if clip["split"] == name]
    return {"clips": len(inside), "seconds": _seconds(clip["seconds"] for clip in inside)}


def _seconds(values: Any) -> float:
    return round(sum(values), 3)
