"""What became of every input: the table at the end, and dataset.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from preprocess.fates import FAILED, OK, REJECTED, SKIPPED, Outcome
from preprocess.settings import Settings
from preprocess.splits import is_held_out, replace_text
from wav2lip import __version__

DATASET = "dataset.json"
MOST_ROWS = 200  # in the table; dataset.json has them all
WIDEST_NAME = 48  # characters


def table(outcomes: Sequence[Outcome], earlier: set[str]) -> str:
    """Text to print: a row for each input and the counts.

    earlier: clips of which the outcome is an earlier run's.
    """
    shown = list(outcomes)
    if len(shown) > MOST_ROWS:  # what needs looking at first
        shown = sorted(shown, key=lambda outcome: (outcome.fate == OK, not outcome.problems))[:MOST_ROWS]
    rows: list[tuple[str, ...]] = [("FATE", "INPUT", "FRAMES", "FACE", "SECONDS", "FPS", "NOTE")]
    rows += [_row(outcome, earlier) for outcome in shown]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = ["  ".join([*(_aligned(row, widths)), row[6]]).rstrip() for row in rows]
    if len(outcomes) > len(shown):
        lines.append(f"... and {len(outcomes) - len(shown)} more, all in {DATASET}")
    return "\n".join([*lines, "", summary(outcomes, earlier)])


def _row(outcome: Outcome, earlier: set[str]) -> tuple[str, ...]:
    fate = SKIPPED if outcome.fate == OK and outcome.clip in earlier else outcome.fate
    name = outcome.source
    if len(name) > WIDEST_NAME:
        name = f"{name[: WIDEST_NAME // 2 - 2]}...{name[-WIDEST_NAME // 2 + 1 :]}"
    if outcome.fate == OK:
        figures = (str(outcome.frames), str(outcome.faces), f"{outcome.seconds:.1f}", f"{outcome.source_fps:g}")
        return (fate, name, *figures, "; ".join(outcome.problems))
    before = " (found before; retry=true tries again)" if outcome.clip in earlier else ""
    return (fate, name, "", "", "", "", outcome.reason + before)


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    names = [row[column].ljust(widths[column]) for column in (0, 1)]
    return names + [row[column].rjust(widths[column]) for column in (2, 3, 4, 5)]


def summary(outcomes: Sequence[Outcome], earlier: set[str]) -> str:
    """The counts, in a sentence."""
    clips = [outcome for outcome in outcomes if outcome.fate == OK]
    made = sum(outcome.clip not in earlier for outcome in clips)
    counts = Counter(outcome.fate for outcome in outcomes)
    text = f"{len(outcomes)} inputs: {made} made now, {len(clips) - made} done before"
    text += f", {counts[REJECTED]} rejected, {counts[FAILED]} failed. "
    faces = sum(outcome.faces for outcome in clips)
    return text + f"{len(clips)} clips with {faces} face crops, {sum(o.seconds for o in clips) / 60:.1f} minutes."


def commonest_cause(outcomes: Sequence[Outcome]) -> tuple[str, int]:
    """The most frequent reason why an input gave no clip, and how often."""
    return Counter(outcome.cause for outcome in outcomes if outcome.fate != OK).most_common(1)[0]


def write_dataset(
    root: Path, settings: Settings, outcomes: Sequence[Outcome], splits: dict[str, list[str]], filelists: Path
) -> None:
    """Write dataset.json: every input of the run with its fate and figures. The same data set gives the same file."""
    clips = [outcome for outcome in outcomes if outcome.fate == OK]
    fates = Counter(outcome.fate for outcome in outcomes)
    content = {
        "tool": f"wav2lip {__version__}",
        "settings": asdict(settings),
        "counts": {fate: fates[fate] for fate in (OK, REJECTED, FAILED)},
        "causes": dict(sorted(Counter(outcome.cause for outcome in outcomes if outcome.fate != OK).items())),
        "frames": sum(outcome.frames for outcome in clips),
        "frames_with_face": sum(outcome.faces for outcome in clips),
        "seconds": round(sum(outcome.seconds for outcome in clips), 3),
        "filelists": (filelists.relative_to(root) if filelists.is_relative_to(root) else filelists).as_posix(),
        "splits": {name: len(ids) for name, ids in splits.items()},
        "validation_is_held_out": is_held_out(splits) if clips else None,
        "inputs": [asdict(outcome) for outcome in outcomes],
    }
    replace_text(root / DATASET, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
