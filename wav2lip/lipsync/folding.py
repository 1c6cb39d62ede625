"""The generator as it runs fastest: batch-norm inside the convolutions, nothing computed that only training needs."""

from __future__ import annotations

import copy
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from models import Wav2Lip
from models.blocks import ConvBlock, UpConvBlock


class FoldedBlock(nn.Module):
    """A ConvBlock or UpConvBlock in evaluation mode, with its batch-norm in the convolution's weights."""

    def __init__(self, block: ConvBlock | UpConvBlock):
        super().__init__()
        convolution: Any = block.conv_block[0]
        norm: Any = block.conv_block[1]
        self.residual = isinstance(block, ConvBlock) and block.residual
        self.convolution = copy.copy(convolution)
        weight, bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias,
            transpose=isinstance(block, UpConvBlock),
        )  # fmt: skip
        self.convolution._parameters = {"weight": weight.requires_grad_(False), "bias": bias.requires_grad_(False)}

    def forward(self, x: Tensor) -> Tensor:
        out = self.convolution(x)
        if self.residual:
            out += x
        return F.relu_(out)


class Probability(nn.Module):
    """Sigmoid in 32 bits: in 16 a grey level between 128 and 255 would be rounded by up to half a level."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float().sigmoid()


def folded(generator: Wav2Lip) -> Wav2Lip:
    """A generator that gives the same pictures in evaluation mode, and cannot be trained; the given one stays as it is.

    Its forward is that of the given one, for 32 or 16 bits, the result always in 32.
    """
    twin: Any = _twin(generator)
    twin.output_block[-1] = Probability()
    return twin.eval()


def _twin(module: nn.Module) -> nn.Module:
    if isinstance(module, ConvBlock | UpConvBlock):
        return FoldedBlock(module)
    if not module._modules:  # a layer by itself: its weights must not be shared, moving it would move the other
        return copy.deepcopy(module).requires_grad_(False)
    twin = copy.copy(module)
    twin._modules = {name: _twin(part) for name, part in module._modules.items() if part is not None}
    return twin
