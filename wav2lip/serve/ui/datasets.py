"""Datasets below a folder, from the dataset.json and report.html that preprocessing or the doctor wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from wav2lip.errors import InputError
from wav2lip.reporting.durations import format_duration
from wav2lip.reporting.html import table
from wav2lip.serve.errors import NotFound

DESCRIPTION, REPORT = "dataset.json", "report.html"
MAX_DEPTH = 3  # levels of folders searched below the root
MAX_DATASETS = 200
MAX_DESCRIPTION_BYTES = 64 << 20
MAX_CAUSES = 8


def find_datasets(root: Path) -> dict[str, Path]:
    """Return folders with a dataset.json by their name relative to `root`; datasets inside a dataset are ignored."""
    datasets: dict[str, Path] = {}
    for name, subfolders, files in os.walk(root):
        folder = Path(name)
        if DESCRIPTION in files:
            datasets[folder.relative_to(root).as_posix() if folder != root else root.resolve().name] = folder
            subfolders.clear()
        if len(folder.relative_to(root).parts) >= MAX_DEPTH:
            subfolders.clear()
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if len(datasets) >= MAX_DATASETS:
            break
    return dict(sorted(datasets.items()))


class DatasetCatalog:
    """Datasets below the server's --data_root."""

    def __init__(self, root: Path | None):
        """root: None for no datasets."""
        self.root = root

    def names(self) -> list[str]:
        """Return the names of all datasets."""
        return [] if self.root is None else list(find_datasets(self.root))

    def folder(self, name: str) -> Path:
        """Return the folder of a dataset. Names are looked up and never used as paths."""
        datasets = {} if self.root is None else find_datasets(self.root)
        if name not in datasets:
            raise NotFound(f"{name!r}: no such dataset; choose one from the list")
        return datasets[name]

    def report(self, name: str) -> Path:
        """Return the HTML report of a dataset."""
        path = self.folder(name) / REPORT
        if not path.is_file():
            raise NotFound(f"{name}: has no {REPORT}; run preprocess with stages=[report]")
        return path

    def summary(self, name: str) -> str:
        """Summarize a dataset as HTML."""
        return render_summary(read_description(self.folder(name)))


def read_description(folder: Path) -> dict[str, Any]:
    """Read the dataset.json of a folder. Raises: InputError if it is corrupt or too large."""
    path = folder / DESCRIPTION
    if path.stat().st_size > MAX_DESCRIPTION_BYTES:
        raise InputError(f"{folder.name}: {DESCRIPTION} is too large for a summary; open the report below")
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{folder.name}: {DESCRIPTION} is not valid JSON ({error}); run preprocess again") from error
    if not isinstance(content, dict) or "totals" not in content:
        raise InputError(f"{folder.name}: {DESCRIPTION} was not written by preprocess; run preprocess again")
    return content


def render_summary(content: Mapping[str, Any]) -> str:
    """Render totals, warnings and dropped time as HTML. Raises: InputError if a key is missing."""
    try:
        return f"{_render_totals(content)}{_render_sync(content)}{_render_warnings(content)}{_render_dropped(content)}"
    except KeyError as error:
        raise InputError(f"{DESCRIPTION}: has no {error}; run preprocess again, or open the report below") from error


def _render_totals(content: Mapping[str, Any]) -> str:
    totals = content["totals"]
    kept_share = totals["seconds_kept"] / totals["seconds_in"] if totals["seconds_in"] else 0.0
    tiles = [
        (format_duration(totals["seconds_in"]), f"in {totals['inputs']:,} {_plural('input', totals['inputs'])}"),
        (format_duration(totals["seconds_kept"]), f"kept ({kept_share:.0%})"),
        (f"{totals['clips_kept']:,}", f"of {totals['clips']:,} clips kept"),
        (" / ".join(f"{content['splits'][name]['clips']:,}" for name in ("train", "val", "test")),
         "clips in train / val / test"),
    ]  # fmt: skip
    items = "".join(f"<div><dd>{escape(value)}</dd><dt>{escape(label)}</dt></div>" for value, label in tiles)
    return f'<dl class="tiles">{items}</dl>'


def _render_sync(content: Mapping[str, Any]) -> str:
    sync = content.get("sync")
    # Without enough data for a conclusion, a warning gives the reason.
    return _render_list([sync["conclusion"]], "") if sync and sync["agreement_found"] is not None else ""


def _render_warnings(content: Mapping[str, Any]) -> str:
    return _render_list(content["warnings"], "Before you train")


def _render_list(sentences: list[str], heading: str) -> str:
    if not sentences:
        return ""
    title = f"<h4>{escape(heading)}</h4>" if heading else ""
    return f"{title}<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"


def _render_dropped(content: Mapping[str, Any]) -> str:
    """Render the largest causes of dropped time as a table."""
    if not content["dropped"]:
        return ""
    rows = [
        (escape(loss["cause"]), escape(loss["stage"]), format_duration(loss["seconds"]))
        for loss in content["dropped"][:MAX_CAUSES]
    ]
    losses = table(("Reason", "Stage", "Time"), rows, numeric={2})
    return f'<h4>Dropped</h4><div class="scroll-x">{losses}</div>'


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"
