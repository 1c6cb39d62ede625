"""Single clips: the worst and the best that are kept, and those that are dropped."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from preprocess.report.html import charts
from preprocess.report.html.thumbnails import strip
from wav2lip.reporting.html import section, table

MAX_EXTREMES = 10
EXTREME_IMAGES, EXTREME_SIZE = 8, 72  # images in a strip; width and height of each in pixels
MAX_DROPPED = 500  # rows; dataset.json has all clips
MAX_DROPPED_STRIPS, DROPPED_IMAGES, DROPPED_SIZE = 100, 3, 48

# Sign (1: higher is better), format and reader of each measure that ranks clips.
MEASURES: tuple[tuple[int, str, Callable[[dict[str, Any]], float | None]], ...] = (
    (1, "sync {:.1f}", lambda clip: (clip["sync"] or {}).get("confidence")),
    (1, "face {:.0f} px", lambda clip: (clip["quality"] or {}).get("face_pixels")),
    (1, "sharpness {:.2f}", lambda clip: (clip["quality"] or {}).get("sharpness")),
    (-1, "head turn {:.2f}", lambda clip: (clip["quality"] or {}).get("head_turn")),
    (-1, "{:.0%} interpolated", lambda clip: (clip["quality"] or {}).get("filled_share")),
    (-1, "{:.0%} static", lambda clip: (clip["quality"] or {}).get("static_share")),
)


def extremes(root: Path, dataset: dict[str, Any]) -> list[str]:
    """Return sections with the ten worst and the ten best of the kept clips."""
    kept = [clip for clip in dataset["clips"] if clip["status"] == "ok" and (clip["sync"] or clip["quality"])]
    if len(kept) < 2:
        return []
    order = [kept[n] for n in np.argsort(_mean_ranks(kept), kind="stable")]
    count = min(MAX_EXTREMES, len(kept) // 2)
    about = "By mean rank in sync confidence, face size, sharpness, head turn, interpolated boxes and static frames."
    return [
        _cards(root, f"The worst {count} kept clips", f"{about} If these are good, so are the limits.", order[:count]),
        _cards(root, f"The best {count} clips", about, order[: -count - 1 : -1]),
    ]


def _mean_ranks(clips: list[dict[str, Any]]) -> np.ndarray:
    """Return the mean rank of each clip in [0, 1], 1 the best; a missing value has the middle rank."""
    ranks = []
    for sign, _, read in MEASURES:
        values = np.array([np.nan if (value := read(clip)) is None else sign * value for clip in clips], float)
        measured = np.isfinite(values)
        if not measured.any():
            continue
        rank = np.full(len(clips), 0.5)
        rank[measured] = (rankdata(values[measured]) - 0.5) / measured.sum()
        ranks.append(rank)
    return np.mean(ranks, axis=0) if ranks else np.full(len(clips), 0.5)


def _cards(root: Path, title: str, about: str, clips: list[dict[str, Any]]) -> str:
    rows = (
        [_name(clip, _format_measures(clip)), strip(root, [clip], EXTREME_IMAGES, EXTREME_SIZE), _sync_curve(clip)]
        for clip in clips
    )
    cards = table(["Clip", "Crops", "Sync curve"], rows, label=title, css="cards strips")
    return section(title, f'<p class="muted">{about}</p>{cards}')


def _name(clip: dict[str, Any], detail: str) -> str:
    return f'<b class="name">{escape(clip["clip"])}</b><div class="muted">{escape(detail)}</div>'


def _sync_curve(clip: dict[str, Any]) -> str:
    return charts.sparkline(clip["sync"]) if clip["sync"] and clip["sync"]["curve"] else ""


def _format_measures(clip: dict[str, Any]) -> str:
    values = ((text, read(clip)) for _, text, read in MEASURES)
    return ", ".join(text.format(value) for text, value in values if value)


def dropped(root: Path, dataset: dict[str, Any]) -> str:
    """Return a section with the clips that are not trained on, and the reasons."""
    clips = [clip for clip in dataset["clips"] if clip["status"] != "ok" or clip["split"] is None]
    if not clips:
        return ""
    rows = (_dropped_row(root, clip, number < MAX_DROPPED_STRIPS) for number, clip in enumerate(clips[:MAX_DROPPED]))
    note = f"{len(clips):,} in all." if len(clips) <= MAX_DROPPED else (
        f"{MAX_DROPPED:,} of {len(clips):,} clips; dataset.json has them all.")  # fmt: skip
    head = ["Clip", "Crops", "Cause", "Reason", "Sync curve"]
    cards = table(head, rows, label="dropped clips", css="cards dropped paged", attributes='data-size="25"')
    return section("Dropped clips", f'<p class="muted">{note} They stay on the disk and are in no list.</p>{cards}')


def _dropped_row(root: Path, clip: dict[str, Any], has_images: bool) -> list[str]:
    images = strip(root, [clip], DROPPED_IMAGES, DROPPED_SIZE) if has_images else ""
    cause = f'<i class="key k-{escape(clip["stage"] or "splits")}"></i>{escape(clip["cause"] or "in no list")}'
    return [_name(clip, f"{clip['seconds']:.1f} s"), images, cause, escape(clip["reason"]), _sync_curve(clip)]
