"""What a person reads while training runs: one line at each report, and a bar where there is a terminal."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from types import TracebackType

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from train.watching.pace import Rates

log = logging.getLogger(__name__)

# What a line shows first, in this order; the curves have everything.
MAIN_TERMS = ("loss", "l1", "sync", "perceptual", "critic_real", "critic_fake", "accuracy", "auc")
SHOWN = 6  # terms in a line at most
BAR = "{percentage:3.0f}%|{bar:12}| step {n_fmt}/{total_fmt}{postfix}"
NO_END = "step {n_fmt}{postfix}"  # where the number of steps is not known


class Console:
    """The bar of a training, or plain lines where standard error is no terminal; a context manager."""

    def __init__(self, steps: int | None, first: int = 0, enabled: bool = True):
        """steps: at which training ends, None if that is not known. first: step from which it goes on.
        enabled: False in all processes but the first, which say nothing.
        """
        self._steps, self._step, self._enabled = steps, first, enabled
        self._bar: tqdm | None = None
        self._open = ExitStack()

    def __enter__(self) -> Console:
        if self._enabled and sys.stderr.isatty():
            self._open.enter_context(logging_redirect_tqdm())  # lines above the bar, not through it
            form = BAR if self._steps is not None else NO_END
            self._bar = self._open.enter_context(
                tqdm(total=self._steps, initial=self._step, bar_format=form, mininterval=1, dynamic_ncols=True)
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def advance(self) -> None:
        """A step was taken."""
        self._step += 1
        if self._bar is not None:
            self._bar.update()

    def report(self, terms: dict[str, float], rates: Rates) -> None:
        """Say how training goes: main terms of the loss, speed, waiting, time left."""
        if not self._enabled:
            return
        said = [in_words(terms), f"{_rate(rates.samples_per_second)} samples/s", f"data wait {rates.data_wait:.0%}"]
        if self._steps is not None:
            said.append(f"{duration(rates.seconds_a_step * (self._steps - self._step))} left")
        line = " | ".join(said)
        if self._bar is not None:
            self._bar.set_postfix_str(line)
        else:
            log.info("step %s | %s", self._of_all(), line)

    def validated(self, scores: dict[str, float]) -> None:
        """Say how a validation went, in a line that stays."""
        if self._enabled:
            log.info("step %s | validation: %s", self._of_all(), in_words(scores, len(scores)))

    def _of_all(self) -> str:
        return str(self._step) if self._steps is None else f"{self._step}/{self._steps}"


def in_words(terms: dict[str, float], most: int = SHOWN) -> str:
    """Named values in a line, the main ones first, `most` of them."""
    main = [name for name in MAIN_TERMS if name in terms]
    names = main + [name for name in terms if name not in main]
    return ", ".join(f"{name.replace('_', ' ')} {terms[name]:.4f}" for name in names[:most])


def duration(seconds: float) -> str:
    """A time span in its two largest units, as 5 s, 12 min 5 s, 3 h 20 min or 2 d 7 h."""
    whole = round(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((n for n, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count or unit == "s")


def _rate(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
