"""Plain-text table of the outcome of every input, printed at the end of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from wav2lip.dataset.framing import DATASET
from wav2lip.execution.manifest import OK

MAX_ROWS = 200  # dataset.json has all inputs
MAX_NAME_LENGTH = 48  # characters


def format_table(dataset: Mapping[str, Any]) -> str:
    """Return a row for each input, and the summary.

    dataset: the content of dataset.json.
    """
    inputs = dataset["inputs"]
    listed = inputs
    if len(inputs) > MAX_ROWS:  # Inputs with a problem come first.
        listed = sorted(inputs, key=lambda entry: (entry["status"] == OK, not entry["problems"]))[:MAX_ROWS]
    rows: list[tuple[str, ...]] = [("STATUS", "INPUT", "SECONDS", "KEPT", "CLIPS", "FPS", "NOTE")]
    kept_clips = Counter(clip["source"] for clip in dataset["clips"] if clip["status"] == OK)
    rows += [_format_row(entry, kept_clips[entry["source"]]) for entry in listed]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = ["  ".join([*_align(row, widths), row[6]]).rstrip() for row in rows]
    if len(inputs) > len(listed):
        lines.append(f"... and {len(inputs) - len(listed)} more, all in {DATASET}")
    return "\n".join([*lines, "", format_summary(dataset)])


def _format_row(entry: Mapping[str, Any], clips: int) -> tuple[str, ...]:
    name = entry["source"]
    if len(name) > MAX_NAME_LENGTH:
        name = f"{name[: MAX_NAME_LENGTH // 2 - 2]}...{name[-MAX_NAME_LENGTH // 2 + 1 :]}"
    if entry["status"] != OK:
        return (entry["status"], name, f"{entry['seconds']:.1f}", "", "", "", entry["reason"] or entry["cause"])
    causes: Counter[str] = Counter()
    for span in entry["dropped"]:
        causes[span["cause"]] += span["to"] - span["from"]
    notes = [f"{seconds:.1f} s {cause}" for cause, seconds in causes.most_common()]
    columns = (f"{entry['seconds']:.1f}", f"{entry['seconds_kept']:.1f}", str(clips), f"{entry['fps']:g}")
    return (entry["status"], name, *columns, "; ".join([*notes, *entry["problems"]]))


def _align(row: tuple[str, ...], widths: Sequence[int]) -> list[str]:
    names = [row[column].ljust(widths[column]) for column in (0, 1)]
    return names + [row[column].rjust(widths[column]) for column in (2, 3, 4, 5)]


def format_summary(dataset: Mapping[str, Any]) -> str:
    """Return the totals, the dropped time by cause, and the warnings."""
    totals, counts = dataset["totals"], Counter(entry["status"] for entry in dataset["inputs"])
    text = (
        f"{totals['inputs']} inputs: {counts[OK]} used, {counts['rejected']} rejected, {counts['failed']} failed. "
        f"{totals['clips_kept']} of {totals['clips']} clips kept, {totals['seconds_kept'] / 60:.1f} of "
        f"{totals['seconds_in'] / 60:.1f} minutes."
    )
    dropped = [
        f"  {entry['seconds'] / 60:7.2f} min  {entry['stage']}: {entry['cause']} ({entry['inputs']} inputs)"
        for entry in dataset["dropped"]
    ]
    return "\n".join([text, *dropped, *(f"! {warning}" for warning in dataset["warnings"])])


def explain_empty(dataset: Mapping[str, Any]) -> str:
    """Return the reason for which no clip is left: the stage and cause that dropped most inputs."""
    inputs = len(dataset["inputs"])
    causes = Counter((entry["cause"], _largest_stage(entry)) for entry in dataset["inputs"])
    (cause, stage), count = causes.most_common(1)[0]
    return f"no clip is left of {inputs} inputs; the stage {stage} dropped most ({count} of {inputs}: {cause})"


def _largest_stage(entry: Mapping[str, Any]) -> str:
    """Return the stage that dropped most seconds of an input."""
    seconds: Counter[str] = Counter()
    for span in entry["dropped"]:
        seconds[span["stage"]] += span["to"] - span["from"]
    return seconds.most_common(1)[0][0] if seconds else "probe"
