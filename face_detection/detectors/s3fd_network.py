"""Network of S3FD: a VGG-16 trunk with classification and box heads on six of its maps.

Attribute names and the order of layers are a file format: the published weights are a bare state_dict.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (4, 8, 16, 32, 64, 128)  # pixels between neighboring cells of the six levels
NORM_EPSILON = 1e-10


class ChannelNorm(nn.Module):
    """Normalize every pixel to length 1 across channels, then scale each channel by a learned factor."""

    def __init__(self, channels: int, scale: float):
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), float(scale)))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W), any values. Returns: the same shape."""
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        return x / (length + NORM_EPSILON) * self.weight[:, None, None]


class S3FDNetwork(nn.Module):
    """S3FD from normalized images to head maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1_1, self.conv1_2 = _conv(3, 64), _conv(64, 64)
        self.conv2_1, self.conv2_2 = _conv(64, 128), _conv(128, 128)
        self.conv3_1, self.conv3_2, self.conv3_3 = _conv(128, 256), _conv(256, 256), _conv(256, 256)
        self.conv4_1, self.conv4_2, self.conv4_3 = _conv(256, 512), _conv(512, 512), _conv(512, 512)
        self.conv5_1, self.conv5_2, self.conv5_3 = _conv(512, 512), _conv(512, 512), _conv(512, 512)
        # The padding enlarges the map by 2 cells on each side; decoding ignores the shift.
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=3)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.conv6_1, self.conv6_2 = nn.Conv2d(1024, 256, 1), _conv(256, 512, stride=2)
        self.conv7_1, self.conv7_2 = nn.Conv2d(512, 128, 1), _conv(128, 256, stride=2)

        self.conv3_3_norm = ChannelNorm(256, scale=10)
        self.conv4_3_norm = ChannelNorm(512, scale=8)
        self.conv5_3_norm = ChannelNorm(512, scale=5)

        # Three background scores and one face score, because the finest level has the most background.
        self.conv3_3_norm_mbox_conf, self.conv3_3_norm_mbox_loc = _conv(256, 4), _conv(256, 4)
        self.conv4_3_norm_mbox_conf, self.conv4_3_norm_mbox_loc = _conv(512, 2), _conv(512, 4)
        self.conv5_3_norm_mbox_conf, self.conv5_3_norm_mbox_loc = _conv(512, 2), _conv(512, 4)
        self.fc7_mbox_conf, self.fc7_mbox_loc = _conv(1024, 2), _conv(1024, 4)
        self.conv6_2_mbox_conf, self.conv6_2_mbox_loc = _conv(512, 2), _conv(512, 4)
        self.conv7_2_mbox_conf, self.conv7_2_mbox_loc = _conv(256, 2), _conv(256, 4)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the heads of the six levels, finest first.

        images: (B, 3, H, W) float32, pixel values 0..255 minus the channel means.
        Returns: 12 maps, for each level (B, 2, h, w) background and face logits, then (B, 4, h, w) box offsets.
        """
        f1 = _stage(images, self.conv1_1, self.conv1_2)
        f2 = _stage(F.max_pool2d(f1, 2), self.conv2_1, self.conv2_2)
        f3 = _stage(F.max_pool2d(f2, 2), self.conv3_1, self.conv3_2, self.conv3_3)
        f4 = _stage(F.max_pool2d(f3, 2), self.conv4_1, self.conv4_2, self.conv4_3)
        f5 = _stage(F.max_pool2d(f4, 2), self.conv5_1, self.conv5_2, self.conv5_3)
        f6 = _stage(F.max_pool2d(f5, 2), self.fc6, self.fc7)
        f7 = _stage(f6, self.conv6_1, self.conv6_2)
        f8 = _stage(f7, self.conv7_1, self.conv7_2)
        n3, n4, n5 = self.conv3_3_norm(f3), self.conv4_3_norm(f4), self.conv5_3_norm(f5)
        return [
            _max_background(self.conv3_3_norm_mbox_conf(n3)),
            self.conv3_3_norm_mbox_loc(n3),
            self.conv4_3_norm_mbox_conf(n4),
            self.conv4_3_norm_mbox_loc(n4),
            self.conv5_3_norm_mbox_conf(n5),
            self.conv5_3_norm_mbox_loc(n5),
            self.fc7_mbox_conf(f6),
            self.fc7_mbox_loc(f6),
            self.conv6_2_mbox_conf(f7),
            self.conv6_2_mbox_loc(f7),
            self.conv7_2_mbox_conf(f8),
            self.conv7_2_mbox_loc(f8),
        ]


def _conv(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1)


def _stage(x: Tensor, *layers: nn.Conv2d) -> Tensor:
    for layer in layers:
        x = F.relu(layer(x), inplace=True)  # these maps limit the batch size, so ReLU works in place
    return x


def _max_background(conf: Tensor) -> Tensor:
    background = conf[:, :3].amax(dim=1, keepdim=True)
    return torch.cat([background, conf[:, 3:]], dim=1)  # (B, 4, h, w) -> (B, 2, h, w)
