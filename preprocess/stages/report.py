"""Stage 10: write dataset.json and report.html."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from preprocess.report.dataset import write_dataset
from preprocess.report.html import write_report

STAGE = "report"


def run_report(data_root: Path, content: dict[str, Any], folder: Path | None = None) -> None:
    """Write the report of a data set.

    content: see `report.dataset.describe`. folder: where to write it; default: the data root.
    """
    write_dataset(folder or data_root, content)
    write_report(data_root, content, folder)
