"""Training samples: windows of clips, each wholly determined by the seed and its number.

Sample n is the same on every machine, with any number of workers and after a resume, because everything drawn for it
is computed from (seed, n): integers for a whole batch at once, and then one read of what they name.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from train.data.draws import FURTHER, ClipWindows, Words, first_columns
from train.data.resident import Memory, settled
from train.data.sources import Reading, Source, WindowsOf, open_source
from wav2lip.crops import FACE_SIZE, generator_input, mouths, to_network
from wav2lip.errors import InputError
from wav2lip.windows import WINDOW_FRAMES

log = logging.getLogger(__name__)

TRIES = 10  # draws in place of damaged samples before giving up
ELSEWHERE = 1 << 61  # between the moments of one data set and those of another


class SyncNetInputs(NamedTuple):
    """What the expert's step takes: network values on the training device."""

    mel: Tensor  # (B, 1, 80, 16)
    faces: Tensor  # (B, 15, size / 2, size) BGR in [0, 1]
    label: Tensor  # (B, 1): 1 where they belong together, else 0
    heard: Tensor  # (B,) int64: the moment of the sound, see `moments`
    shown: Tensor  # (B,) int64: the moment of the faces


class SyncNetBatch(NamedTuple):
    """What the expert's loader gives: pictures as bytes, a twelfth of the traffic of network values."""

    mel: Tensor  # (B, 1, 80, 16) float32
    frames: Tensor  # (B, 5, size, size, 3) uint8 RGB
    label: Tensor  # (B, 1) float32
    heard: Tensor  # (B,) int64
    shown: Tensor  # (B,) int64

    def inputs(self) -> SyncNetInputs:
        """Network values, computed where the batch lies."""
        faces = mouths(time_second(to_network(self.frames)))
        return SyncNetInputs(self.mel, faces, self.label, self.heard, self.shown)

    def of_another_set(self) -> SyncNetBatch:
        """The same with moments that no clip of a first data set has."""
        return self._replace(heard=self.heard + ELSEWHERE, shown=self.shown + ELSEWHERE)

    def hearing(self, mels: Tensor) -> SyncNetBatch:
        """The same with other sounds, (B, K, 80, 16)."""
        return self._replace(mel=mels)


class GeneratorInputs(NamedTuple):
    """What the generator's step takes: network values on the training device."""

    faces: Tensor  # (B, 6, 5, size, size) BGR in [0, 1]: target with its lower half hidden, then reference
    frame_mels: Tensor  # (B, 5, 1, 80, 16): the sound around each frame
    window_mel: Tensor  # (B, 1, 80, 16): the sound under the five frames, for the expert
    target: Tensor  # (B, 3, 5, size, size)


class GeneratorBatch(NamedTuple):
    """What the generator's loader gives."""

    target: Tensor  # (B, 5, size, size, 3) uint8 RGB
    reference: Tensor  # (B, 5, size, size, 3) uint8 RGB, other frames of the same clip
    frame_mels: Tensor  # (B, 5, 1, 80, 16) float32
    window_mel: Tensor  # (B, 1, 80, 16) float32

    def inputs(self) -> GeneratorInputs:
        """Network values, computed where the batch lies."""
        target, reference = to_network(self.target), to_network(self.reference)
        faces = time_second(generator_input(target, reference))
        return GeneratorInputs(faces, self.frame_mels, self.window_mel, time_second(target))

    def hearing(self, mels: Tensor) -> GeneratorBatch:
        """The same with other sounds for the expert, (B, K, 80, 16)."""
        return self._replace(window_mel=mels)

    def of_another_set(self) -> GeneratorBatch:
        """Nothing in it says of which clip a sample is."""
        return self


def moments(clip: Tensor, frame: Tensor) -> Tensor:
    """One number (B,) for a frame of a clip: as far apart as frames of a clip are, and further across clips."""
    return clip * FURTHER + frame


def time_second(frames: Tensor) -> Tensor:
    """(B, T, C, H, W) -> (B, C, T, H, W), the networks' order."""
    return frames.transpose(1, 2)


class Picks(NamedTuple):
    """What a batch is made of: numbers of clips in a source, and first frames of windows in them."""

    clip: Tensor  # (B,) int64
    anchor: Tensor  # (B,) int64: the window whose sound is heard
    other: Tensor  # (B,) int64: the expert is shown this one; the generator takes it as reference


class SyncNetSamples:
    """Sound with the mouth it belongs to, or with a mouth of the same clip at another time, by a fair coin."""

    kinds = 2  # of samples that validation has of each anchor

    def __init__(self, min_shift: int, together: int = 1):
        """min_shift: frames between the right window and a wrong one; under 5 they share frames.
        together: samples in a row that are of one clip. If there are several, there is no coin: each sound comes with
            its own mouth, and the mouths of the others are the wrong ones.
        """
        self.min_shift, self.together = min_shift, together

    def pick(self, windows: ClipWindows, clip: Tensor, anchor: Tensor, words: Tensor) -> Picks:
        """Choose the window shown by random words (B, 2)."""
        if self.together > 1:
            return Picks(clip, anchor, anchor)
        wrong = windows.draw_other(clip, anchor, self.min_shift, words[:, 1])
        return Picks(clip, anchor, torch.where(words[:, 0] % 2 == 1, anchor, wrong))

    def of_each_kind(self, windows: ClipWindows, clip: Tensor, anchor: Tensor, word: Tensor) -> list[Picks]:
        """For validation: the anchors with their own mouths, and with others chosen by random words (B,)."""
        wrong = windows.draw_other(clip, anchor, self.min_shift, word)
        return [Picks(clip, anchor, anchor), Picks(clip, anchor, wrong)]

    def gather(self, source: Source, picks: Picks) -> SyncNetBatch:
        """Read a batch."""
        mel = source.mels(picks.clip, first_columns(picks.anchor)[:, None])  # (B, 1, 80, 16)
        label = (picks.anchor == picks.other).float()[:, None]
        heard, shown = moments(picks.clip, picks.anchor), moments(picks.clip, picks.other)
        return SyncNetBatch(mel, source.pictures(picks.clip, picks.other), label, heard, shown)


class GeneratorSamples:
    """Five frames to repaint, five others of the same clip as references, and the sound."""

    kinds = 1  # of samples that validation has of each anchor
    together = 1  # samples in a row that are of one clip

    def pick(self, windows: ClipWindows, clip: Tensor, anchor: Tensor, words: Tensor) -> Picks:
        """Choose the reference window by random words (B, 2)."""
        return Picks(clip, anchor, windows.draw_other(clip, anchor, 1, words[:, 1]))

    def of_each_kind(self, windows: ClipWindows, clip: Tensor, anchor: Tensor, word: Tensor) -> list[Picks]:
        """For validation: the anchors with references chosen by random words (B,)."""
        return [Picks(clip, anchor, windows.draw_other(clip, anchor, 1, word))]

    def gather(self, source: Source, picks: Picks) -> GeneratorBatch:
        """Read a batch."""
        clip, anchor, reference = picks
        # The window of a single frame begins a frame early; the one under all five is that of the second.
        starts = first_columns(anchor[:, None] + torch.arange(-1, WINDOW_FRAMES - 1, device=anchor.device))
        frame_mels = source.mels(clip, starts)[:, :, None]  # (B, 5, 1, 80, 16)
        pictures = source.pictures(clip.repeat(2), torch.cat([anchor, reference]))
        target, reference_pictures = pictures.chunk(2)
        return GeneratorBatch(target, reference_pictures, frame_mels, frame_mels[:, 1])


Samples = SyncNetSamples | GeneratorSamples


class SampleSet(Protocol):
    """Numbered samples: Windows, or train.data.mixture.Mixture of two of them."""

    @property
    def clips(self) -> Sequence[str]:
        """Paths of the clips; a pass over the data is one sample for each."""

    @property
    def reading(self) -> Reading:
        """What it takes to make a batch."""

    def __getitems__(self, numbers: Sequence[int]) -> Any:
        """The batch of the samples with these numbers."""


class Windows(Dataset):
    """Numbered samples over clips, made a batch at a time."""

    def __init__(self, source: Source, windows: ClipWindows, samples: Samples, seed: int, clips_equal: bool):
        """windows: those of the source that may be used.
        seed: with the number of a sample it determines the sample.
        clips_equal: every clip is drawn as often as any other, as in the release, so that a second of a long clip
            is seen less often than one of a short clip; otherwise every window is drawn as often as any other.
        """
        self.source, self.windows, self.samples, self.clips_equal = source, windows, samples, clips_equal
        self._words = Words(seed, TRIES + 1)  # the last draw is of the clips of those that stand together

    @property
    def clips(self) -> Sequence[str]:
        """Paths of the clips."""
        return self.source.names

    @property
    def reading(self) -> Reading:
        """What it takes to make a batch."""
        return self.source.reading

    def picks(self, numbers: Sequence[int], attempt: int = 0) -> Picks:
        """What the samples with these numbers are made of; another attempt is another draw."""
        words = self._words.of(numbers, attempt, 4)
        clip, anchor = self.windows.draw(words[:, :2], self.clips_equal)
        if self.samples.together > 1 and attempt == 0:  # in place of a damaged sample any clip will do
            first = self._words.of([number // self.samples.together for number in numbers], TRIES, 2)
            clip, _ = self.windows.draw(first, self.clips_equal)
            anchor = self.windows.draw_in(clip, words[:, 1])
        return self.samples.pick(self.windows, clip, anchor, words[:, 2:])

    def __getitems__(self, numbers: Sequence[int]) -> Any:
        """The batch of the samples with these numbers.

        A damaged sample is named in the log and replaced by another draw, ten times at most.
        """
        try:
            return self.samples.gather(self.source, self.picks(numbers))
        except InputError:  # one of them is damaged: which one, and its replacement
            singles = [self._mended(number) for number in numbers]
            return type(singles[0])(*map(torch.cat, zip(*singles, strict=True)))

    def _mended(self, number: int) -> Any:
        for attempt in range(TRIES):
            try:
                return self.samples.gather(self.source, self.picks([number], attempt))
            except InputError as error:
                log.warning("left out: %s", error)
                last = error
        raise InputError(f"{TRIES} draws in a row were damaged, the last: {last}")


def open_windows(
    data_root: Path, filelist: Path, windows_of: WindowsOf, samples: Samples, *, seed: int = 0,
    clips_equal: bool = False, form: str = "auto", size: int = FACE_SIZE, memory: Memory | None = None,
) -> Windows:  # fmt: skip
    """The samples over the clips of a file list; see train.data.sources.open_source and train.data.resident.settled.

    memory: where the clips may be held; without it they are read from disk whatever `form` says.
    """
    source, windows = open_source(data_root, filelist, windows_of, form, size)
    return Windows(settled(source, form, memory), windows, samples, seed, clips_equal)


class Numbers(Sampler[int]):
    """The sample numbers of one process, from a step on and without end: ranks take turns of a batch each."""

    def __init__(self, batch_size: int, first_step: int = 0, rank: int = 0, ranks: int = 1):
        self.batch_size, self.first_step, self.rank, self.ranks = batch_size, first_step, rank, ranks

    def __iter__(self) -> Iterator[int]:
        start = (self.first_step * self.ranks + self.rank) * self.batch_size
        while True:
            yield from range(start, start + self.batch_size)
            start += self.ranks * self.batch_size
