"""A data source whose frames and audio carry their number, and networks that read it."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from train.data.index import FrameRuns, WindowIndex
from train.data.samples import Samples, SyncNetSamples, WindowDataset, open_dataset
from train.data.sources import BuildIndex, ReadCost
from train.data.validation_set import ValidationSet, build_offset_set
from wav2lip.sync.offset_curve import SHIFTS

AUDIO_LAG_FRAMES = 3  # by which the audio of NumberedSource lags its frames

index_for_syncnet = partial(WindowIndex.for_syncnet, min_negative_offset=5)


def open_expert_windows(root, seed=0) -> WindowDataset:
    """Open the expert's windows of val.txt."""
    return open_dataset(root, root / "filelists" / "val.txt", index_for_syncnet, SyncNetSamples(5), seed=seed)


class NumberedSource:
    """Two clips whose frames have their number as gray level, and whose audio the number of its frame."""

    names = ("a", "b")
    read_cost = ReadCost.MAPPED

    def __init__(self, frames=80):
        self.runs = FrameRuns(
            torch.tensor([0, 1]), torch.tensor([0, 0]), torch.tensor([frames] * 2),
            torch.tensor([int(frames * 3.2)] * 2),
        )  # fmt: skip

    def select(self, mask):
        return self

    def frames(self, clip, first):
        return first.to(torch.uint8)[:, None, None, None, None].expand(-1, 5, 96, 96, 3).contiguous()

    def mels(self, clip, columns):
        numbers = columns / 3.2 - AUDIO_LAG_FRAMES
        return numbers[:, :, None, None].expand(-1, -1, 80, 16).float().contiguous()


def numbered_windows(samples: Samples, build_index: BuildIndex, frames=80) -> WindowDataset:
    """Windows of a NumberedSource."""
    source = NumberedSource(frames)
    return WindowDataset(source, build_index(source.runs), samples, 0, False)


def numbered_offset_set(samples: Samples, build_index: BuildIndex) -> ValidationSet:
    """Ten windows of a NumberedSource with audio at all shifts."""
    return build_offset_set(numbered_windows(samples, build_index), 10, SHIFTS)


class NumberExpert(nn.Module):
    """An expert that embeds the number of frames or audio as a direction."""

    def face_encoder(self, faces):
        return self.embed(faces.mean(dim=(1, 2, 3)) * 255)

    def audio_encoder(self, mel):
        return self.embed(mel.mean(dim=(1, 2, 3)))

    @staticmethod
    def embed(number):
        angle = number[:, None] / 100
        return torch.cat([angle.cos(), angle.sin()], dim=1)

    def forward(self, mel, faces):
        return self.audio_encoder(mel), self.face_encoder(faces)


class NumberGenerator(nn.Module):
    """A generator whose gray level is the number of the audio."""

    def forward(self, frame_mels, faces):
        number = frame_mels[:, 1].mean(dim=(1, 2, 3))
        return (number / 255)[:, None, None, None, None].expand(-1, 3, 5, 96, 96)
