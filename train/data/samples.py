"""Training samples: windows of clips, each a function of the seed and its number.

Sample n is the same on every machine, with any number of workers and after a resume: its indices are computed from
(seed, n), for a whole batch at a time, and then read together. Letters: B samples of a batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from train.data.device_cache import CacheBudget, maybe_cache
from train.data.index import CounterRNG, WindowIndex, first_columns, to_position
from train.data.sources import BuildIndex, ReadCost, Source, open_source
from wav2lip.audio.windows import WINDOW_FRAMES
from wav2lip.errors import InputError
from wav2lip.faces.crops import FACE_SIZE
from wav2lip.faces.tensors import crop_mouths, generator_input, to_network

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 10  # draws in place of a corrupt sample
GROUP_STREAM = MAX_ATTEMPTS  # random stream of the clip that a group of samples shares; streams 0-9 are attempts
DATASET_STRIDE = 1 << 61  # distance between positions of two mixed data sets


class SyncNetInputs(NamedTuple):
    """Network inputs of the expert's step, on the training device."""

    mel: Tensor  # (B, 1, 80, 16)
    faces: Tensor  # (B, 15, size / 2, size) BGR in [0, 1]
    label: Tensor  # (B, 1): 1 where audio and faces match, else 0
    audio_position: Tensor  # (B,) int64, see train.data.index.to_position
    face_position: Tensor  # (B,) int64


class SyncNetBatch(NamedTuple):
    """Batch from the expert's loader; images are bytes, a twelfth of the memory of network inputs."""

    mel: Tensor  # (B, 1, 80, 16) float32
    frames: Tensor  # (B, 5, size, size, 3) uint8 RGB
    label: Tensor  # (B, 1) float32
    audio_position: Tensor  # (B,) int64
    face_position: Tensor  # (B,) int64

    def inputs(self) -> SyncNetInputs:
        """Network inputs, computed on the device of the batch."""
        faces = crop_mouths(channels_first(to_network(self.frames)))
        return SyncNetInputs(self.mel, faces, self.label, self.audio_position, self.face_position)

    def map_frames(self, change: Callable[[Tensor], Tensor]) -> SyncNetBatch:
        """Change the frames of each sample by a function of frames (B, 5, size, size, 3) uint8."""
        return self._replace(frames=change(self.frames))

    def map_mels(self, change: Callable[[Tensor], Tensor]) -> SyncNetBatch:
        """Change the audio of each sample by a function of mels (B, K, 80, 16)."""
        return self._replace(mel=change(self.mel))

    def from_second_dataset(self) -> SyncNetBatch:
        """Move the positions away from those of any clip of a first data set."""
        return self._replace(
            audio_position=self.audio_position + DATASET_STRIDE, face_position=self.face_position + DATASET_STRIDE
        )

    def with_audio(self, mels: Tensor) -> SyncNetBatch:
        """Replace the audio by K windows for each sample, (B, K, 80, 16)."""
        return self._replace(mel=mels)


class GeneratorInputs(NamedTuple):
    """Network inputs of the generator's step, on the training device."""

    faces: Tensor  # (B, 6, 5, size, size) BGR in [0, 1]: target with masked lower half, then reference
    frame_mels: Tensor  # (B, 5, 1, 80, 16): audio around each frame
    window_mel: Tensor  # (B, 1, 80, 16): audio of the five frames, for the expert
    target: Tensor  # (B, 3, 5, size, size)

    def first_frames(self, count: int) -> GeneratorInputs:
        """Return the first frames of each window, without the audio of the others."""
        return GeneratorInputs(
            self.faces[:, :, :count], self.frame_mels[:, :count], self.window_mel, self.target[:, :, :count]
        )

    def first_windows(self, count: int | None) -> GeneratorInputs:
        """Return the first windows of the batch; None: all."""
        return GeneratorInputs(*(values[:count] for values in self))


class GeneratorBatch(NamedTuple):
    """Batch from the generator's loader."""

    target: Tensor  # (B, 5, size, size, 3) uint8 RGB
    reference: Tensor  # (B, 5, size, size, 3) uint8 RGB, other frames of the same clip
    frame_mels: Tensor  # (B, 5, 1, 80, 16) float32
    window_mel: Tensor  # (B, 1, 80, 16) float32

    def inputs(self) -> GeneratorInputs:
        """Network inputs, computed on the device of the batch."""
        target, reference = to_network(self.target), to_network(self.reference)
        faces = channels_first(generator_input(target, reference))
        return GeneratorInputs(faces, self.frame_mels, self.window_mel, channels_first(target))

    def map_frames(self, change: Callable[[Tensor], Tensor]) -> GeneratorBatch:
        """Change target and reference of each sample together by a function of frames (B, 10, size, size, 3) uint8."""
        target, reference = change(torch.cat([self.target, self.reference], dim=1)).chunk(2, dim=1)
        return self._replace(target=target, reference=reference)

    def map_mels(self, change: Callable[[Tensor], Tensor]) -> GeneratorBatch:
        """Change the generator's audio of each sample by a function of mels (B, K, 80, 16); the expert's stays."""
        return self._replace(frame_mels=change(self.frame_mels.squeeze(2)).unsqueeze(2))

    def from_second_dataset(self) -> GeneratorBatch:
        """Return the batch unchanged: it carries no positions."""
        return self

    def with_audio(self, mels: Tensor) -> GeneratorBatch:
        """Replace the expert's audio by K windows for each sample, (B, K, 80, 16)."""
        return self._replace(window_mel=mels)


def channels_first(frames: Tensor) -> Tensor:
    """(B, T, C, H, W) -> (B, C, T, H, W), the order of the networks."""
    return frames.transpose(1, 2)


class SampleIndices(NamedTuple):
    """Windows that a batch is read from: clips by number in the source, and first frames; all (B,) int64."""

    clip: Tensor
    anchor: Tensor  # window of the audio, and of the generator's target
    other: Tensor  # window of the expert's faces, or of the generator's reference


class SyncNetSamples:
    """Samples of the expert: audio with its own mouth or, with probability 1/2, another of the same clip."""

    validation_variants = 2  # samples for each anchor: matching and mismatched

    def __init__(self, min_negative_offset: int, windows_per_clip: int = 1):
        """min_negative_offset: frames between a matching and a mismatched window; below 5 they share frames.
        windows_per_clip: consecutive samples from one clip. With more than one, all audio comes with its own mouth,
            and the mouths of the other samples are the mismatched ones.
        """
        self.min_negative_offset, self.windows_per_clip = min_negative_offset, windows_per_clip

    def choose(self, index: WindowIndex, clip: Tensor, anchor: Tensor, words: Tensor) -> SampleIndices:
        """Choose the faces of each anchor by random words (B, 2)."""
        if self.windows_per_clip > 1:
            return SampleIndices(clip, anchor, anchor)
        negative = index.draw_other(clip, anchor, self.min_negative_offset, words[:, 1])
        return SampleIndices(clip, anchor, torch.where(words[:, 0] % 2 == 1, anchor, negative))

    def choose_for_validation(
        self, index: WindowIndex, clip: Tensor, anchor: Tensor, word: Tensor
    ) -> list[SampleIndices]:
        """Each anchor with its own faces, and with others chosen by random words (B,)."""
        negative = index.draw_other(clip, anchor, self.min_negative_offset, word)
        return [SampleIndices(clip, anchor, anchor), SampleIndices(clip, anchor, negative)]

    def read(self, source: Source, indices: SampleIndices) -> SyncNetBatch:
        """Read a batch."""
        clip, anchor, other = indices
        mel = source.mels(clip, first_columns(anchor)[:, None])  # (B, 1, 80, 16)
        label = (anchor == other).float()[:, None]
        positions = to_position(clip, anchor), to_position(clip, other)
        return SyncNetBatch(mel, source.frames(clip, other), label, *positions)


class GeneratorSamples:
    """Samples of the generator: five target frames, five reference frames of the same clip, and the audio."""

    validation_variants = 1  # samples for each anchor
    windows_per_clip = 1  # consecutive samples from one clip

    def choose(self, index: WindowIndex, clip: Tensor, anchor: Tensor, words: Tensor) -> SampleIndices:
        """Choose the reference of each anchor by random words (B, 2)."""
        return SampleIndices(clip, anchor, index.draw_other(clip, anchor, 1, words[:, 1]))

    def choose_for_validation(
        self, index: WindowIndex, clip: Tensor, anchor: Tensor, word: Tensor
    ) -> list[SampleIndices]:
        """Each anchor with a reference chosen by random words (B,)."""
        return [SampleIndices(clip, anchor, index.draw_other(clip, anchor, 1, word))]

    def read(self, source: Source, indices: SampleIndices) -> GeneratorBatch:
        """Read a batch."""
        clip, anchor, reference = indices
        # The audio window of a single frame starts one frame early; the one of all five is that of the second frame.
        starts = first_columns(anchor[:, None] + torch.arange(-1, WINDOW_FRAMES - 1))
        frame_mels = source.mels(clip, starts)[:, :, None]  # (B, 5, 1, 80, 16)
        target, reference_frames = source.frames(clip.repeat(2), torch.cat([anchor, reference])).chunk(2)
        return GeneratorBatch(target, reference_frames, frame_mels, frame_mels[:, 1])


Samples = SyncNetSamples | GeneratorSamples


class BatchDataset(Protocol):
    """Numbered samples, read a batch at a time: WindowDataset, or train.data.mixture.ReplayMixture of two of them."""

    @property
    def clips(self) -> Sequence[str]:
        """Paths of the clips; a pass over the data is one sample for each."""

    @property
    def read_cost(self) -> ReadCost:
        """Cost of reading a batch."""

    def __getitems__(self, numbers: Sequence[int]) -> Any:
        """Read the batch of the samples with these numbers."""


class WindowDataset(Dataset):
    """Numbered samples over the windows of clips."""

    def __init__(self, source: Source, index: WindowIndex, samples: Samples, seed: int, uniform_clips: bool):
        """index: windows of the source.
        uniform_clips: every clip is equally likely, as upstream, so that seconds of long clips are drawn less often
            than those of short ones; otherwise every window is equally likely.
        """
        self.source, self.index, self.samples = source, index, samples
        self.seed, self.uniform_clips = seed, uniform_clips

    @property
    def clips(self) -> Sequence[str]:
        """Paths of the clips."""
        return self.source.names

    @property
    def read_cost(self) -> ReadCost:
        """Cost of reading a batch."""
        return self.source.read_cost

    def indices(self, numbers: Sequence[int], attempt: int = 0) -> SampleIndices:
        """Windows of the samples with these numbers; each attempt is an independent draw."""
        words = CounterRNG(self.seed, attempt).draw(numbers)
        clip, anchor = self.index.draw_anchors(words[:, :2], self.uniform_clips)
        group = self.samples.windows_per_clip
        if group > 1 and attempt == 0:  # a replacement of a corrupt sample may come from any clip
            group_words = CounterRNG(self.seed, GROUP_STREAM).draw([number // group for number in numbers])
            clip, _ = self.index.draw_anchors(group_words[:, :2], self.uniform_clips)
            anchor = self.index.draw_anchors_in(clip, words[:, 1])
        return self.samples.choose(self.index, clip, anchor, words[:, 2:])

    def __getitems__(self, numbers: Sequence[int]) -> Any:
        """Read the batch of the samples with these numbers.

        A corrupt sample is logged and replaced by another draw, at most MAX_ATTEMPTS times.
        """
        try:
            return self.samples.read(self.source, self.indices(numbers))
        except InputError:  # find the corrupt sample and replace it
            singles = [self._read_or_replace(number) for number in numbers]
            return type(singles[0])(*map(torch.cat, zip(*singles, strict=True)))

    def _read_or_replace(self, number: int) -> Any:
        for attempt in range(MAX_ATTEMPTS):
            try:
                return self.samples.read(self.source, self.indices([number], attempt))
            except InputError as error:
                log.warning("skipping a sample: %s", error)
                last = error
        raise InputError(f"{MAX_ATTEMPTS} samples in a row are corrupt, the last: {last}")


def open_dataset(
    data_root: Path, filelist: Path, build_index: BuildIndex, samples: Samples, *, seed: int = 0,
    uniform_clips: bool = False, data_source: str = "auto", size: int = FACE_SIZE, cache: CacheBudget | None = None,
) -> WindowDataset:  # fmt: skip
    """Open the samples over the clips of a file list; see train.data.sources.open_source and device_cache.maybe_cache.

    cache: memory for caching the clips; None: read them from disk for any `data_source`.
    """
    source, index = open_source(data_root, filelist, build_index, data_source, size)
    return WindowDataset(maybe_cache(source, data_source, cache), index, samples, seed, uniform_clips)


class ResumableSampler(Sampler[int]):
    """Sample numbers of one process from a step on, without end; ranks alternate batch by batch."""

    def __init__(self, batch_size: int, first_step: int = 0, rank: int = 0, world_size: int = 1):
        self.batch_size, self.first_step, self.rank, self.world_size = batch_size, first_step, rank, world_size

    def __iter__(self) -> Iterator[int]:
        start = (self.first_step * self.world_size + self.rank) * self.batch_size
        while True:
            yield from range(start, start + self.batch_size)
            start += self.world_size * self.batch_size
