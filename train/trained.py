"""A network in training: with its optimizer, its running average and the name of its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from train.ema import Ema
from wav2lip.errors import InputError


def from_the_first(_step: int) -> int:
    """Of a network that learns from step 0 on."""
    return 0


@dataclass(frozen=True)
class Trained:
    """What one optimizer step needs."""

    network: nn.Module
    optimizer: Optimizer
    prefix: str = ""  # of the checkpoints' file names: "disc_" for the critic
    ema: Ema | None = None
    clip: float | None = None  # largest norm of all gradients together; None: they are taken as they are
    frozen: list[nn.Module] = field(default_factory=list)  # parts that keep their weights and statistics
    begins: Callable[[int], int] = from_the_first  # given a step, the one that its rates count from

    def train(self) -> None:
        """Training mode, but for what is frozen: in it, batch-norm would go on changing its statistics."""
        self.network.train()
        for part in self.frozen:
            part.eval()

    def update(self, fabric: Fabric) -> Tensor | None:
        """One optimizer step with the gradients gathered so far, which are gone after it.

        Without any, as while the critic learns alone, weights, average and the optimizer's counters stay as they are.
        Returns: the norm of the gradients before they were clipped, on the device; None without clipping.
        """
        norm = None
        if all(parameter.grad is None for parameter in self.network.parameters()):
            return norm
        if self.clip is not None:
            norm = fabric.clip_gradients(self.network, self.optimizer, max_norm=self.clip, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update()
        return norm if isinstance(norm, Tensor) else None

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The network has its averaged weights inside the block, if an average is kept."""
        if self.ema is None:
            yield
        else:
            with self.ema.applied():
                yield

    def rates(self) -> list[float]:
        """The learning rate of each parameter group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def set_rates(self, rates: list[float], factor: float) -> None:
        """Set each group's learning rate to its base rate times a factor."""
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor


def unwrapped(network: nn.Module) -> nn.Module:
    """The network itself, without what Fabric puts around it."""
    return getattr(network, "module", network)


def freeze(network: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """Take parts of a network, named as in its state_dict, out of training; returns them.

    Their parameters stay known to the optimizer, which passes over what has no gradient, so that checkpoints have the
    same shape whatever is frozen.
    Raises: InputError for a name that is no part.
    """
    parts = dict(network.named_modules())
    for name in names:
        if not name or name not in parts:
            there = ", ".join(child for child, _ in network.named_children())
            raise InputError(f"freeze=[{','.join(names)}]: {name or 'an empty name'} is no part; there are {there}")
    frozen = [parts[name].requires_grad_(False) for name in names]
    if not any(weights.requires_grad for weights in network.parameters()):
        raise InputError(f"freeze=[{','.join(names)}]: leaves nothing to train; freeze fewer parts")
    return frozen


def asked(fabric: Fabric, network: nn.Module, *inputs: Any) -> Any:
    """What a network answers in the precision of the run, past what joins the processes.

    So each process may ask as often as it has batches, where through Fabric's wrapper they would wait for one another.
    """
    precision = fabric.strategy.precision
    with fabric.autocast():
        return precision.convert_output(unwrapped(network)(*precision.convert_input(inputs)))


def share_statistics(fabric: Fabric, network: nn.Module) -> None:
    """Give every process the first one's batch statistics, which are those that are saved."""
    if fabric.world_size > 1:
        for buffer in network.buffers():
            buffer.copy_(fabric.broadcast(buffer))
