"""The sections of the page, in order."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from preprocess.curation.filelists import replace_text
from preprocess.report.html import clips, inputs, overview
from wav2lip.reporting.html import page

REPORT = "report.html"


def write_report(root: Path, dataset: dict[str, Any], folder: Path | None = None) -> Path:
    """Write report.html from the content of dataset.json and the crops in ROOT; equal data give equal bytes.

    The file has some megabytes at most, whatever the number of clips, and needs no network.
    folder: by default ROOT.
    Raises: OSError if the file cannot be written.
    """
    sections = [
        overview.totals(dataset),
        overview.warnings(dataset),
        overview.time_by_cause(dataset),
        overview.splits(dataset),
        overview.sync(dataset),
        overview.quality(dataset),
        *clips.extremes(root, dataset),
        inputs.input_table(root, dataset),
        clips.dropped(root, dataset),
        overview.settings(dataset),
    ]
    title = f"Data set: {root.resolve().name}"
    header = (
        f'<header><h1>{escape(title)}</h1><p class="muted">Inputs, clips for training, and the reasons for the rest. '
        f"Written by {escape(str(dataset['tool']))}.</p></header>"
    )
    body = "\n".join([header, "<main>", *filter(None, sections), "</main>"])
    assets = files("preprocess.report.html")
    style, script = ((assets / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    path = (folder or root) / REPORT
    replace_text(path, page(title, body, style, script))
    return path
