"""Restore one model from a checkpoint: weights, their average, optimizer; and the random state of a run."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from models import Wav2Lip
from models.wav2lip import grow_weights
from train.checkpoint.plain_state import read_dict, report_damage
from train.trainable import TrainableModel, unwrap
from wav2lip.checkpoints import Checkpoint, load_weights
from wav2lip.checkpoints.state_dict import find_state_dict
from wav2lip.errors import InputError
from wav2lip.types import PathType

log = logging.getLogger(__name__)


def restore_model(
    model: TrainableModel, checkpoint: Checkpoint, path: PathType, *, reset_optimizer: bool = False,
    keep_lr: bool = False,
) -> None:  # fmt: skip
    """Load weights, their average and the optimizer's state.

    path: file of the checkpoint, for messages.
    reset_optimizer: load only the weights and start a fresh optimizer, as for fine-tuning from an upstream file; those
        of a generator of a smaller resolution are taken over by a larger one.
    keep_lr: restore learning rate and betas from the file, as upstream does, instead of keeping the current ones.
    Raises: InputError if the file holds another network, its optimizer has another shape, or its state is damaged.
    """
    network, extras = unwrap(model.network), checkpoint.extras
    load_weights(network, _fit_resolution(network, checkpoint.state_dict, path, reset_optimizer), path)
    if model.ema is not None:
        model.ema.load(network.state_dict(), 0 if reset_optimizer else _read_ema_steps(extras, path))
    if reset_optimizer:
        return
    if "own_weights" in extras:
        load_weights(network, find_state_dict({"state_dict": extras["own_weights"]}, path), path)
    if checkpoint.optimizer is None:
        log.warning("%s: has no optimizer state; starting with a fresh optimizer", path)
    else:
        load_optimizer(model.optimizer, checkpoint.optimizer, path, keep_lr)


def _fit_resolution(
    network: nn.Module, weights: Mapping[str, Tensor], path: PathType, reset_optimizer: bool
) -> Mapping[str, Tensor]:
    """Return the weights; those of a generator of a smaller resolution with the untrained stages of a larger one."""
    if not isinstance(network, Wav2Lip):
        return weights
    own = network.state_dict()
    try:
        shape, own_shape = Wav2Lip.infer_shape(weights), Wav2Lip.infer_shape(own)
    except (KeyError, ValueError):  # of another network, which loading reports
        return weights
    if shape.width != own_shape.width or shape.resolution >= own_shape.resolution:
        return weights
    if not reset_optimizer:
        raise InputError(
            f"{path}: generates faces of {shape.resolution} pixels, the trained network of {own_shape.resolution}; add "
            "reset_optimizer=true to start from its weights"
        )
    log.info(
        "%s: generates faces of %d pixels; the stages that %d pixels add start untrained", path, shape.resolution,
        own_shape.resolution,
    )  # fmt: skip
    return own | grow_weights(weights, shape.resolution, own_shape.resolution)


def _read_ema_steps(extras: dict[str, Any], path: PathType) -> int:
    steps = extras.get("ema_steps", 0)
    with report_damage(path):
        if not isinstance(steps, int) or steps < 0:
            raise ValueError(f"ema_steps must be a number from 0 on, not {steps!r:.40}")
    return steps


def load_optimizer(optimizer: Optimizer, state: dict[str, Any], path: PathType, keep_lr: bool) -> None:
    """Load the moments of Adam; all settings stay as they are, except with `keep_lr` learning rate and betas.

    Raises: InputError if it has another shape, or is damaged.
    """
    try:
        _check_moments(optimizer, state)
        groups = [
            {**group, "params": saved["params"]} | (_read_rate(saved) if keep_lr else {})
            for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=True)
        ]
        optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path}: optimizer state does not fit ({error}); add reset_optimizer=true") from error


def _check_moments(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Raise ValueError, LookupError or TypeError unless the moments are those of the optimizer's parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    if len(numbers) != len(parameters):
        raise ValueError(f"{len(numbers)} parameters, not {len(parameters)}")
    shapes = dict(zip(numbers, (parameter.shape for parameter in parameters), strict=True))
    for number in read_dict(state, "state"):
        moments, shape = read_dict(state["state"], number), shapes[number]
        steps = moments["step"]
        if isinstance(steps, Tensor) and steps.numel() == 1:
            steps = steps.item()
        if not isinstance(steps, int | float) or not 0 <= steps < math.inf:
            raise ValueError(f"step of parameter {number} must be a number from 0 on")
        for name in ("exp_avg", "exp_avg_sq"):
            if not isinstance(moments[name], Tensor) or moments[name].shape != shape:
                raise ValueError(f"{name} of parameter {number} must be a tensor of shape {tuple(shape)}")


def _read_rate(group: dict[str, Any]) -> dict[str, Any]:
    """Return learning rate and betas of a group of parameters. Raises: ValueError, LookupError or TypeError."""
    rate, (low, high) = group["lr"], group["betas"]
    are_numbers = all(isinstance(value, int | float) for value in (rate, low, high))
    if not are_numbers or not (0 <= low < 1 and 0 <= high < 1 and 0 <= rate < math.inf):
        raise ValueError(f"lr={rate}, betas={low, high}: out of range")
    return {"lr": rate, "betas": (low, high)}


def random_state(fabric: Fabric) -> dict[str, Any]:
    """Return the state of the random generator and of the loss scaler of 16-mixed."""
    return {"rng": torch.get_rng_state(), "precision": fabric.strategy.precision.state_dict()}


def restore_random_state(fabric: Fabric, extras: dict[str, Any]) -> None:
    """Restore what `random_state` returned. Raises: ValueError if it has other types."""
    current = torch.get_rng_state()
    rng = extras.get("rng", current)
    if not isinstance(rng, Tensor) or (rng.dtype, rng.shape) != (current.dtype, current.shape):
        raise ValueError(f"rng must be a tensor of {len(current)} bytes")
    torch.set_rng_state(rng)
    precision = read_dict(extras, "precision")
    if precision:  # empty in other precisions
        names = fabric.strategy.precision.state_dict().keys()
        if precision.keys() != names or not all(isinstance(value, int | float) for value in precision.values()):
            raise ValueError("precision must be the numbers of a loss scaler")
        fabric.strategy.precision.load_state_dict(precision)
