"""Layers that published files contain and inference never runs: they only keep the keys of the files complete."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from models.sadtalker.pose_unet import PoseUNet


class PoseEncoder(nn.Module):
    """Encoder of the pose autoencoder, which training needs."""

    def __init__(self, classes: int, latent: int, audio_features: int, window: int, values: int):
        super().__init__()
        self.classbias = nn.Parameter(torch.zeros(classes, latent))
        self.resunet = PoseUNet()
        features = 2 * window * values + latent + values
        self.MLP = nn.Sequential(OrderedDict(L0=nn.Linear(features, 128)))
        self.linear_means = nn.Linear(128, latent)
        self.linear_logvar = nn.Linear(128, latent)
        self.linear_audio = nn.Linear(audio_features, values)


class _ConvNorm1d(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, kernel: int):
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, bias=False)
        self.norm = nn.BatchNorm1d(out_channels)


class MotionDiscriminator(nn.Module):
    """Discriminator of head motion, which training needs."""

    def __init__(self, values: int):
        super().__init__()
        self.seq = nn.Sequential(
            _ConvNorm1d(values, 256, 4), _ConvNorm1d(256, 512, 4), _ConvNorm1d(512, 1024, 3), nn.Conv1d(1024, 1, 3)
        )


class _Bottleneck(nn.Module):
    def __init__(self, channels: int, skip: bool = False):
        super().__init__()
        inner = channels // 4
        self.conv1, self.norm1 = nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner)
        self.conv2, self.norm2 = nn.Conv2d(inner, inner, 3), nn.BatchNorm2d(inner)
        self.conv3, self.norm3 = nn.Conv2d(inner, channels, 1), nn.BatchNorm2d(channels)
        if skip:
            self.skip, self.norm4 = nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels)


class HeadPoseEstimator(nn.Module):
    """Head pose and expression of a driving video; SadTalker's mapping network replaces it."""

    def __init__(self) -> None:
        super().__init__()
        widths, blocks = (256, 512, 1024, 2048), (3, 3, 5, 2)
        self.conv1, self.norm1 = nn.Conv2d(3, 64, 7), nn.BatchNorm2d(64)
        in_channels = 64
        for stage, (channels, count) in enumerate(zip(widths, blocks, strict=True)):
            self.add_module(f"conv{stage + 2}", nn.Conv2d(in_channels, channels, 1))
            self.add_module(f"norm{stage + 2}", nn.BatchNorm2d(channels))
            if stage > 0:
                self.add_module(f"block{2 * stage}", _Bottleneck(channels, skip=True))
            number = 2 * stage + 1
            names = {f"b{number}_{n}": _Bottleneck(channels) for n in range(count)}
            self.add_module(f"block{number}", nn.Sequential(OrderedDict(names)))
            in_channels = channels
        self.fc_roll, self.fc_pitch, self.fc_yaw = (nn.Linear(in_channels, 66) for _ in range(3))
        self.fc_t, self.fc_exp = nn.Linear(in_channels, 3), nn.Linear(in_channels, 45)
