"""Scalars, picture grids and the resolved config to TensorBoard."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from train.data.samples import GeneratorInputs


class Monitor:
    """Writes to FOLDER/tensorboard, in the first process only; a context manager."""

    def __init__(self, folder: Path, enabled: bool = True, config: str = ""):
        """config: YAML text of the run's settings, kept beside the curves."""
        self._folder, self._enabled, self._config = folder / "tensorboard", enabled, config
        self._writer: SummaryWriter | None = None
        self._step = 0

    def after(self, step: int) -> Monitor:
        """Itself, to go on after a step: what an earlier run wrote of later ones is no longer shown."""
        self._step = step
        return self

    def __enter__(self) -> Monitor:
        if self._enabled:
            self._writer = SummaryWriter(str(self._folder), purge_step=self._step + 1)
            self._writer.add_text("config", f"```yaml\n{self._config}\n```")
        return self

    def scalars(self, group: str, values: dict[str, float], step: int) -> None:
        """Add a point to the curves GROUP/NAME."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def text(self, name: str, text: str, step: int) -> None:
        """Add a text, whose lines stay as they are."""
        if self._writer is not None:
            self._writer.add_text(name, f"```\n{text}\n```", step)

    def picture(self, name: str, picture: Tensor, step: int) -> None:
        """Add a picture (3, H, W) in [0, 1], RGB."""
        if self._writer is not None:
            self._writer.add_image(name, picture, step)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()


def generator_grid(fake: Tensor, batch: GeneratorInputs, rows: int = 4) -> Tensor:
    """A picture of what the generator makes: per sample masked input, reference, generated, truth of a middle frame.

    fake: (B, 3, T, R, R) BGR in [0, 1].
    Returns: (3, H, W) RGB in [0, 1].
    """
    middle = fake.shape[2] // 2
    columns = (batch.faces[:, :3], batch.faces[:, 3:], fake, batch.target)
    views = torch.stack([view[:rows, :, middle] for view in columns], dim=1)  # (rows, 4, 3, R, R)
    return make_grid(views.flatten(0, 1).float().flip(1).cpu(), nrow=len(columns), padding=2)
