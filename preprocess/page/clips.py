"""Single clips: the worst and the best that were kept, and those that were set aside."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from preprocess.page import charts
from preprocess.page.thumbnails import strip

EXTREMES = 10
PICTURES, SIDE = 8, 72  # of a strip of the worst and the best; pixels
MOST_ASIDE = 500  # dataset.json has the rest
MOST_STRIPS, ASIDE_PICTURES, ASIDE_SIDE = 100, 3, 48

FIGURES: dict[str, tuple[int, str, Callable[[dict[str, Any]], float | None]]] = {  # 1: more is better; how it is said
    "confidence": (1, "sync {:.1f}", lambda clip: (clip["sync"] or {}).get("confidence")),
    "face": (1, "face {:.0f} px", lambda clip: (clip["quality"] or {}).get("face_pixels")),
    "sharpness": (1, "sharpness {:.2f}", lambda clip: (clip["quality"] or {}).get("sharpness")),
    "turn": (-1, "head turn {:.2f}", lambda clip: (clip["quality"] or {}).get("head_turn")),
    "filled": (-1, "{:.0%} put in", lambda clip: (clip["quality"] or {}).get("filled_share")),
    "frozen": (-1, "{:.0%} frozen", lambda clip: (clip["quality"] or {}).get("frozen_share")),
}


def extremes(root: Path, dataset: dict[str, Any]) -> list[str]:
    """The sections with the ten worst and the ten best of the clips that were kept."""
    kept = [clip for clip in dataset["clips"] if clip["fate"] == "ok" and (clip["sync"] or clip["quality"])]
    if len(kept) < 2:
        return []
    order = [kept[n] for n in np.argsort(_ranks(kept), kind="stable")]
    count = min(EXTREMES, len(kept) // 2)
    about = "By the mean rank in sync confidence, face size, sharpness, head turn, boxes put in and frozen frames."
    return [
        _cards(root, f"The worst {count} that were kept", f"{about} If these are good, the limits are.", order[:count]),
        _cards(root, f"The best {count}", about, order[: -count - 1 : -1]),
    ]


def _ranks(clips: list[dict[str, Any]]) -> np.ndarray:
    """Mean rank of each clip over the figures there are, in [0, 1], the best highest; what is unknown is middling."""
    ranks = []
    for sign, _, read in FIGURES.values():
        values = np.array([np.nan if (value := read(clip)) is None else sign * value for clip in clips], float)
        known = np.isfinite(values)
        if not known.any():
            continue
        rank = np.full(len(clips), 0.5)
        rank[known] = (rankdata(values[known]) - 0.5) / known.sum()
        ranks.append(rank)
    return np.mean(ranks, axis=0) if ranks else np.full(len(clips), 0.5)


def _cards(root: Path, title: str, about: str, clips: list[dict[str, Any]]) -> str:
    rows = "".join(
        f'<tr role="row"><td role="cell"><b class="name">{escape(clip["clip"])}</b>'
        f'<div class="soft">{escape(_figures(clip))}</div></td>'
        f'<td role="cell">{strip(root, [clip], PICTURES, SIDE)}</td><td role="cell">{_curve(clip)}</td></tr>\n'
        for clip in clips
    )
    return f"""<section><h2>{title}</h2><p class="soft">{about}</p>
<table class="cards strips" role="table" aria-label="{title}"><thead role="rowgroup"><tr role="row">
<th role="columnheader">Clip</th><th role="columnheader">Crops</th><th role="columnheader">Sync curve</th></tr></thead>
<tbody role="rowgroup">
{rows}</tbody></table></section>"""


def _curve(clip: dict[str, Any]) -> str:
    return charts.sparkline(clip["sync"]) if clip["sync"] and clip["sync"]["curve"] else ""


def _figures(clip: dict[str, Any]) -> str:
    values = ((said, read(clip)) for _, said, read in FIGURES.values())
    return ", ".join(said.format(value) for said, value in values if value)


def set_aside(root: Path, dataset: dict[str, Any]) -> str:
    """Clips that were cut but are not trained on, with the reason."""
    aside = [clip for clip in dataset["clips"] if clip["fate"] != "ok" or clip["split"] is None]
    if not aside:
        return ""
    rows = "".join(_aside(root, clip, number < MOST_STRIPS) for number, clip in enumerate(aside[:MOST_ASIDE]))
    note = f"{len(aside):,} in all." if len(aside) <= MOST_ASIDE else (
        f"{MOST_ASIDE:,} of {len(aside):,} clips; dataset.json has them all.")  # fmt: skip
    return f"""<section><h2>Clips set aside</h2><p class="soft">{note} They stay on the disk and are in no list.</p>
<table class="cards aside paged" role="table" data-size="25" aria-label="clips set aside">
<thead role="rowgroup"><tr role="row">
<th role="columnheader">Clip</th><th role="columnheader">Crops</th><th role="columnheader">Cause</th>
<th role="columnheader">Reason</th><th role="columnheader">Sync curve</th></tr></thead><tbody role="rowgroup">
{rows}</tbody></table></section>"""


def _aside(root: Path, clip: dict[str, Any], with_pictures: bool) -> str:
    pictures = strip(root, [clip], ASIDE_PICTURES, ASIDE_SIDE) if with_pictures else ""
    cause = f'<i class="key k-{escape(clip["stage"] or "splits")}"></i>{escape(clip["cause"] or "in no list")}'
    return (
        f'<tr role="row"><td role="cell"><b class="name">{escape(clip["clip"])}</b>'
        f'<div class="soft">{clip["seconds"]:.1f} s</div></td><td role="cell">{pictures}</td>'
        f'<td role="cell">{cause}</td><td role="cell">{escape(clip["reason"])}</td>'
        f'<td role="cell">{_curve(clip)}</td></tr>\n'
    )
