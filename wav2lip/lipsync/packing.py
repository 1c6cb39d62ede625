"""Weights laid out for oneDNN once, instead of at every call.

Torch's CPU convolutions bring their weights into the order that the processor wants each time they run: a fifth of the
generator's time for one face, a fourteenth for eight. The operators used here are those that torch.compile writes its
CPU code with; they also add the residual and apply the ReLU while the result is still in the cache. They are no public
interface of torch, so where they are missing, or the network is not on a CPU, it is left as it is.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from wav2lip.lipsync.folding import FoldedBlock

log = logging.getLogger(__name__)

OPERATORS = ("_convolution_pointwise", "_convolution_transpose_pointwise", "_reorder_convolution_weight",
             "_reorder_convolution_transpose_weight")  # fmt: skip


def can_pack() -> bool:
    """Whether this torch has the operators."""
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS)


class PackedBlock(nn.Module):
    """A FoldedBlock that keeps its weights in oneDNN's order; for inference on the CPU only."""

    def __init__(self, block: FoldedBlock):
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
        run: Any = torch.ops.mkldnn
        if self.transposed:
            return run._convolution_transpose_pointwise(x, self.weight, self.bias, *self.geometry, "relu", [], "")
        if self.residual:
            parts = (x, x, self.weight, self.bias, *self.geometry)
            return run._convolution_pointwise.binary(*parts, "add", 1.0, "relu", [], "")
        return run._convolution_pointwise(x, self.weight, self.bias, *self.geometry, "relu", [], "")


def pack(network: nn.Module) -> None:
    """Replace the folded blocks of a network on the CPU by packed ones, where torch can; it computes the same."""
    block = next((part for part in network.modules() if isinstance(part, FoldedBlock)), None)
    if block is not None and can_pack() and _runs_packed(block):
        _pack(network)


@torch.inference_mode()
def _runs_packed(block: FoldedBlock) -> bool:
    """Whether the operators take these weights here: some processors have them for 32 bits alone."""
    weight: Tensor = block.convolution.weight  # type: ignore[assignment]
    picture = torch.zeros(1, weight.shape[1], 16, 16, dtype=weight.dtype).to(memory_format=torch.channels_last)
    try:
        PackedBlock(block)(picture)
    except (RuntimeError, TypeError) as error:  # not on this processor, or other arguments in this torch
        log.info("weights stay in torch's own order, which is slower: %s", str(error).splitlines()[0])
        return False
    return True


def _pack(module: nn.Module) -> None:
    for name, part in module.named_children():
        if isinstance(part, FoldedBlock):
            setattr(module, name, PackedBlock(part))
        else:
            _pack(part)
