"""The page as a whole: what is on it, in which order."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from preprocess.page import clips, inputs, overview
from preprocess.splits import replace_text

PAGE = "report.html"


def write_page(root: Path, dataset: dict[str, Any], folder: Path | None = None) -> Path:
    """Draw report.html from the content of dataset.json and the crops in ROOT; the same data give the same page.

    One file of some megabytes at most, whatever the number of clips, that needs no network.
    folder: where it goes, by default ROOT. Returns: its path.
    Raises: OSError if it cannot be written.
    """
    sections = [
        overview.totals(dataset),
        overview.warnings(dataset),
        overview.where_time_went(dataset),
        overview.splits(dataset),
        overview.sync(dataset),
        overview.qualities(dataset),
        *clips.extremes(root, dataset),
        inputs.table(root, dataset),
        clips.set_aside(root, dataset),
        overview.settings(dataset),
    ]
    title = f"Data set: {root.resolve().name}"
    page = (folder or root) / PAGE
    replace_text(page, _document(title, str(dataset["tool"]), "\n".join(filter(None, sections))))
    return page


def _document(title: str, tool: str, body: str) -> str:
    here = files("preprocess.page")
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><p class="soft">What came in, what is trained on, and why not the rest.
Made by {escape(tool)}.</p></header>
<main>
{body}
</main>
<script>
{script}</script>
</body>
</html>
"""
