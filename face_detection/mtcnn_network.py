"""The three networks of MTCNN (Zhang et al. 2016): propose, refine, decide. Each judges more exactly than the last.

Fully connected layers are written as convolutions over the whole map, which is the same sum. Layers are listed in the
order in which the published weights list them.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

PROPOSAL_SIDE = 12  # pixels of the window that one cell of the proposal network sees
STRIDE = 2  # pixels from one such window to the next
REFINEMENT_SIDE, OUTPUT_SIDE = 24, 48  # pixels of the crops that the other two take
POINTS = 5  # eyes, nose tip, mouth corners


class Judgement(NamedTuple):
    """What a network says of N windows or crops, at each of h x w places of its map; 1 x 1 for crops."""

    log_odds: Tensor  # (N, h, w): that it is a face; the probability, their sigmoid, would be 1 for many and order none
    offsets: Tensor  # (N, 4, h, w): from the window's left, top, right, bottom to the face's, in sides of the window
    points: Tensor  # (N, 10, h, w): five x, then five y, from the window's left and top, in its sides; or (N, 0, h, w)


class Judge(nn.Module):
    """A trunk of convolutions with a head for each question."""

    def __init__(self, trunk: nn.Sequential, channels: int, points: bool = False):
        """channels: of the trunk's last map. points: whether there is a head for the points of the face."""
        super().__init__()
        self.trunk = trunk
        self.offsets = nn.Conv2d(channels, 4, 1)
        self.points = nn.Conv2d(channels, 2 * POINTS, 1) if points else None
        self.face = nn.Conv2d(channels, 2, 1)

    def forward(self, pictures: Tensor) -> Judgement:
        """pictures: (N, 3, H, W) float32 RGB in [-1, 1], a grey of 127.5 being 0."""
        features = self.trunk(pictures)
        points = features[:, :0] if self.points is None else self.points(features)
        no, yes = self.face(features).unbind(dim=1)
        return Judgement(yes - no, self.offsets(features), points)


def proposal_network() -> Judge:
    """Judges every window of 12 x 12 pixels in a picture of any size: (N, 3, H, W) -> maps of about H / 2 x W / 2."""
    return Judge(nn.Sequential(*_block(3, 10, 3), _halve(2), *_block(10, 16, 3), *_block(16, 32, 3)), 32)


def refinement_network() -> Judge:
    """Judges crops of 24 x 24 pixels."""
    return Judge(
        nn.Sequential(
            *_block(3, 28, 3), _halve(3), *_block(28, 48, 3), _halve(3), *_block(48, 64, 2), *_block(64, 128, 3)
        ),
        128,
    )  # fmt: skip


def output_network() -> Judge:
    """Judges crops of 48 x 48 pixels and finds the five points."""
    return Judge(
        nn.Sequential(
            *_block(3, 32, 3), _halve(3), *_block(32, 64, 3), _halve(3), *_block(64, 64, 3), _halve(2),
            *_block(64, 128, 2), *_block(128, 256, 3),
        ),
        256, points=True,
    )  # fmt: skip


def _block(inputs: int, outputs: int, kernel: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, kernel), nn.PReLU(outputs)


def _halve(kernel: int) -> nn.Module:
    return nn.MaxPool2d(kernel, stride=2, ceil_mode=True)
