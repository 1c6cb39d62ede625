"""The three networks of MTCNN (Zhang et al. 2016): P-Net proposes windows, R-Net refines them, O-Net decides.

Fully connected layers are written as equivalent convolutions over the whole map. Layers are registered in the order in
which the published weights list them.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

PNET_SIZE = 12  # pixels of the window behind one cell of P-Net's output
PNET_STRIDE = 2  # pixels between neighboring windows
RNET_SIZE, ONET_SIZE = 24, 48  # pixels of the input crops
NUM_LANDMARKS = 5  # eyes, nose tip, mouth corners


class CascadeOutput(NamedTuple):
    """Output for N images at h x w windows; h = w = 1 for crops."""

    log_odds: Tensor  # (N, h, w) of a face; many probabilities would round to 1 and could not be ranked
    offsets: Tensor  # (N, 4, h, w) from the window's left, top, right, bottom to the face's, in sides of the window
    landmarks: Tensor  # (N, 10, h, w) five x, then five y, from the window's corner, in its sides; or (N, 0, h, w)


class CascadeNet(nn.Module):
    """One network of the cascade: a convolutional trunk with heads for face, box and landmarks."""

    def __init__(self, trunk: nn.Sequential, channels: int, has_landmarks: bool = False):
        """channels: of the trunk's output."""
        super().__init__()
        self.trunk = trunk
        self.offsets = nn.Conv2d(channels, 4, 1)
        self.landmarks = nn.Conv2d(channels, 2 * NUM_LANDMARKS, 1) if has_landmarks else None
        self.face = nn.Conv2d(channels, 2, 1)

    def forward(self, images: Tensor) -> CascadeOutput:
        """images: (N, 3, H, W) float32 RGB in [-1, 1]."""
        features = self.trunk(images)
        landmarks = features[:, :0] if self.landmarks is None else self.landmarks(features)
        background, face = self.face(features).unbind(dim=1)
        return CascadeOutput(face - background, self.offsets(features), landmarks)


def pnet() -> CascadeNet:
    """Build P-Net: every window of an image of any size, (N, 3, H, W) -> maps of about H / 2 x W / 2."""
    return CascadeNet(nn.Sequential(*_block(3, 10, 3), _pool(2), *_block(10, 16, 3), *_block(16, 32, 3)), 32)


def rnet() -> CascadeNet:
    """Build R-Net: crops of 24 x 24 pixels."""
    return CascadeNet(
        nn.Sequential(
            *_block(3, 28, 3), _pool(3), *_block(28, 48, 3), _pool(3), *_block(48, 64, 2), *_block(64, 128, 3)
        ),
        128,
    )  # fmt: skip


def onet() -> CascadeNet:
    """Build O-Net: crops of 48 x 48 pixels, with landmarks."""
    return CascadeNet(
        nn.Sequential(
            *_block(3, 32, 3), _pool(3), *_block(32, 64, 3), _pool(3), *_block(64, 64, 3), _pool(2),
            *_block(64, 128, 2), *_block(128, 256, 3),
        ),
        256, has_landmarks=True,
    )  # fmt: skip


def _block(channels_in: int, channels_out: int, kernel: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels_in, channels_out, kernel), nn.PReLU(channels_out)


def _pool(kernel: int) -> nn.Module:
    return nn.MaxPool2d(kernel, stride=2, ceil_mode=True)
