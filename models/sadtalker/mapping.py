"""Head pose and keypoint offsets from windows of coefficients, and driving keypoints from them."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURES = 1024
LAYERS = 3
LAYER_CROP = 3  # columns that a layer takes from each end
NUM_BINS = 66
BIN_DEGREES = 3
FIRST_BIN_DEGREES = -99
NUM_KEYPOINTS = 15
WINDOW = 27  # frames
PI = 3.14  # the networks were trained with this value


class HeadPose(NamedTuple):
    """Output of the mapping network for B frames."""

    yaw: Tensor  # (B, 66) logits of bins, as are pitch and roll
    pitch: Tensor
    roll: Tensor
    translation: Tensor  # (B, 3)
    expression: Tensor  # (B, 45) offsets of 15 keypoints


class MappingNet(nn.Module):
    """Dilated convolutions over a window of coefficients."""

    def __init__(self, coefficients: int):
        """coefficients: 70, or 73 with scale and offset of the crop."""
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(coefficients, FEATURES, 7))
        for layer in range(LAYERS):
            conv = nn.Conv1d(FEATURES, FEATURES, 3, dilation=LAYER_CROP)
            self.add_module(f"encoder{layer}", nn.Sequential(nn.LeakyReLU(0.1), conv))
        self.fc_roll, self.fc_pitch, self.fc_yaw = (nn.Linear(FEATURES, NUM_BINS) for _ in range(3))
        self.fc_t = nn.Linear(FEATURES, 3)
        self.fc_exp = nn.Linear(FEATURES, 3 * NUM_KEYPOINTS)

    def forward(self, windows: Tensor) -> HeadPose:
        """windows: (B, 70 or 73, 27) float32, the coefficients around each frame."""
        x = self.first(windows)
        for layer in range(LAYERS):
            x = self.get_submodule(f"encoder{layer}")(x) + x[..., LAYER_CROP:-LAYER_CROP]
        x = x.mean(dim=-1)
        return HeadPose(self.fc_yaw(x), self.fc_pitch(x), self.fc_roll(x), self.fc_t(x), self.fc_exp(x))


def expected_degrees(logits: Tensor) -> Tensor:
    """Return the mean angle of bins: (B, 66) logits -> (B,) degrees."""
    bins = torch.arange(NUM_BINS, dtype=torch.float32, device=logits.device)
    return (F.softmax(logits.float(), dim=1) * bins).sum(dim=1) * BIN_DEGREES + FIRST_BIN_DEGREES


def rotation_matrices(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Return rotations about x by pitch, y by yaw and z by roll, multiplied in this order.

    yaw, pitch, roll: (B,) degrees. Returns: (B, 3, 3) float32.
    """
    pitch, yaw, roll = (angle / 180 * PI for angle in (pitch, yaw, roll))
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, dim=-1).reshape(-1, 3, 3)

    about_x = matrix(one, zero, zero, zero, pitch.cos(), -pitch.sin(), zero, pitch.sin(), pitch.cos())
    about_y = matrix(yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos())
    about_z = matrix(roll.cos(), -roll.sin(), zero, roll.sin(), roll.cos(), zero, zero, zero, one)
    return about_x @ about_y @ about_z


def transform_keypoints(
    canonical: Tensor,
    pose: HeadPose,
    yaw: Tensor | None = None,
    pitch: Tensor | None = None,
    roll: Tensor | None = None,
) -> Tensor:
    """Rotate canonical keypoints, and add the vertical translation and the offsets of the expression.

    Translation to the sides and in depth is ignored, as in the training of the generator.
    canonical: (B or 1, 15, 3). yaw, pitch, roll: (B,) degrees that replace the predicted ones.
    Returns: (B, 15, 3) float32.
    """
    yaw = expected_degrees(pose.yaw) if yaw is None else yaw
    pitch = expected_degrees(pose.pitch) if pitch is None else pitch
    roll = expected_degrees(pose.roll) if roll is None else roll
    rotated = torch.einsum("bmp,bkp->bkm", rotation_matrices(yaw, pitch, roll), canonical.expand(len(yaw), -1, -1))
    vertical = pose.translation * pose.translation.new_tensor([0, 1, 0])
    return rotated + vertical[:, None] + pose.expression.reshape(-1, NUM_KEYPOINTS, 3)
