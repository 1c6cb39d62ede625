"""Log lines of a run, and a progress bar on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import ExitStack

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from train.callbacks.base import Callback
from train.callbacks.throughput import Throughput
from train.checkpoint.state import TrainState
from train.validation.runner import ValidationResult
from wav2lip.reporting.durations import format_duration

log = logging.getLogger(__name__)

# These terms come first in a line, in this order.
MAIN_TERMS = ("loss", "l1", "sync", "gan_generator", "disc_real", "disc_fake", "accuracy", "auc")
MAX_TERMS = 6  # per line; the curves have all
BAR_FORMAT = "{percentage:3.0f}%|{bar:12}| step {n_fmt}/{total_fmt}{postfix}"
OPEN_END_FORMAT = "step {n_fmt}{postfix}"  # without max_steps


class Console(Callback):
    """A progress bar if standard error is a terminal, else log lines."""

    def __init__(self, max_steps: int | None, throughput: Throughput, enabled: bool = True):
        """throughput: must be called before. enabled: False in all processes but the first."""
        self._max_steps, self._throughput, self._enabled = max_steps, throughput, enabled
        self._bar: tqdm | None = None
        self._stack = ExitStack()

    def on_start(self, state: TrainState) -> None:
        """Open the progress bar."""
        if self._enabled and sys.stderr.isatty():
            self._stack.enter_context(logging_redirect_tqdm())  # log lines go above the bar, not through it
            form = BAR_FORMAT if self._max_steps is not None else OPEN_END_FORMAT
            bar = tqdm(total=self._max_steps, initial=state.step, bar_format=form, mininterval=1, dynamic_ncols=True)
            self._bar = self._stack.enter_context(bar)

    def on_step(self, state: TrainState) -> None:
        """Advance the bar."""
        if self._bar is not None:
            self._bar.update()

    def on_log(self, state: TrainState, means: Mapping[str, float]) -> None:
        """Log the main losses, speed, data wait and remaining time."""
        if not self._enabled:
            return
        rates = self._throughput.rates
        fields = [
            format_terms(means), f"{_format_rate(rates.samples_per_second)} samples/s",
            f"data wait {rates.data_wait:.0%}",
        ]  # fmt: skip
        if self._max_steps is not None:
            fields.append(f"{format_duration(rates.seconds_per_step * (self._max_steps - state.step))} left")
        line = " | ".join(fields)
        if self._bar is not None:
            self._bar.set_postfix_str(line)
        else:
            log.info("step %s | %s", self._progress(state), line)

    def on_validation(self, state: TrainState, result: ValidationResult) -> None:
        """Log all scores."""
        if self._enabled:
            scores = format_terms(result.scores, len(result.scores))
            log.info("step %s | validation: %s", self._progress(state), scores)

    def on_end(self) -> None:
        """Close the bar."""
        self._stack.close()

    def _progress(self, state: TrainState) -> str:
        return str(state.step) if self._max_steps is None else f"{state.step}/{self._max_steps}"


def format_terms(terms: Mapping[str, float], max_terms: int = MAX_TERMS) -> str:
    """Return named values in one line, the main ones first."""
    main = [name for name in MAIN_TERMS if name in terms]
    names = main + [name for name in terms if name not in main]
    return ", ".join(f"{name.replace('_', ' ')} {terms[name]:.4f}" for name in names[:max_terms])


def _format_rate(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
