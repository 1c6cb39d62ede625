"""Variants of the networks for higher resolutions.

A network for R x R images applies its first convolution at full size, then one downsampling stage for each factor of
R / 96, then the published network on the remaining 96 x 96 map (48 x 96 for lower halves). The generator's decoder gets
upsampling stages with the same factors after its last published stage. So 96 is the published network itself, every
bottleneck stays 1 x 1, and the published part has the same shapes at every resolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from models.blocks import Conv

PUBLISHED_RESOLUTION = 96  # pixels: width and height of the published networks' faces
FACTORS = {96: (), 192: (2,), 288: (3,), 384: (2, 2)}  # downsampling factors of each resolution, in order


class Shape(NamedTuple):
    """Parameters that the weights of a network depend on."""

    width: float  # factor on the published channels
    resolution: int  # pixels: width and height of the faces


def resize_factors(resolution: int) -> tuple[int, ...]:
    """Return the factors of a resolution's downsampling stages; ValueError if there is no such resolution."""
    if resolution not in FACTORS:
        raise ValueError(f"resolution={resolution}: must be one of {', '.join(map(str, FACTORS))}")
    return FACTORS[resolution]


def resize_conv(channels: int, factor: int) -> Conv:
    """Return the convolution that downsamples by exactly 2 or 3, or upsamples if transposed."""
    return Conv(channels, 2 * factor - 1, factor, 1)


def infer_shape(state_dict: Mapping[str, Tensor], key: str, first: Conv, published: int, step: int = 1) -> Shape:
    """Infer the width and resolution of a network from the weights of its face encoder.

    key: format of the keys of the encoder's modules. first: its first convolution. published: number of modules at the
    published resolution. step: modules per downsampling stage.
    Raises: KeyError for another network's weights, ValueError for an unknown resolution.
    """
    width = state_dict[key.format(0)].shape[0] / first.channels
    count = sum(key.format(n) in state_dict for n in range(len(state_dict)))
    added = range(1, 1 + count - published, step)
    return Shape(width, _infer_resolution([state_dict[key.format(n)].shape[-1] for n in added]))


def _infer_resolution(kernels: Sequence[int]) -> int:
    """Return the resolution whose downsampling stages have these kernel sizes; ValueError if there is none."""
    factors = tuple((kernel + 1) // 2 for kernel in kernels)
    for resolution, resolution_factors in FACTORS.items():
        if factors == resolution_factors:
            return resolution
    raise ValueError(f"no resolution has downsampling factors {' and '.join(map(str, factors))}")
