"""A network under training, with its optimizer, averaged weights and checkpoint prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from train.batch_norm.statistics import recompute_statistics
from train.checkpoint.ema import Ema
from wav2lip.errors import InputError


def start_at_zero(_step: int) -> int:
    """Return the first step, for a model that learns from the beginning of the run."""
    return 0


@dataclass(frozen=True)
class TrainableModel:
    """A network in Fabric's wrapper, with all that an optimizer step uses."""

    network: nn.Module
    optimizer: Optimizer
    prefix: str = ""  # prefix of checkpoint files and curves: "disc_" for the discriminator
    ema: Ema | None = None
    grad_clip_norm: float | None = None  # largest norm of all gradients together; None: no clipping
    frozen_modules: list[nn.Module] = field(default_factory=list)  # these keep weights and batch-norm statistics
    lr_start_step: Callable[[int], int] = start_at_zero  # step at which warm-up begins, given the current step

    def train(self) -> None:
        """Switch to training mode, except for frozen modules, whose batch-norm would update its statistics."""
        self.network.train()
        for module in self.frozen_modules:
            module.eval()

    def optimizer_step(self, fabric: Fabric) -> Tensor | None:
        """Apply and clear the gradients; do nothing if there are none, as while the discriminator trains alone.

        Returns: the gradient norm before clipping, on the device; None without clipping.
        """
        norm = None
        if all(parameter.grad is None for parameter in self.network.parameters()):
            return norm
        if self.grad_clip_norm is not None:
            norm = fabric.clip_gradients(
                self.network, self.optimizer, max_norm=self.grad_clip_norm, error_if_nonfinite=False
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update()
        return norm if isinstance(norm, Tensor) else None

    def complete_average(self, fabric: Fabric, forward: Callable[[Any], object], batches: Iterable[Any]) -> None:
        """Give the averaged weights batch-norm statistics of their own, if there are any. Collective.

        forward: runs the network on a batch. batches: of recent steps.
        """
        if self.ema is None or self.ema.has_statistics:
            return
        self.train()
        with self.ema.average_parameters():
            recompute_statistics(fabric, unwrap(self.network), forward, batches)
            self.ema.keep_statistics()

    def learning_rates(self) -> list[float]:
        """Return the learning rate of each parameter group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def set_learning_rates(self, rates: Sequence[float]) -> None:
        """Set the learning rate of each parameter group."""
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def scale_learning_rates(self, factor: float) -> None:
        """Multiply every learning rate by a factor."""
        self.set_learning_rates([rate * factor for rate in self.learning_rates()])


@contextmanager
def averaged_weights(fabric: Fabric, models: Sequence[TrainableModel]) -> Iterator[None]:
    """Give the models their averaged weights inside the block, and all processes the statistics of rank 0."""
    with ExitStack() as stack:
        for model in models:
            if model.ema is not None:
                stack.enter_context(model.ema.average_parameters())
            broadcast_buffers(fabric, model.network)
        yield


def unwrap(network: nn.Module) -> nn.Module:
    """Return the network inside Fabric's wrapper."""
    return getattr(network, "module", network)


def freeze(network: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """Disable the gradients of modules, named as in the state_dict; return them.

    Their parameters stay in the optimizer, which skips parameters without a gradient, so checkpoints keep one
    shape.
    Raises: InputError for an unknown name, or if nothing is left to train.
    """
    modules = dict(network.named_modules())
    for name in names:
        if not name or name not in modules:
            valid = ", ".join(child for child, _ in network.named_children())
            raise InputError(f"freeze=[{','.join(names)}]: must name modules; choose from {valid}")
    frozen = [modules[name].requires_grad_(False) for name in names]
    if not any(weights.requires_grad for weights in network.parameters()):
        raise InputError(f"freeze=[{','.join(names)}]: leaves nothing to train; freeze fewer modules")
    return frozen


def predict(fabric: Fabric, network: nn.Module, *inputs: Any) -> Any:
    """Run a network in the precision of the run, outside the wrapper that synchronizes processes.

    So the processes may have different numbers of batches; in the wrapper they would wait for one another.
    """
    precision = fabric.strategy.precision
    with fabric.autocast():
        return precision.convert_output(unwrap(network)(*precision.convert_input(inputs)))


def broadcast_buffers(fabric: Fabric, network: nn.Module) -> None:
    """Copy the batch statistics of rank 0, which are saved, to all processes."""
    if fabric.world_size > 1:
        for buffer in network.buffers():
            buffer.copy_(fabric.broadcast(buffer))
