"""LSE-D and LSE-C (lip-sync error, distance and confidence; Prajwal et al. 2020), measured with SyncNet v2.

Lips and sound are embedded window by window, 25 a second, and compared with the sound moved by -15..15 frames. Where
they belong together the mean distance has a deep minimum: its height is LSE-D, its depth below the median LSE-C, its
place the offset between sound and lips. The steps are the public evaluation's, its oddities included, so that scores
can be compared with published ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from os import PathLike

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models import SyncNetV2
from models.syncnet_v2 import EMBEDDING, FRAMES
from wav2lip.audio import SAMPLE_RATE, load_wav
from wav2lip.checkpoints import load_checkpoint, load_weights
from wav2lip.clips import AUDIO, Clip
from wav2lip.crops import resize, to_network
from wav2lip.errors import InputError
from wav2lip.mfcc import CEPSTRA_RATE, mfcc
from wav2lip.windows import FPS

SIZE = 224  # pixels: width and height of a face as SyncNet v2 takes it
MAX_SHIFT = 15  # frames that the sound is moved by, either way
COLUMNS_PER_FRAME = int(CEPSTRA_RATE / FPS)  # 4
WINDOW_COLUMNS = FRAMES * COLUMNS_PER_FRAME  # 20: cepstra in a window
SAMPLES_PER_FRAME = int(SAMPLE_RATE / FPS)  # 640
BATCH = 20  # windows embedded at a time
MISSING = np.zeros((SIZE, SIZE, 3), np.uint8)  # shown to the network for a frame that is not there; not looked at


@dataclass(frozen=True)
class LipSyncError:
    """What a curve of distances says about a video."""

    offset: int  # frames that the sound comes before the lips; negative where the sound is late
    distance: float  # LSE-D: mean distance at that offset; smaller is better
    confidence: float  # LSE-C: median of the curve less its minimum; larger is better


def load_syncnet_v2(path: str | PathLike[str], device: torch.device | str = "cpu") -> SyncNetV2:
    """SyncNet v2 with the weights of syncnet_v2.model or of any later save of them, ready to judge.

    Files of the first torch releases are read too, and those without the batch counters that came later.
    Raises: InputError if the file is missing, damaged, of another network, or cannot be opened without running code.
    """
    expert = SyncNetV2()
    load_weights(expert, load_checkpoint(path).state_dict, path)
    expert.netcnnlip.to(memory_format=torch.channels_last_3d)  # a third faster on a CPU
    return expert.to(device).eval().requires_grad_(False)


@torch.inference_mode()
def distance_by_shift(
    expert: SyncNetV2, frames: Iterable[np.ndarray | None], wav: np.ndarray, max_shift: int = MAX_SHIFT
) -> np.ndarray:
    """How far a video's sound is from its lips, on average, when the sound is moved against the pictures.

    expert: as load_syncnet_v2 gives it.
    frames: (H, W, 3) uint8 RGB faces at 25 frames a second, as many as there are; None for a frame that is missing,
        whose windows are then left out. They are taken one by one, and few are held at any time.
    wav: (N,) float32 mono at 16 kHz, which begins with the first frame.
    Returns: (2 * max_shift + 1,) float32 mean distances; number j belongs to sound that lies j - max_shift frames
        after the lips.
    Raises: ValueError if no five consecutive frames have sound and one more frame behind them, or wav is not finite.
    """
    total, windows = np.zeros(2 * max_shift + 1), 0
    for distances in shifted_distances(_embedded(expert, frames, mfcc(wav), len(wav) // SAMPLES_PER_FRAME), max_shift):
        total += distances.double().sum(dim=0).numpy()
        windows += len(distances)
    if not windows:
        raise ValueError(f"no {FRAMES} consecutive frames with sound and one more behind them")
    return (total / windows).astype(np.float32)


def lse(curve: np.ndarray) -> LipSyncError:
    """The scores of a curve that distance_by_shift gave, (2 * max_shift + 1,) distances."""
    best = int(curve.argmin())
    return LipSyncError(
        offset=len(curve) // 2 - best,
        distance=float(curve[best]),
        confidence=float(np.median(curve) - curve[best]),
    )


def clip_distance_by_shift(expert: SyncNetV2, clip: Clip, max_shift: int = MAX_SHIFT) -> np.ndarray:
    """The curve of a clip, from its face crops and its sound; windows with a missing crop are left out.

    Raises: InputError if the clip cannot be read, or is too short or too broken to be scored.
    """
    present = set(clip.frames.tolist())
    crops = (clip.read(n, SIZE) if n in present else None for n in range(max(present) + 1))
    try:
        return distance_by_shift(expert, crops, load_wav(clip.path / AUDIO), max_shift)
    except ValueError as error:
        raise InputError(f"{clip.path}: its sync cannot be scored ({error}); leave it out") from error


def shifted_distances(pairs: Iterable[tuple[Tensor, Tensor]], max_shift: int) -> Iterator[Tensor]:
    """Distances between lips and the sounds around them; holds no more than one block and 2 * max_shift rows.

    pairs: lips and sound of the same windows in time order, block after block, (B, 1024) each; lips of NaN are left
        out. Zeros stand for the sound before the beginning and after the end, and count, as in the public evaluation.
    Yields: (b, 2 * max_shift + 1), a row for each window, a column for each shift from -max_shift on.
    """
    silence = torch.zeros(max_shift, EMBEDDING)
    lips, sound = silence[:0], silence
    for more_lips, more_sound in chain(pairs, [(silence[:0], silence)]):
        lips, sound = torch.cat([lips, more_lips]), torch.cat([sound, more_sound])
        ready = len(sound) - 2 * max_shift  # windows whose sound is there at every shift
        if ready > 0:
            heard = sound.unfold(0, 2 * max_shift + 1, 1).transpose(1, 2)  # (ready, shifts, 1024)
            seen = ~lips[:ready].isnan().any(dim=1)
            yield F.pairwise_distance(lips[:ready][seen, None], heard[seen])
            lips, sound = lips[ready:], sound[ready:]


def _embedded(
    expert: SyncNetV2, frames: Iterable[np.ndarray | None], cepstra: np.ndarray, limit: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Lips and sound of every window, on the CPU, (B, 1024) each; limit: how many frames have sound.

    A window needs one frame more than it shows: n frames have n - 5 windows in the public evaluation.
    """
    held: list[np.ndarray | None] = []
    first = 0  # window, and frame, with which `held` begins
    for frame in islice(frames, limit):
        held.append(None if frame is None else resize(frame, SIZE, SIZE))
        if len(held) == BATCH + FRAMES:
            yield _embed_lips(expert, held[:-1]), _embed_sound(expert, cepstra, first, BATCH)
            held, first = held[BATCH:], first + BATCH
    if len(held) > FRAMES:
        yield _embed_lips(expert, held[:-1]), _embed_sound(expert, cepstra, first, len(held) - FRAMES)


def _embed_lips(expert: SyncNetV2, frames: list[np.ndarray | None]) -> Tensor:
    pictures = torch.from_numpy(np.stack([MISSING if frame is None else frame for frame in frames]))
    device = next(expert.parameters()).device
    values = 255 * to_network(pictures.to(device))  # (T, 3, 224, 224)
    lips = expert.embed_lips(values.transpose(0, 1)[None])[0].cpu()
    missing = torch.tensor([frame is None for frame in frames])
    lips[missing.unfold(0, FRAMES, 1).any(dim=1)] = torch.nan
    return lips


def _embed_sound(expert: SyncNetV2, cepstra: np.ndarray, first: int, count: int) -> Tensor:
    windows = np.lib.stride_tricks.sliding_window_view(cepstra, WINDOW_COLUMNS, axis=1)  # (13, windows, 20)
    wanted = windows[:, COLUMNS_PER_FRAME * first :: COLUMNS_PER_FRAME][:, :count].swapaxes(0, 1)
    device = next(expert.parameters()).device
    return expert.embed_sound(torch.from_numpy(wanted[:, None].copy()).to(device)).cpu()
