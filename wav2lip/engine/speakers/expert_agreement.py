"""Agreement of lips with a voice by a sync expert."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.audio.windows import FPS, SAMPLES_PER_FRAME
from wav2lip.faces.crops import resize
from wav2lip.sync.expert import MAX_SHIFT, StreamingExpert

CROP_SIZE = 224  # pixels: the largest input of an expert
BLOCK_S = 4.0  # frames embedded together; the crops of a block are in memory
WINDOW_CENTER = 2  # frames from the start of a window to its center
EXPERT_WEIGHT = 0.2  # log-odds per frame at 25 fps for each standard deviation; neighboring windows share frames
MIN_OTHERS = 8  # shifts with which the recorded one is compared


class ExpertAgreement:
    """Scores of one person by an expert, in blocks."""

    def __init__(self, expert: StreamingExpert, wav: np.ndarray, fps: float, first: int):
        """wav: (n,) float32 at 16 kHz, beginning with frame 0. first: frame from which the person is added."""
        self._expert, self._wav, self._fps, self._first = expert, wav, fps, first
        self._crops: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []

    def add(self, crop: np.ndarray) -> None:
        """Add the face (h, w, 3) uint8 of the next frame."""
        self._crops.append(resize(crop, CROP_SIZE, CROP_SIZE))
        if len(self._crops) >= BLOCK_S * self._fps:
            self._embed()

    def scores(self) -> np.ndarray:
        """Return the log-odds (N,) of all frames."""
        if self._crops:
            self._embed()
        return np.concatenate(self._scores) if self._scores else np.zeros(0)

    def _embed(self) -> None:
        count, begin = len(self._crops), self._first + sum(map(len, self._scores))
        at_25_fps = max(1, int(count * FPS / self._fps))
        faces = [self._crops[min(count - 1, round(n * self._fps / FPS))] for n in range(at_25_fps)]
        start = round(begin / self._fps * SAMPLE_RATE)
        wav = self._wav[start : start + (at_25_fps + MAX_SHIFT) * SAMPLES_PER_FRAME]
        wav = np.pad(wav, (0, (at_25_fps + MAX_SHIFT) * SAMPLES_PER_FRAME - len(wav)))
        scores = np.zeros(at_25_fps)
        values = agreement(self._expert, list(self._expert.embed_stream(faces, wav)))
        length = min(len(values), at_25_fps - WINDOW_CENTER)
        scores[WINDOW_CENTER : WINDOW_CENTER + max(0, length)] = values[: max(0, length)]
        rows = np.minimum(np.round(np.arange(count) * FPS / self._fps).astype(int), at_25_fps - 1)
        self._scores.append(EXPERT_WEIGHT * scores[rows] * FPS / self._fps)
        self._crops = []


def agreement(expert: StreamingExpert, embeddings: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> np.ndarray:
    """Return how much closer the lips of each window are to their audio than to that of other times.

    embeddings: lips and audio of consecutive windows, see `StreamingExpert.embed_stream`.
    Returns: (N,) in standard deviations of the distances to the audio of other times.
    """
    if not embeddings:
        return np.zeros(0)
    lips, audio = (torch.cat([pair[side] for pair in embeddings]) for side in (0, 1))
    values = np.zeros(len(lips))
    for window in range(len(lips)):
        rows = np.arange(max(0, window - MAX_SHIFT), min(len(audio), window + MAX_SHIFT + 1))
        others = rows[np.abs(rows - window) > WINDOW_CENTER]
        if len(others) >= MIN_OTHERS and not bool(lips[window].isnan().any()):
            far = expert.distance(lips[window][None], audio[others])
            own = expert.distance(lips[window][None], audio[window][None])
            values[window] = float((far.mean() - own.mean()) / far.std().clamp(min=1e-6))
    return values
