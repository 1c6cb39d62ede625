"""How well lips and sound belong together, for SyncNet v2 and for a SyncNet of this or the public project.

The two judges' numbers have nothing in common but their meaning, so they have other names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models import SyncNet, SyncNetV2
from wav2lip.audio import melspectrogram
from wav2lip.crops import mouths, resize, to_network
from wav2lip.evaluation.metrics.metric import HIGHER, LOWER, ZERO, Metric, Scores
from wav2lip.lse import distance_by_shift
from wav2lip.shift_curve import MAX_SHIFT, SHIFTS, ShiftCurve
from wav2lip.windows import WINDOW_COLUMNS, WINDOW_FRAMES, first_column

BATCH = 32  # windows of lips that a SyncNet is given at a time
NEAR = 1  # frames of offset that viewers do not see

CURVE = "the curve is the mean over windows of the distance of lips and sound, sound moved by -15..15 frames"
PRAJWAL = "Prajwal et al. 2020, A lip sync expert is all you need"
SYNCNET = "SyncNet v2 of Chung and Zisserman 2016 (--syncnet_v2)"
EXPERT = "a SyncNet of this or the public project (--expert)"
OFFSET = "shift of the curve's minimum: frames that the sound lies after the lips"
SHARE = "share of videos whose offset is at most 1 frame either way"

OF_SYNCNET_V2 = (
    Metric("lse_d", LOWER, "0 to about 20; real LRS2 videos about 6.3", "", f"minimum of the curve; {CURVE}", PRAJWAL,
           SYNCNET),
    Metric("lse_c", HIGHER, "0 to about 15; real LRS2 videos about 8.2", "", "median of that curve less its minimum",
           PRAJWAL, SYNCNET),
    Metric("lse_offset", ZERO, "-15 to 15", "frames", f"{OFFSET}; the public script prints it with the other sign",
           "Chung and Zisserman 2016, Out of time", SYNCNET),
    Metric("lse_within_1", HIGHER, "0 to 1", "", SHARE, "this project", SYNCNET),
)  # fmt: skip
OF_EXPERT = (
    Metric("expert_distance", LOWER, "0 to 1", "",
           f"minimum of the curve; {CURVE}; distance: 1 - cosine; windows whose sound is whole at every shift",
           "as LSE-D, with the expert", EXPERT),
    Metric("expert_confidence", HIGHER, "0 to 1", "", "median of that curve less its minimum",
           "as LSE-C, with the expert", EXPERT),
    Metric("expert_offset", ZERO, "-15 to 15", "frames", OFFSET, "as LSE's offset, with the expert", EXPERT),
    Metric("expert_within_1", HIGHER, "0 to 1", "", SHARE, "this project", EXPERT),
)  # fmt: skip
NO_SYNCNET_V2 = "SyncNet v2 is not given; download syncnet_v2.model of the repository syncnet_python, --syncnet_v2 FILE"
NO_EXPERT = "no expert is given; give --expert FILE, a checkpoint of train.syncnet or the public lipsync_expert.pth"


def scores_of(curve: ShiftCurve, metrics: tuple[Metric, ...]) -> Scores:
    """Distance, confidence, offset and whether that is near 0, under the names of these four metrics."""
    found = (curve.least, curve.margin, float(curve.offset), float(abs(curve.offset) <= NEAR))
    return Scores({metric.name: value for metric, value in zip(metrics, found, strict=True)})


def curve_of_syncnet_v2(network: SyncNetV2, faces: Iterable[np.ndarray | None], wav: np.ndarray) -> ShiftCurve | None:
    """The curve of a video's faces and sound, as wav2lip.lse has it; None if it is too short for one window."""
    try:
        return ShiftCurve(distance_by_shift(network, faces, wav))
    except ValueError:  # no window, or no sound at all
        return None


@torch.inference_mode()
def curve_of_expert(network: SyncNet, faces: Iterable[np.ndarray | None], wav: np.ndarray) -> ShiftCurve | None:
    """The curve of a video's faces and sound.

    network: in eval mode, on its device.
    faces: (h, w, 3) uint8 RGB, boxes as in training data, at 25 frames a second; None for a frame without.
    wav: (N,) float32 mono at 16 kHz, which begins with the first frame.
    Returns: None if no five frames in a row with a face have whole sound at every shift: 1.4 s at least.
    """
    if len(wav) < WINDOW_COLUMNS * 200:
        return None
    sounds = _Sounds(network, melspectrogram(wav))
    total, count = np.zeros(len(SHIFTS)), 0
    for firsts, lips in _embedded_lips(network, faces, MAX_SHIFT, sounds.last - MAX_SHIFT):
        heard = sounds.between(firsts[0] - MAX_SHIFT, firsts[-1] + MAX_SHIFT + 1)  # (n, D)
        rows = torch.tensor(firsts)[:, None] + torch.tensor(SHIFTS) - (firsts[0] - MAX_SHIFT)  # (B, 31)
        cosine = F.cosine_similarity(heard[rows], lips[:, None], dim=2)
        total += (1 - cosine).double().sum(dim=0).numpy()
        count += len(firsts)
    return ShiftCurve(total / count) if count else None


class _Sounds:
    """Embedded windows of a sound, one begun with each frame; holds those last asked for."""

    def __init__(self, network: SyncNet, mel: np.ndarray):
        self.network, self.mel = network, mel
        self.last = -1  # frame with which the last whole window begins
        while first_column(self.last + 1) + WINDOW_COLUMNS <= mel.shape[1]:
            self.last += 1
        self._first, self._held = 0, torch.zeros(0, 0)

    def between(self, begin: int, end: int) -> Tensor:
        """Those of the frames begin..end-1, (end - begin, D) float32 on the CPU; begin never goes back."""
        held = self._held[begin - self._first :] if begin < self._first + len(self._held) else self._held[:0]
        new = range(begin + len(held), end)
        if len(new):
            mels = np.stack([self.mel[:, first_column(f) : first_column(f) + WINDOW_COLUMNS] for f in new])
            device = next(self.network.parameters()).device
            embedded = self.network.audio_encoder(torch.from_numpy(mels[:, None]).to(device)).flatten(1).float().cpu()
            held = torch.cat([held, embedded]) if len(held) else embedded
        self._first, self._held = begin, held
        return held[: end - begin]


def _embedded_lips(
    network: SyncNet, faces: Iterable[np.ndarray | None], begin: int, end: int
) -> Iterator[tuple[list[int], Tensor]]:
    """The windows that begin with frames begin..end and are whole: their first frames and lips (B, D), in batches."""
    run: list[np.ndarray] = []  # the last frames, as long as none is missing
    firsts: list[int] = []
    windows: list[np.ndarray] = []
    for number, face in enumerate(faces):
        run = [] if face is None else [*run[1 - WINDOW_FRAMES :], resize(face, network.resolution, network.resolution)]
        first = number + 1 - WINDOW_FRAMES
        if len(run) == WINDOW_FRAMES and begin <= first <= end:
            firsts.append(first)
            windows.append(np.stack(run))
        if len(firsts) == BATCH:
            yield firsts, _embed(network, windows)
            firsts, windows = [], []
    if firsts:
        yield firsts, _embed(network, windows)


def _embed(network: SyncNet, windows: list[np.ndarray]) -> Tensor:
    device = next(network.parameters()).device
    frames = to_network(torch.from_numpy(np.stack(windows)).to(device))  # (B, 5, 3, R, R)
    return network.face_encoder(mouths(frames.transpose(1, 2))).flatten(1).float().cpu()
