"""Trained networks as the judges of sync: a SyncNet, or SyncNet v2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models import SyncNet, SyncNetV2
from models.syncnet_v2 import FRAMES
from wav2lip.audio import SAMPLE_RATE
from wav2lip.checkpoints import load_checkpoint, load_network
from wav2lip.clips import AUDIO, Clip
from wav2lip.crops import mouths, to_network
from wav2lip.errors import InputError
from wav2lip.lse import COLUMNS_PER_FRAME, SAMPLES_PER_FRAME, SIZE, WINDOW_COLUMNS, load_syncnet_v2
from wav2lip.media import read_audio
from wav2lip.mfcc import mfcc
from wav2lip.sync import Embedded, Expert, first_minute, stacked, windows_of
from wav2lip.windows import FPS, WINDOW_FRAMES, whole_windows

BATCH = 64  # windows that a SyncNet, and the sound's half of SyncNet v2, are given at a time
LIPS_BATCH = 20  # windows of lips that SyncNet v2 is given at a time: its pictures are five times as large


def load_expert(path: str | PathLike[str], device: torch.device | str = "cpu") -> Expert:
    """The expert of a checkpoint: SyncNet v2, or a SyncNet of any shape, this project's or the public one.

    Raises: InputError if the file is neither.
    """
    if "netcnnaud.0.weight" in load_checkpoint(path).state_dict:
        return SyncNetV2Expert(load_syncnet_v2(path, device))
    return SyncNetExpert(load_network(path, SyncNet), device)


class SyncNetExpert:
    """A SyncNet as the judge."""

    def __init__(self, network: SyncNet, device: torch.device | str = "cpu"):
        """network: of any width and resolution."""
        self.network, self.device = network.eval().to(device), device

    @torch.inference_mode()
    def embed(self, clip: Clip) -> Embedded:
        """Vectors of length 1; each frame is read, and each window embedded, once."""
        frames, begin, sounds = windows_of(clip)
        firsts = whole_windows(frames)
        mouth = {int(f): clip.read(int(f), self.network.resolution) for f in frames} if len(firsts) else {}
        lips = [self._lips(mouth, some) for some in _in_batches(firsts, BATCH)]
        sound = [self._sound(some) for some in _in_batches(sounds, BATCH)]
        return Embedded(firsts - begin, _joined(lips), _joined(sound))

    def _lips(self, pictures: dict[int, np.ndarray], firsts: np.ndarray) -> np.ndarray:
        windows = np.stack([[pictures[int(f) + j] for j in range(WINDOW_FRAMES)] for f in firsts])
        faces = to_network(torch.from_numpy(windows).to(self.device))  # (B, 5, 3, R, R)
        return self._unit(self.network.face_encoder(mouths(faces.transpose(1, 2))))

    def _sound(self, mels: np.ndarray) -> np.ndarray:
        return self._unit(self.network.audio_encoder(torch.from_numpy(mels[:, None]).to(self.device)))

    @staticmethod
    def _unit(vectors: Tensor) -> np.ndarray:
        return F.normalize(vectors.flatten(1).float(), dim=1).cpu().numpy()


class SyncNetV2Expert:
    """SyncNet v2 as the judge.

    It was trained to bring vectors near each other. Their products tell the same: over all windows of a clip the mean
    squared distance is a constant less twice the mean product, so the vectors keep their lengths.
    """

    def __init__(self, network: SyncNetV2):
        """network: as load_syncnet_v2 gives it."""
        self.network = network
        self.device = next(network.parameters()).device

    @torch.inference_mode()
    def embed(self, clip: Clip) -> Embedded:
        """Vectors of any length; holds the pictures of one batch, and of the sound no more than is embedded."""
        frames, begin, end = first_minute(clip)
        firsts = whole_windows(frames)
        runs = np.split(firsts, np.flatnonzero(np.diff(firsts) > 1) + 1)  # each without a gap
        lips = [self._lips(clip, some) for run in runs for some in _in_batches(run, LIPS_BATCH)]
        sound = [self._sound(some) for some in _in_batches(_cepstra(clip, begin, end), BATCH)]
        return Embedded(firsts - begin, _joined(lips), _joined(sound))

    def _lips(self, clip: Clip, firsts: np.ndarray) -> np.ndarray:
        """firsts: (B,) consecutive. Returns: (B, 1024)."""
        pictures = np.stack([clip.read(f, SIZE) for f in range(int(firsts[0]), int(firsts[-1]) + FRAMES)])
        values = 255 * to_network(torch.from_numpy(pictures).to(self.device))  # (B + 4, 3, 224, 224)
        return self.network.embed_lips(values.transpose(0, 1)[None])[0].cpu().numpy()

    def _sound(self, cepstra: np.ndarray) -> np.ndarray:
        return self.network.embed_sound(torch.from_numpy(cepstra[:, None]).to(self.device)).cpu().numpy()


def _cepstra(clip: Clip, begin: int, end: int) -> np.ndarray:
    """Cepstra under the windows that begin with the frames begin..end-1, as far as there is sound: (T, 13, 20) float32.

    Raises: InputError if the sound cannot be read, is not finite or ends before `begin`.
    """
    first = max(0, begin - 1)  # one frame more: pre-emphasis needs the sample before
    try:
        # A window's last cepstrum reaches into the frame after it.
        cepstra = mfcc(_read(clip, first, end + FRAMES))
    except ValueError as error:
        raise InputError(f"{clip.path / AUDIO}: its sync cannot be judged ({error}); leave it out") from error
    return stacked(cepstra, [COLUMNS_PER_FRAME * (f - first) for f in range(begin, end)], WINDOW_COLUMNS)


def _read(clip: Clip, first: int, end: int) -> np.ndarray:
    """The sound of the frames first..end-1, less where it ends before."""
    wanted = (end - first) * SAMPLES_PER_FRAME
    held, length = [np.zeros(0, np.float32)], 0
    for block in read_audio(clip.path / AUDIO, SAMPLE_RATE, start=first / FPS, jump=True):
        held.append(block)
        length += len(block)
        if length >= wanted:
            break
    return np.concatenate(held)[:wanted]


def _in_batches(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (rows[i : i + size] for i in range(0, len(rows), size))


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
