"""Interface of sync experts: embeddings of lips and audio that are similar if they match."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from wav2lip.audio.windows import WINDOW_COLUMNS, first_column
from wav2lip.dataset.clip import Clip

MAX_SHIFT = 15  # frames by which the audio is shifted, either way
BATCH_WINDOWS = 64  # windows per forward pass of a SyncNet, and of the audio encoder of SyncNet v2
BATCH_V2_WINDOWS = 20  # windows of lips per forward pass of SyncNet v2, whose images are five times as large
MAX_CLIP_FRAMES = 1500  # a constant offset shows within a minute


@dataclass(frozen=True)
class Embedding:
    """Embeddings of the windows of one clip."""

    starts: np.ndarray  # (W,) int: row of `audio` recorded with each window of lips
    lips: np.ndarray  # (W, D) float32
    audio: np.ndarray  # (T, D) float32: one window of audio for each frame


class Expert(Protocol):
    """Embed the lips and the audio of a clip."""

    def embed(self, clip: Clip) -> Embedding:
        """Embed at most the first minute of a clip.

        Raises: InputError if the clip cannot be read.
        """
        ...


class StreamingExpert(Protocol):
    """Embed the lips and the audio of a video in blocks of constant size."""

    pads_audio: bool  # audio outside the recording counts as zeros; else windows near its ends are skipped

    def embed_stream(self, frames: Iterable[np.ndarray | None], wav: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """Embed the windows that start with consecutive frames, as long as there is audio.

        frames: (h, w, 3) uint8 RGB faces at 25 fps; None for a frame without a face.
        wav: (N,) float32 mono at 16 kHz, starting with the first frame.
        Yields: lips and audio of the same windows, (B, D) float32 on the CPU; lips are NaN where a frame is missing.
        """
        ...

    def distance(self, lips: Tensor, audio: Tensor) -> Tensor:
        """Return the distance of embeddings along the last dimension."""
        ...


def clip_span(clip: Clip) -> tuple[np.ndarray, int, int]:
    """Return the part of a clip that is embedded.

    Returns: (N,) frame numbers; first and end frame of the windows of audio around them.
    """
    frames = clip.frames[clip.frames < clip.frames[0] + MAX_CLIP_FRAMES]
    return frames, max(0, int(frames[0]) - MAX_SHIFT), int(frames[-1]) + MAX_SHIFT + 1


def clip_windows(clip: Clip) -> tuple[np.ndarray, int, np.ndarray]:
    """Return frames and mel windows of at most the first minute of a clip.

    Returns: (N,) frame numbers; frame of the first mel window; (T, 80, 16) float32 mel windows of consecutive frames.
    """
    frames, begin, end = clip_span(clip)
    return (
        frames,
        begin,
        stack_windows(clip.mel(write_cache=False), [first_column(f) for f in range(begin, end)], WINDOW_COLUMNS),
    )


def stack_windows(columns: np.ndarray, starts: Iterable[int], width: int) -> np.ndarray:
    """Copy the complete windows of columns (D, T) to (N, D, width)."""
    windows = [columns[:, s : s + width] for s in starts if s + width <= columns.shape[1]]
    return np.stack(windows) if windows else np.zeros((0, len(columns), width), np.float32)


def batched(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Split rows into batches of at most `size`."""
    return (rows[i : i + size] for i in range(0, len(rows), size))


def concatenate(batches: Sequence[np.ndarray]) -> np.ndarray:
    """Join batches of embeddings; (0, 1) without any."""
    return np.concatenate(batches) if batches else np.zeros((0, 1), np.float32)


def frame_blocks(
    frames: Iterable[np.ndarray | None], windows: int, overlap: int
) -> Iterator[tuple[int, list[np.ndarray | None]]]:
    """Split frames into blocks that start `windows` frames apart and share `overlap` frames.

    Yields: number of the first frame; up to `windows + overlap` frames, always more than `overlap`.
    """
    block: list[np.ndarray | None] = []
    first = 0
    for frame in frames:
        block.append(frame)
        if len(block) == windows + overlap:
            yield first, block
            block, first = block[windows:], first + windows
    if len(block) > overlap:
        yield first, block
