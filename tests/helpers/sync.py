"""Reference implementation of a SyncNet's similarity at every shift."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from models import SyncNet
from wav2lip.dataset.clip import Clip


@torch.inference_mode()
def cosines_by_shift(network: SyncNet, clip: Clip, shifts: Sequence[int]) -> np.ndarray:
    """Return (windows, shifts) cosines, each from one forward pass of one window with complete audio."""
    mel, frames = np.array(clip.mel()), set(clip.frames.tolist())
    rows = []
    for first in clip.frames.tolist():
        columns = [int(80 * (first + shift) / 25) for shift in shifts]  # 80 mel columns a second, 25 fps
        if not frames.issuperset(range(first, first + 5)) or first + min(shifts) < 0 or columns[-1] + 16 > mel.shape[1]:
            continue
        crops = [clip.read(first + n, network.resolution)[network.resolution // 2 :, :, ::-1] for n in range(5)]
        mouth = torch.from_numpy(np.concatenate(crops, axis=2) / np.float32(255)).movedim(-1, 0)[None]  # (1, 15, h, w)
        windows = torch.from_numpy(np.stack([mel[:, c : c + 16] for c in columns]))[:, None]
        audio, face = network(windows, mouth.expand(len(windows), -1, -1, -1))
        rows.append((audio * face).sum(dim=1).numpy())
    return np.stack(rows)


def clip_faces(clip: Clip, size: int) -> Iterator[np.ndarray | None]:
    """Yield the face crops of a clip from frame 0 on, (size, size, 3) uint8 RGB; None for missing frames."""
    present = set(clip.frames.tolist())
    return (clip.read(n, size) if n in present else None for n in range(max(present) + 1))
