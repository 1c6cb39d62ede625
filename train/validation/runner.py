"""Validation of a run: fixed windows, or new draws as in upstream, divided among the processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.data.loader import load_batches
from train.data.samples import WindowDataset
from train.data.validation_set import build_offset_set, build_validation_set
from train.validation.offset_curve import CURVE_METRICS, curve_scores, measure_curve, second_names
from wav2lip.errors import InputError
from wav2lip.sync.offset_curve import SHIFTS, OffsetCurve

log = logging.getLogger(__name__)

CURVE_WINDOWS = 64  # windows of the offset curve: 31 shifts each cost the expert as much as 200 pairs
CURVE_BATCH = 16  # windows


class Scorer(Protocol):
    """The methods of a trainer's step that validation calls."""

    expert: nn.Module
    second_expert: nn.Module | None  # scores the sync too, without being trained against

    def validate(self, batches: Any) -> dict[str, float]: ...
    def expert_inputs(self, batch: Any) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class ValidationResult:
    """Scores of one validation."""

    step: int
    scores: dict[str, float]
    curve: OffsetCurve | None  # None if the clips are too short for one
    is_regular: bool  # False for an additional one of the diagnosis


class Validator:
    """Scores a model on the validation windows."""

    def __init__(
        self, fabric: Fabric, windows: WindowDataset, batch_size: int, count: int | None, prefetch: int = 2, *,
        redraw: bool = False,
    ):  # fmt: skip
        """count: samples per validation, at most as many as there are; None: all.
        prefetch: batches prepared in advance.
        redraw: draw other windows at each validation.
        Raises: InputError if there are fewer windows than processes.
        """
        self.fabric, self.windows, self.batch_size = fabric, windows, batch_size
        self.prefetch, self.redraw = prefetch, redraw
        self.validation_set = build_validation_set(windows, count)
        self.offset_set = build_offset_set(windows, min(CURVE_WINDOWS, len(self.validation_set)), SHIFTS)
        self.count = count if redraw and count is not None else len(self.validation_set)  # windows per validation
        if len(self.validation_set) < fabric.world_size:
            raise InputError(
                f"eval_windows: the validation clips have {len(self.validation_set)} windows, fewer than "
                f"{fabric.world_size} processes; list more clips in val.txt"
            )
        variants = windows.samples.validation_variants
        if count is not None and len(self.validation_set) < count // variants * variants:
            log.info("eval_windows=%d: the validation clips have only %d; using all", count, len(self.validation_set))
        if not len(self.offset_set):
            log.warning(
                "no validation clip has 0.6 s of audio around a window: no offset curve and no offset are measured; "
                "list clips of 2 s or more in val.txt"
            )

    def check(self, metric: str) -> None:
        """Raise InputError if the monitored metric cannot be measured on these windows."""
        if metric in (*CURVE_METRICS, *second_names(CURVE_METRICS).values()) and not len(self.offset_set):
            raise InputError(
                f"monitor_metric={metric}: no validation clip has 0.6 s of audio around a window; list clips of 2 s "
                "or more in val.txt, or monitor another metric"
            )

    def run(self, scorer: Scorer, step: int, is_regular: bool = True) -> ValidationResult:
        """Score all windows, and measure the offset curve. Collective."""
        scores = scorer.validate(self.batches(step))
        curve = self._measure_curve(scorer, scorer.expert)
        if curve is not None:
            scores |= curve_scores(curve)
        if scorer.second_expert is not None and (second := self._measure_curve(scorer, scorer.second_expert)):
            values, names = curve_scores(second), second_names(CURVE_METRICS)
            scores |= {names[name]: value for name, value in values.items()}
        return ValidationResult(step, scores, curve, is_regular)

    def _measure_curve(self, scorer: Scorer, expert: nn.Module) -> OffsetCurve | None:
        return measure_curve(self.fabric, expert, map(scorer.expert_inputs, self.offset_batches()))

    def batches(self, step: int) -> Iterator[Any]:
        """Yield this process's share of the windows of the validation after a step, on the device."""
        if self.redraw:
            return self._read(self.windows, step * self.count, self.count, self.batch_size)
        return self._read(self.validation_set, 0, len(self.validation_set), self.batch_size)

    def offset_batches(self) -> Iterator[Any]:
        """Yield this process's share of the windows with audio at all SHIFTS, on the device."""
        return self._read(self.offset_set, 0, len(self.offset_set), CURVE_BATCH)

    def _read(self, samples: Any, first: int, count: int, batch_size: int) -> Iterator[Any]:
        numbers = range(first + self.fabric.global_rank, first + count, self.fabric.world_size)
        batches = load_batches(samples, numbers, batch_size, 0, self.fabric.device.type == "cuda", self.prefetch)
        return network_inputs(batches, self.fabric.device)


def network_inputs(batches: Iterator[Any], device: torch.device) -> Iterator[Any]:
    """Copy batches of bytes to the device and convert them there to network inputs."""
    for batch in batches:
        yield type(batch)(*(tensor.to(device, non_blocking=True) for tensor in batch)).inputs()
