"""Batch-norm over the batches of all processes: two with four samples each train like one with eight.

torch.nn.SyncBatchNorm runs only on GPUs; this one runs on CPUs too. The keys of the state_dict do not change.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


def synchronize(network: nn.Module, on_gpu: bool) -> nn.Module:
    """Replace every batch-norm of a network by a synchronized one with the same parameters and statistics."""
    if on_gpu:
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for name, module in list(network.named_modules()):
        if type(module) is nn.BatchNorm2d:
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, SyncBatchNorm2d.from_batchnorm(module))
    return network


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch-norm by mean and variance over the batches of all processes, which must have equal sizes."""

    @classmethod
    def from_batchnorm(cls, norm: nn.BatchNorm2d) -> SyncBatchNorm2d:
        """Share parameters and statistics with another batch-norm."""
        synced = cls(norm.num_features, norm.eps, norm.momentum)
        synced.weight, synced.bias = norm.weight, norm.bias
        synced.running_mean, synced.running_var = norm.running_mean, norm.running_var
        synced.num_batches_tracked = norm.num_batches_tracked
        return synced.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W). In eval mode it uses the running statistics and does not communicate."""
        if not self.training:
            return super().forward(x)
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        var, mean = torch.var_mean(wide, dim=(0, 2, 3), correction=0)
        means, variances = gather_with_gradients(torch.stack([mean, var])).unbind(1)  # (processes, C) each
        mean = means.mean(0)
        var = variances.mean(0) + (means - mean).square().mean(0)
        self._update_running(mean.detach(), var.detach(), x.numel() // x.shape[1] * len(means))
        scale = self.weight * torch.rsqrt(var + self.eps)
        shift = self.bias - mean * scale
        return (wide * scale[:, None, None] + shift[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, var: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        unbiased = var * (count / (count - 1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)


def gather_with_gradients(tensor: Tensor) -> Tensor:
    """Gather a tensor from every process: (processes, *shape), the same in all of them.

    The gradient of a value flows back to its process: each process gets the gradient of the sum of all losses, and
    DistributedDataParallel averages it.
    """
    if not dist.is_initialized():
        return tensor[None]
    rank, processes = dist.get_rank(), dist.get_world_size()
    slot = F.one_hot(torch.tensor(rank, device=tensor.device), processes).to(tensor.dtype)
    return _AllReduceSum.apply(slot.view(-1, *[1] * tensor.dim()) * tensor[None])


class _AllReduceSum(torch.autograd.Function):
    """Sum over all processes: of values in the forward pass, of gradients in the backward pass."""

    @staticmethod
    def forward(_ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return _AllReduceSum.forward(_ctx, gradient)
