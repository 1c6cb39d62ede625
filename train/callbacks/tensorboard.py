"""Scalars, images and the resolved config in TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from train.callbacks.base import Callback
from train.checkpoint.state import TrainState
from train.validation.offset_curve import plot_curve
from train.validation.runner import ValidationResult

Gauge = Callable[[], Mapping[str, float]]


class TensorBoard(Callback):
    """Writes to FOLDER/tensorboard, in the first process only."""

    def __init__(self, folder: Path, enabled: bool = True, config: str = "", gauges: Sequence[Gauge] = ()):
        """config: YAML text of the run's settings, logged beside the curves.
        gauges: return further scalars at each report.
        """
        self._folder, self._enabled, self._config, self._gauges = folder / "tensorboard", enabled, config, gauges
        self._writer: SummaryWriter | None = None

    def on_start(self, state: TrainState) -> None:
        """Open the log; hide the later steps of an earlier run."""
        if self._enabled:
            self._writer = SummaryWriter(str(self._folder), purge_step=state.step + 1)
            self._writer.add_text("config", f"```yaml\n{self._config}\n```")

    def on_log(self, state: TrainState, means: Mapping[str, float]) -> None:
        """Log the means and the gauges."""
        scalars = dict(means)
        for gauge in self._gauges:
            scalars |= gauge()
        self.add_scalars("train", scalars, state.step)

    def on_validation(self, state: TrainState, result: ValidationResult) -> None:
        """Log scores and offset curve."""
        self.add_scalars("val", result.scores, result.step)
        if result.curve is not None and self._writer is not None:
            self.add_image("val/curve", plot_curve(result.curve), result.step)

    def on_end(self) -> None:
        """Close the log."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def add_scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Add a point to the curves GROUP/NAME."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def add_text(self, name: str, text: str, step: int) -> None:
        """Add preformatted text."""
        if self._writer is not None:
            self._writer.add_text(name, f"```\n{text}\n```", step)

    def add_image(self, name: str, image: Tensor, step: int) -> None:
        """Add an image (3, H, W) in [0, 1], RGB."""
        if self._writer is not None:
            self._writer.add_image(name, image, step)
