"""TensorBoard log of a run, as trainers write it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import torch

from train.callbacks.tensorboard import TensorBoard

DIAGNOSIS = (
    "step 4 | over-fitting: validation rises\n  likely cause: 1 < 2 speakers\n  next, add videos:\n    python -m x"
)


@contextmanager
def open_tensorboard(folder: Path, resume_step: int = 0) -> Iterator[TensorBoard]:
    """Open the log of a run that starts or resumes after a step."""
    tensorboard = TensorBoard(folder)
    tensorboard.on_start(SimpleNamespace(step=resume_step))  # type: ignore[arg-type]
    yield tensorboard
    tensorboard.on_end()


def write_run_log(folder: Path, steps: range = range(1, 5)) -> None:
    """Write curves, a strip and a diagnosis."""
    with open_tensorboard(folder) as tensorboard:
        for step in steps:
            tensorboard.add_scalars("train", {"loss": 1 / step, "learning_rate": 1e-3}, step)
        tensorboard.add_scalars("val", {"loss": 0.5, "sync": float("nan")}, steps[-1])
        tensorboard.add_image("val", torch.full((3, 4, 6), 0.5), steps[-1])
        tensorboard.add_text("diagnosis", DIAGNOSIS, steps[-1])
