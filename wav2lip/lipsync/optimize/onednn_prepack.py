"""Prepacking: reorder weights for oneDNN once instead of in every call.

PyTorch's CPU convolutions reorder their weights in each call, which takes a fifth of the generator's time for one face
and a fourteenth for eight. These operators also add the residual and apply the ReLU while the result is in the cache.
They are private operators that torch.compile generates. Without them, on another device, or on a CPU without AVX-512,
where they are slower than the plain convolutions (docs/speed.md), the fused network runs unchanged.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from wav2lip.lipsync.optimize.fuse_batchnorm import FusedBlock

logger = logging.getLogger(__name__)

OPERATORS = ("_convolution_pointwise", "_convolution_transpose_pointwise", "_reorder_convolution_weight",
             "_reorder_convolution_transpose_weight")  # fmt: skip


def can_prepack() -> bool:
    """Return True if this version of PyTorch has the operators and the CPU has AVX-512."""
    if not torch.backends.mkldnn.is_available() or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    return all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS)


class PrepackedBlock(nn.Module):
    """A FusedBlock with weights in oneDNN's order; for inference on the CPU only."""

    def __init__(self, block: FusedBlock):
        super().__init__()
        layer: Any = block.convolution
        self.residual = block.residual
        self.bias = layer.bias
        self.transposed = isinstance(layer, nn.ConvTranspose2d)
        output_padding = [layer.output_padding] if self.transposed else []
        self.geometry = (layer.padding, *output_padding, layer.stride, layer.dilation, layer.groups)
        kind = "_transpose" if self.transposed else ""
        reorder = getattr(torch.ops.mkldnn, f"_reorder_convolution{kind}_weight")
        self.weight = reorder(layer.weight.detach(), *self.geometry, None)

    def forward(self, x: Tensor) -> Tensor:
        ops: Any = torch.ops.mkldnn
        if self.transposed:
            return ops._convolution_transpose_pointwise(x, self.weight, self.bias, *self.geometry, "relu", [], "")
        if self.residual:
            arguments = (x, x, self.weight, self.bias, *self.geometry)
            return ops._convolution_pointwise.binary(*arguments, "add", 1.0, "relu", [], "")
        return ops._convolution_pointwise(x, self.weight, self.bias, *self.geometry, "relu", [], "")


def prepack_weights(network: nn.Module) -> None:
    """Replace the fused blocks of a network on the CPU by prepacked ones, if they run on this machine."""
    block = next((module for module in network.modules() if isinstance(module, FusedBlock)), None)
    if block is not None and can_prepack() and _runs_prepacked(block):
        _replace_blocks(network)


@torch.inference_mode()
def _runs_prepacked(block: FusedBlock) -> bool:
    """Return True if the operators accept weights of this dtype: some processors support float32 only."""
    weight: Tensor = block.convolution.weight  # type: ignore[assignment]
    x = torch.zeros(1, weight.shape[1], 16, 16, dtype=weight.dtype).to(memory_format=torch.channels_last)
    try:
        PrepackedBlock(block)(x)
    except (RuntimeError, TypeError) as error:  # unsupported processor, or another signature in this PyTorch
        logger.info("weights are not prepacked, which is slower: %s", str(error).splitlines()[0])
        return False
    return True


def _replace_blocks(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, FusedBlock):
            setattr(module, name, PrepackedBlock(child))
        else:
            _replace_blocks(child)
