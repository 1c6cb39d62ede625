"""Trained networks as sync experts: SyncNet of this project or of upstream, and SyncNet v2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models import SyncNet
from wav2lip.audio import melspectrogram
from wav2lip.audio.mel import HOP_SAMPLES
from wav2lip.audio.windows import WINDOW_COLUMNS, WINDOW_FRAMES, first_column, window_starts
from wav2lip.checkpoints import load_checkpoint, load_network
from wav2lip.dataset.clip import Clip
from wav2lip.faces.crops import resize
from wav2lip.faces.tensors import crop_mouths, to_network
from wav2lip.sync.expert import BATCH_WINDOWS, Embedding, batched, clip_windows, concatenate, frame_blocks
from wav2lip.sync.lse import SyncNetV2Expert, load_syncnet_v2
from wav2lip.sync.offset_curve import cosine_distance
from wav2lip.types import PathType


def load_expert(path: PathType, device: torch.device | str = "cpu") -> SyncNetExpert | SyncNetV2Expert:
    """Load the expert of a checkpoint: SyncNet v2, or a SyncNet of any width and resolution.

    Raises: InputError if the file is neither.
    """
    if "netcnnaud.0.weight" in load_checkpoint(path).state_dict:
        return SyncNetV2Expert(load_syncnet_v2(path, device))
    return SyncNetExpert(load_network(path, SyncNet), device)


class SyncNetExpert:
    """A SyncNet as a sync expert, with embeddings of norm 1."""

    pads_audio = False

    def __init__(self, network: SyncNet, device: torch.device | str = "cpu"):
        """network: of any width and resolution; set to eval mode."""
        self.network, self.device = network.eval().to(device), device

    def distance(self, lips: Tensor, audio: Tensor) -> Tensor:
        """Return 1 - cosine along the last dimension."""
        return cosine_distance(lips, audio)

    @torch.inference_mode()
    def embed_stream(self, frames: Iterable[np.ndarray | None], wav: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """Embed all windows of a video; see `StreamingExpert`."""
        if len(wav) < WINDOW_COLUMNS * HOP_SAMPLES:
            return
        mel, size = melspectrogram(wav), self.network.resolution
        num_frames = _count_windows(mel.shape[1]) + WINDOW_FRAMES - 1
        faces = (frame if frame is None else resize(frame, size, size) for frame in frames)
        for first, block in frame_blocks(islice(faces, num_frames), BATCH_WINDOWS, WINDOW_FRAMES - 1):
            numbers = range(first, first + len(block) - WINDOW_FRAMES + 1)
            mels = np.stack([mel[:, first_column(n) : first_column(n) + WINDOW_COLUMNS] for n in numbers])
            audio = self._embed_audio(mels)
            lips = torch.full_like(audio, torch.nan)
            windows = {n: [f for f in block[n : n + WINDOW_FRAMES] if f is not None] for n in range(len(numbers))}
            complete = {n: np.stack(window) for n, window in windows.items() if len(window) == WINDOW_FRAMES}
            if complete:
                lips[list(complete)] = self._embed_lips(np.stack(list(complete.values())))
            yield lips, audio

    @torch.inference_mode()
    def embed(self, clip: Clip) -> Embedding:
        """Embed a clip; see `Expert`. Each frame is read once."""
        frames, begin, mels = clip_windows(clip)
        starts = window_starts(frames)
        faces = {int(f): clip.read(int(f), self.network.resolution) for f in frames} if len(starts) else {}
        lips = []
        for batch in batched(starts, BATCH_WINDOWS):
            windows = np.stack([[faces[int(f) + j] for j in range(WINDOW_FRAMES)] for f in batch])
            lips.append(self._embed_lips(windows).numpy())
        audio = [self._embed_audio(batch).numpy() for batch in batched(mels, BATCH_WINDOWS)]
        return Embedding(starts - begin, concatenate(lips), concatenate(audio))

    def _embed_lips(self, windows: np.ndarray) -> Tensor:
        """windows: (B, 5, R, R, 3) uint8 RGB. Returns: (B, D)."""
        faces = to_network(torch.from_numpy(windows).to(self.device))  # (B, 5, 3, R, R)
        return self._normalize(self.network.face_encoder(crop_mouths(faces.transpose(1, 2))))

    def _embed_audio(self, mels: np.ndarray) -> Tensor:
        """mels: (B, 80, 16). Returns: (B, D)."""
        return self._normalize(self.network.audio_encoder(torch.from_numpy(mels[:, None]).to(self.device)))

    @staticmethod
    def _normalize(vectors: Tensor) -> Tensor:
        return F.normalize(vectors.flatten(1).float(), dim=1).cpu()


def _count_windows(columns: int) -> int:
    """Return the number of windows of five frames with complete audio."""
    count = 0
    while first_column(count) + WINDOW_COLUMNS <= columns:
        count += 1
    return count
