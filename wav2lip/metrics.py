"""Scores of sync."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from models import SyncNet
from wav2lip.clips import Clip
from wav2lip.crops import mouths, to_network
from wav2lip.windows import WINDOW_COLUMNS, WINDOW_FRAMES, first_column, whole_windows

BATCH = 64  # windows


def roc_auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties counting half.

    score: (N,) float. positive: (N,) bool.
    Returns: in [0, 1], 0.5 at chance; NaN if one of the two kinds is missing.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    ordered = np.sort(score)
    below = np.searchsorted(ordered, score[positive], "left")
    up_to = np.searchsorted(ordered, score[positive], "right")
    ranks = ((below + up_to + 1) / 2).sum()  # from 1 up, the mean of their places where scores are equal
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


@torch.inference_mode()
def agreement_by_shift(expert: SyncNet, clip: Clip, shifts: Sequence[int]) -> np.ndarray:
    """How well a clip's sound and lips agree when the sound is moved against the pictures.

    expert: a SyncNet in eval mode. shifts: frames that the sound heard lies after the lips seen; 0 is as recorded.
    Returns: (windows, shifts) float32 cosines in [0, 1], for every whole window of the clip whose sound is complete
        at every shift; no rows if there is none.
    """
    mel = np.array(clip.mel())
    low, high = min(0, *shifts), max(0, *shifts)
    last_column = mel.shape[1] - WINDOW_COLUMNS
    firsts = [f for f in whole_windows(clip.frames).tolist() if f + low >= 0 and first_column(f + high) <= last_column]
    faces = [_embed_faces(expert, clip, firsts[i : i + BATCH]) for i in range(0, len(firsts), BATCH)]
    if not faces:
        return np.zeros((0, len(shifts)), np.float32)
    face = torch.cat(faces)
    heard = range(min(firsts) + low, max(firsts) + high + 1)
    audio = torch.cat([_embed_sound(expert, mel, heard[i : i + BATCH]) for i in range(0, len(heard), BATCH)])
    columns = [F.cosine_similarity(face, audio[[f + shift - heard[0] for f in firsts]]) for shift in shifts]
    return torch.stack(columns, dim=1).clamp(0, 1).float().numpy()


def _embed_faces(expert: SyncNet, clip: Clip, firsts: Sequence[int]) -> torch.Tensor:
    windows = [np.stack([clip.read(f + j, expert.resolution) for j in range(WINDOW_FRAMES)]) for f in firsts]
    faces = to_network(torch.from_numpy(np.stack(windows)))  # (B, 5, 3, R, R)
    return expert.face_encoder(mouths(faces.transpose(1, 2))).flatten(1)


def _embed_sound(expert: SyncNet, mel: np.ndarray, frames: Sequence[int]) -> torch.Tensor:
    # Where windows have gaps between them, some of these sounds reach over an end; they are asked for by no window.
    padded = np.pad(mel, ((0, 0), (WINDOW_COLUMNS, WINDOW_COLUMNS)), mode="edge")
    starts = [first_column(f) + WINDOW_COLUMNS for f in frames]
    windows = np.stack([padded[:, s : s + WINDOW_COLUMNS] for s in starts])[:, None]
    return expert.audio_encoder(torch.from_numpy(windows)).flatten(1)


def sync_loss_of(agreement: np.ndarray) -> float:
    """The sync loss of true pairs from their agreement (N,): the mean of -ln, cut at 100 as in training."""
    with np.errstate(divide="ignore"):
        return float(np.minimum(-np.log(agreement), 100).mean())
