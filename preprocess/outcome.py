"""Output of a run on the console."""

from __future__ import annotations

from preprocess.pipeline import Job, Result
from preprocess.report.html import REPORT
from preprocess.report.table import explain_empty, format_table
from wav2lip.dataset.framing import DATASET
from wav2lip.errors import InputError


def print_outcome(result: Result, job: Job, name: str) -> None:
    """Print the outcome of each video. name: of the inputs, for the error.

    Raises: InputError if no clip is left.
    """
    dataset = result.dataset
    if dataset is None:
        print(f"done: {', '.join(job.stages)} of {len(result.inputs)} inputs")  # noqa: T201 - the output of the command
        return
    print(format_table(dataset))  # noqa: T201
    if not dataset["totals"]["clips_kept"]:
        raise InputError(f"{name}: {explain_empty(dataset)}; see {job.root / REPORT}")
    print(f"report: {job.root / REPORT}; data: {job.root / DATASET}")  # noqa: T201
