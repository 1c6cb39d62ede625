"""Batch-norm over the batches of all processes, so that two with four samples each learn what one with eight does.

torch.nn.SyncBatchNorm is that on GPUs alone; here is one for CPUs too. Names in the state_dict stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


def synchronize(network: nn.Module, on_gpu: bool) -> nn.Module:
    """Replace every batch-norm of a network by one over all processes, with the same parameters and statistics."""
    if on_gpu:
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for name, module in list(network.named_modules()):
        if type(module) is nn.BatchNorm2d:
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, SyncBatchNorm2d.like(module))
    return network


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Normalises by mean and variance over the batches of all processes, which must be of equal sizes."""

    @classmethod
    def like(cls, norm: nn.BatchNorm2d) -> SyncBatchNorm2d:
        """With the parameters and statistics of another, not copies of them."""
        ours = cls(norm.num_features, norm.eps, norm.momentum)
        ours.weight, ours.bias = norm.weight, norm.bias
        ours.running_mean, ours.running_var = norm.running_mean, norm.running_var
        ours.num_batches_tracked = norm.num_batches_tracked
        return ours.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W). In eval mode, by the running statistics, without a word to other processes."""
        if not self.training:
            return super().forward(x)
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        var, mean = torch.var_mean(wide, dim=(0, 2, 3), correction=0)
        means, variances = gather_with_gradients(torch.stack([mean, var])).unbind(1)  # (processes, C) each
        mean = means.mean(0)
        var = variances.mean(0) + (means - mean).square().mean(0)
        self._remember(mean.detach(), var.detach(), x.numel() // x.shape[1] * len(means))
        scale = self.weight * torch.rsqrt(var + self.eps)
        shift = self.bias - mean * scale
        return (wide * scale[:, None, None] + shift[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, var: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        unbiased = var * (count / (count - 1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)


def gather_with_gradients(own: Tensor) -> Tensor:
    """A tensor of every process, (processes, *shape), the same in all of them.

    A gradient that comes back in any process reaches the one that the values are from: what each process then has is
    the gradient of the sum of all processes' losses. DistributedDataParallel's mean over the processes makes it that
    of their mean.
    """
    if not dist.is_initialized():
        return own[None]
    rank, processes = dist.get_rank(), dist.get_world_size()
    slot = F.one_hot(torch.tensor(rank, device=own.device), processes).to(own.dtype)
    placed = slot.view(-1, *[1] * own.dim()) * own[None]
    return _Sum.apply(placed)


class _Sum(torch.autograd.Function):
    """The sum over all processes, forwards of values and backwards of gradients."""

    @staticmethod
    def forward(_ctx: Any, own: Tensor) -> Tensor:
        total = own.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(_ctx, gradient)
