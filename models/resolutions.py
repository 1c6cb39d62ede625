"""How the networks grow with the picture: the published ones with reducing stages before and enlarging ones behind.

A network for R x R pictures takes its first convolution at full size, then one reducing stage for each factor of
R / 96 below, and from there on is the published network on the 96 x 96 map (48 x 96 for lower halves) that is left.
The generator's decoder is enlarged by the same factors behind its last published stage. So 96 is the published
network itself, every bottleneck stays 1 x 1, and the published part has the same shapes at every resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from models.blocks import Conv

PUBLISHED = 96  # pixels: width and height of the faces that the published networks take
FACTORS = {96: (), 192: (2,), 288: (3,), 384: (2, 2)}  # by which each resolution is reduced to that, in order


class Shape(NamedTuple):
    """What tells networks of one kind apart."""

    width: float  # share of the published channels
    resolution: int  # pixels: width and height of the faces


def factors_of(resolution: int) -> tuple[int, ...]:
    """By how much the reducing stages of a network shrink its map, in order; ValueError if there is no such one."""
    if resolution not in FACTORS:
        raise ValueError(f"resolution must be one of {', '.join(map(str, FACTORS))}, got {resolution}")
    return FACTORS[resolution]


def resizing(channels: int, factor: int) -> Conv:
    """The convolution that shrinks a map by exactly 2 or 3, or transposed enlarges it so."""
    return Conv(channels, 2 * factor - 1, factor, 1)


def resolution_of(kernels: Sequence[int]) -> int:
    """Resolution of the network whose reducing convolutions are so wide; ValueError if there is none."""
    factors = tuple((kernel + 1) // 2 for kernel in kernels)
    for resolution, known in FACTORS.items():
        if factors == known:
            return resolution
    raise ValueError(f"no network reduces faces by {' and '.join(map(str, factors))}")
