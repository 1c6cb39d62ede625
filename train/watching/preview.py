"""A short video of held-out frames, with their sound, that shows what the generator makes of them."""

from __future__ import annotations

import logging
import tempfile
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from train.data.samples import GeneratorBatch, GeneratorInputs, GeneratorSamples, Picks, Windows
from wav2lip.audio import SAMPLE_RATE, load_wav
from wav2lip.clips import AUDIO
from wav2lip.crops import from_network
from wav2lip.errors import InputError
from wav2lip.media import VideoWriter
from wav2lip.windows import FPS, WINDOW_FRAMES

log = logging.getLogger(__name__)

WINDOWS_AT_ONCE = 4  # that the generator paints: no more memory than a small batch of training
SMALLEST_PANEL = 192  # pixels: smaller faces are shown larger, by a whole factor


@dataclass(frozen=True)
class Excerpt:
    """Consecutive frames of a clip with their sound."""

    batch: GeneratorBatch  # windows one after another, all with the same reference frame
    sound: np.ndarray  # float32 at 16 kHz, under these frames

    @classmethod
    def longest(cls, windows: Windows, seconds: float) -> Excerpt:
        """The beginning of the longest unbroken stretch among held-out clips, `seconds` of it at most.

        The reference is one frame for all, the first of the clip's last window: a frame that moved would give the
        mouth away, and one from each window would flicker.
        """
        held_out = windows.windows
        span = int(held_out.span_count.argmax())
        clip, first = held_out.span_clip[span], int(held_out.span_first[span])
        frames = int(held_out.span_count[span]) + WINDOW_FRAMES - 1
        count = max(1, min(int(seconds * FPS), frames) // WINDOW_FRAMES)
        _, reference = held_out.whole_at(held_out.clip_ends[clip] - 1)
        anchors = first + WINDOW_FRAMES * torch.arange(count, device=clip.device)
        picks = Picks(clip.expand(count), anchors, reference.expand(count))
        batch = GeneratorSamples().gather(windows.source, picks)
        still = batch.reference[:, :1].expand_as(batch.reference)
        return cls(batch._replace(reference=still), cls._sound(windows.clips[int(clip)], first, count * WINDOW_FRAMES))

    @staticmethod
    def _sound(clip: str, first: int, frames: int) -> np.ndarray:
        begin, end = (round(frame / FPS * SAMPLE_RATE) for frame in (first, first + frames))
        return load_wav(Path(clip) / AUDIO)[begin:end]


@dataclass(frozen=True)
class Preview:
    """Writes FOLDER/previews/stepNNNNNNNNN.mp4: truth, masked input and generated frames side by side."""

    folder: Path  # of the checkpoints
    excerpt: Excerpt
    paint: Callable[[GeneratorInputs], Tensor]  # (B, 3, T, size, size) BGR in [0, 1], with the weights to be shown
    device: torch.device

    def write(self, step: int) -> None:
        """Write the video of a step; where that fails, a line says why and training goes on."""
        path = self.folder / "previews" / f"step{step:09d}.mp4"
        try:
            with tempfile.TemporaryDirectory() as scratch:
                sound = _write_wav(Path(scratch) / AUDIO, self.excerpt.sound)
                with VideoWriter(path, FPS, sound) as video:
                    for frame in self._frames():
                        video.write(frame)
        except InputError as error:
            log.warning("no preview of step %d: %s", step, error)

    @torch.no_grad()
    def _frames(self) -> np.ndarray:
        """(N, H, 3 * H, 3) uint8 RGB."""
        parts = []
        for part in zip(*(tensor.split(WINDOWS_AT_ONCE) for tensor in self.excerpt.batch), strict=True):
            inputs = GeneratorBatch(*(tensor.to(self.device) for tensor in part)).inputs()
            panels = (inputs.target, inputs.faces[:, :3], self.paint(inputs))
            parts.append(
                torch.cat([from_network(panel.transpose(1, 2).cpu()) for panel in panels], dim=3).flatten(0, 1)
            )
        frames = torch.cat(parts).numpy()
        factor = max(1, SMALLEST_PANEL // frames.shape[1])
        return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def preview_of(
    windows: Windows, seconds: float, folder: Path, paint: Callable[[GeneratorInputs], Tensor], device: torch.device
) -> Preview | None:
    """The preview of held-out clips; None for 0 seconds, or with a line that says why where they cannot be read."""
    if seconds < 0:
        raise InputError(f"preview_seconds={seconds}: give a length from 0 up; 0 makes no previews")
    if seconds == 0:
        return None
    try:
        return Preview(folder, Excerpt.longest(windows, seconds), paint, device)
    except InputError as error:
        log.warning("no previews: %s", error)
        return None


def _write_wav(path: Path, sound: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE)
        wav.writeframes(np.clip(np.rint(sound * 32768), -32768, 32767).astype("<i2").tobytes())
    return path
