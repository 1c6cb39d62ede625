"""Data sets below a folder, as preprocessing or the doctor described them in dataset.json and report.html."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from wav2lip.errors import InputError
from wav2lip.serve.refusals import NotThere

DATASET, REPORT = "dataset.json", "report.html"
DEEPEST = 3  # folders below the one that is searched
MOST_SETS = 200
LARGEST = 64 << 20  # bytes of a dataset.json that is read here; its report tells the rest
MOST_CAUSES = 8


def find_datasets(root: Path) -> dict[str, Path]:
    """Folders below `root` with a dataset.json, by their names relative to it; none inside another."""
    found: dict[str, Path] = {}
    for folder, inner, files in os.walk(root):
        here = Path(folder)
        if DATASET in files:
            found[here.relative_to(root).as_posix() if here != root else root.resolve().name] = here
            inner.clear()
        if len(here.relative_to(root).parts) >= DEEPEST:
            inner.clear()
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if len(found) >= MOST_SETS:
            break
    return dict(sorted(found.items()))


class Datasets:
    """The data sets that the server was started with."""

    def __init__(self, root: Path | None):
        """root: None for none."""
        self.root = root

    def names(self) -> list[str]:
        """All there are now."""
        return [] if self.root is None else list(find_datasets(self.root))

    def folder(self, name: str) -> Path:
        """Where a data set is; names are looked up and never made into paths."""
        sets = {} if self.root is None else find_datasets(self.root)
        if name not in sets:
            raise NotThere(f"{name!r}: there is no such data set; choose one of the list")
        return sets[name]

    def report(self, name: str) -> Path:
        """The page that preprocessing drew of a data set."""
        path = self.folder(name) / REPORT
        if not path.is_file():
            raise NotThere(f"{name}: has no {REPORT}; run preprocess with stages=[report]")
        return path

    def summary(self, name: str) -> str:
        """What is in a data set; HTML."""
        return summary(read(self.folder(name)))


def read(folder: Path) -> dict[str, Any]:
    """The content of a folder's dataset.json."""
    path = folder / DATASET
    if path.stat().st_size > LARGEST:
        raise InputError(f"{folder.name}: {DATASET} is too large to be summed up here; open its report below")
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{folder.name}: {DATASET} is no JSON ({error}); run preprocess again") from error
    if not isinstance(content, dict) or "totals" not in content:
        raise InputError(f"{folder.name}: {DATASET} is not one of preprocess; run preprocess again")
    return content


def summary(content: Mapping[str, Any]) -> str:
    """Totals, what to know first, and what took the rest; HTML. Raises: InputError if a part of it is missing."""
    try:
        return _summed_up(content)
    except KeyError as error:
        raise InputError(
            f"{DATASET} says nothing of {error}; run preprocess again, or open its report below"
        ) from error


def _summed_up(content: Mapping[str, Any]) -> str:
    totals = content["totals"]
    share = totals["seconds_kept"] / totals["seconds_in"] if totals["seconds_in"] else 0.0
    tiles = [
        (duration(totals["seconds_in"]), f"in {totals['inputs']:,} {_many('input', totals['inputs'])}"),
        (duration(totals["seconds_kept"]), f"kept, {share:.0%} of it"),
        (f"{totals['clips_kept']:,}", f"of {totals['clips']:,} clips kept"),
        (" / ".join(f"{content['splits'][name]['clips']:,}" for name in ("train", "val", "test")),
         "clips in train / val / test"),
    ]  # fmt: skip
    figures = "".join(f"<div><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>" for value, name in tiles)
    sync = content.get("sync")
    said = [sync["verdict"]] if sync and sync["agreement_found"] is not None else []  # else a warning says why
    return f'<dl class="tiles">{figures}</dl>{_sentences(said, "")}{_warnings(content)}{_lost(content)}'


def _warnings(content: Mapping[str, Any]) -> str:
    return _sentences(content["warnings"], "Before you train")


def _sentences(sentences: list[str], heading: str) -> str:
    if not sentences:
        return ""
    title = f"<h4>{escape(heading)}</h4>" if heading else ""
    return f"{title}<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"


def _lost(content: Mapping[str, Any]) -> str:
    """What was set aside, and for which reason."""
    if not content["lost"]:
        return ""
    rows = "".join(
        f"<tr><td>{escape(loss['cause'])}</td><td>{escape(loss['stage'])}</td>"
        f'<td class="n">{duration(loss["seconds"])}</td></tr>'
        for loss in content["lost"][:MOST_CAUSES]
    )
    return f"""<h4>Set aside</h4><div class="wide"><table><thead><tr><th>Why</th><th>Stage</th><th class="n">Time</th>
</tr></thead><tbody>{rows}</tbody></table></div>"""


def duration(seconds: float) -> str:
    """A time span as 7.0 s, 2 min 20 s or 3 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _many(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"
