"""Images and videos of generated validation frames."""

from __future__ import annotations

import logging
import tempfile
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.utils import make_grid

from train.callbacks.base import Callback
from train.callbacks.tensorboard import TensorBoard
from train.checkpoint.state import TrainState
from train.data.index import from_position
from train.data.samples import GeneratorBatch, GeneratorInputs, GeneratorSamples, SampleIndices, WindowDataset
from train.validation.runner import ValidationResult
from wav2lip.audio.mel import SAMPLE_RATE, load_wav
from wav2lip.audio.windows import FPS, WINDOW_FRAMES
from wav2lip.dataset.clip import AUDIO
from wav2lip.errors import InputError
from wav2lip.faces.tensors import from_network
from wav2lip.media import VideoWriter

log = logging.getLogger(__name__)

BATCH_WINDOWS = 4  # per forward pass, which then needs no more memory than a small training batch
MIN_PANEL_SIZE = 192  # pixels; smaller faces are enlarged by a whole factor

Generate = Callable[[GeneratorInputs], Tensor]  # returns frames (B, 3, T, R, R) BGR in [0, 1]


class SampleGrid(Callback):
    """Logs a grid of the first validation windows to TensorBoard."""

    def __init__(self, tensorboard: TensorBoard, batches: Callable[[int], Iterator[Any]], generate: Generate):
        """batches: yields those of the validation after a step."""
        self.tensorboard, self.batches, self.generate = tensorboard, batches, generate

    def on_validation(self, state: TrainState, result: ValidationResult) -> None:
        """Log the grid."""
        batch = next(self.batches(result.step))
        self.tensorboard.add_image("val", sample_grid(self.generate(batch), batch), result.step)


def sample_grid(fake: Tensor, batch: GeneratorInputs, rows: int = 4) -> Tensor:
    """Return (3, H, W) RGB in [0, 1]: per sample masked input, reference, generated and true middle frame.

    fake: (B, 3, T, R, R) BGR in [0, 1].
    """
    middle = fake.shape[2] // 2
    columns = (batch.faces[:, :3], batch.faces[:, 3:], fake, batch.target)
    views = torch.stack([view[:rows, :, middle] for view in columns], dim=1)  # (rows, 4, 3, R, R)
    return make_grid(views.flatten(0, 1).float().flip(1).cpu(), nrow=len(columns), padding=2)


@dataclass(frozen=True)
class Excerpt:
    """Consecutive frames of a clip with their audio."""

    batch: GeneratorBatch  # consecutive windows, all with the same reference frame
    audio: np.ndarray  # float32 at 16 kHz

    @classmethod
    def from_longest_run(cls, dataset: WindowDataset, seconds: float) -> Excerpt:
        """Read the first `seconds` of the longest gapless run of frames among the clips.

        All windows have the same static reference, the first frame of the clip's last window: a moving one would
        reveal the mouth, and one per window would flicker.
        """
        index = dataset.index
        clip, first, anchors = index.longest_run()
        count = max(1, min(int(seconds * FPS), anchors + WINDOW_FRAMES - 1) // WINDOW_FRAMES)
        _, reference = from_position(index.windows[index.window_bounds[clip + 1] - 1])
        starts = first + WINDOW_FRAMES * torch.arange(count)
        clips = torch.full_like(starts, clip)
        batch = GeneratorSamples().read(dataset.source, SampleIndices(clips, starts, reference.expand(count)))
        static_reference = batch.reference[:, :1].expand_as(batch.reference)
        audio = load_wav(Path(dataset.clips[clip]) / AUDIO)
        begin, end = (round(frame / FPS * SAMPLE_RATE) for frame in (first, first + count * WINDOW_FRAMES))
        return cls(batch._replace(reference=static_reference), audio[begin:end])


@dataclass(frozen=True)
class PreviewVideo(Callback):
    """Writes FOLDER/previews/stepNNNNNNNNN.mp4: true, masked and generated frames side by side."""

    folder: Path  # checkpoint folder of the run
    excerpt: Excerpt
    generate: Generate
    device: torch.device

    def on_validation(self, state: TrainState, result: ValidationResult) -> None:
        """Write the video of a step; log a warning if that fails."""
        path = self.folder / "previews" / f"step{result.step:09d}.mp4"
        try:
            with tempfile.TemporaryDirectory() as scratch:
                audio = _write_wav(Path(scratch) / AUDIO, self.excerpt.audio)
                with VideoWriter(path, FPS, audio) as video:
                    for frame in self._frames():
                        video.write(frame)
        except InputError as error:
            log.warning("no preview of step %d: %s", result.step, error)

    @torch.no_grad()
    def _frames(self) -> np.ndarray:
        """Return (N, H, 3 * H, 3) uint8 RGB."""
        chunks = []
        for tensors in zip(*(tensor.split(BATCH_WINDOWS) for tensor in self.excerpt.batch), strict=True):
            inputs = GeneratorBatch(*(tensor.to(self.device) for tensor in tensors)).inputs()
            panels = (inputs.target, inputs.faces[:, :3], self.generate(inputs))
            images = [from_network(panel.transpose(1, 2).cpu()) for panel in panels]
            chunks.append(torch.cat(images, dim=3).flatten(0, 1))
        frames = torch.cat(chunks).numpy()
        factor = max(1, MIN_PANEL_SIZE // frames.shape[1])
        return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def build_preview(
    dataset: WindowDataset, seconds: float, folder: Path, generate: Generate, device: torch.device
) -> PreviewVideo | None:
    """Return the preview of validation clips; None for 0 seconds, or with a warning if the clips cannot be read."""
    if seconds < 0:
        raise InputError(f"preview_seconds={seconds}: must be 0 or more; 0 writes no previews")
    if seconds == 0:
        return None
    try:
        return PreviewVideo(folder, Excerpt.from_longest_run(dataset, seconds), generate, device)
    except InputError as error:
        log.warning("no previews: %s", error)
        return None


def _write_wav(path: Path, audio: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE)
        wav.writeframes(np.clip(np.rint(audio * 32768), -32768, 32767).astype("<i2").tobytes())
    return path
