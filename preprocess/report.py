"""The table that a run ends with: what became of every input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from preprocess.dataset import DATASET
from preprocess.manifest import OK

MOST_ROWS = 200  # in the table; dataset.json has them all
WIDEST_NAME = 48  # characters


def table(dataset: Mapping[str, Any]) -> str:
    """Text to print: a row for each input, and the sum.

    dataset: the content of dataset.json.
    """
    inputs = dataset["inputs"]
    shown = inputs
    if len(shown) > MOST_ROWS:  # what needs looking at first
        shown = sorted(inputs, key=lambda entry: (entry["fate"] == OK, not entry["problems"]))[:MOST_ROWS]
    rows: list[tuple[str, ...]] = [("FATE", "INPUT", "SECONDS", "KEPT", "CLIPS", "FPS", "NOTE")]
    kept = Counter(clip["source"] for clip in dataset["clips"] if clip["fate"] == OK)
    rows += [_row(entry, kept[entry["source"]]) for entry in shown]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = ["  ".join([*_aligned(row, widths), row[6]]).rstrip() for row in rows]
    if len(inputs) > len(shown):
        lines.append(f"... and {len(inputs) - len(shown)} more, all in {DATASET}")
    return "\n".join([*lines, "", summary(dataset)])


def _row(entry: Mapping[str, Any], clips: int) -> tuple[str, ...]:
    name = entry["source"]
    if len(name) > WIDEST_NAME:
        name = f"{name[: WIDEST_NAME // 2 - 2]}...{name[-WIDEST_NAME // 2 + 1 :]}"
    if entry["fate"] != OK:
        return (entry["fate"], name, f"{entry['seconds']:.1f}", "", "", "", entry["reason"] or entry["cause"])
    causes: Counter[str] = Counter()
    for span in entry["lost"]:
        causes[span["cause"]] += span["to"] - span["from"]
    notes = [f"{seconds:.1f} s {cause}" for cause, seconds in causes.most_common()]
    figures = (f"{entry['seconds']:.1f}", f"{entry['kept_seconds']:.1f}", str(clips), f"{entry['fps']:g}")
    return (entry["fate"], name, *figures, "; ".join([*notes, *entry["problems"]]))


def _aligned(row: tuple[str, ...], widths: Sequence[int]) -> list[str]:
    names = [row[column].ljust(widths[column]) for column in (0, 1)]
    return names + [row[column].rjust(widths[column]) for column in (2, 3, 4, 5)]


def summary(dataset: Mapping[str, Any]) -> str:
    """The sum in a few lines: what is kept, what took the rest, and what to know."""
    totals, fates = dataset["totals"], Counter(entry["fate"] for entry in dataset["inputs"])
    text = (
        f"{totals['inputs']} inputs: {fates[OK]} used, {fates['rejected']} rejected, {fates['failed']} failed. "
        f"{totals['clips_kept']} of {totals['clips']} clips kept, {totals['seconds_kept'] / 60:.1f} of "
        f"{totals['seconds_in'] / 60:.1f} minutes."
    )
    lost = [
        f"  {loss['seconds'] / 60:7.2f} min  {loss['stage']}: {loss['cause']} ({loss['inputs']} inputs)"
        for loss in dataset["lost"]
    ]
    return "\n".join([text, *lost, *(f"! {warning}" for warning in dataset["warnings"])])


def nothing_left(dataset: Mapping[str, Any]) -> str:
    """Why no clip is left: which stage took everything, or most of it."""
    inputs = len(dataset["inputs"])
    causes = Counter((entry["cause"], _stage_of(entry)) for entry in dataset["inputs"])
    (cause, stage), times = causes.most_common(1)[0]
    return f"no clip is left of {inputs} inputs; {stage} took most ({times} of {inputs}: {cause})"


def _stage_of(entry: Mapping[str, Any]) -> str:
    """The stage that took an input's seconds, or most of them."""
    seconds: Counter[str] = Counter()
    for span in entry["lost"]:
        seconds[span["stage"]] += span["to"] - span["from"]
    return seconds.most_common(1)[0][0] if seconds else "probe"
