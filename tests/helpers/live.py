"""Prepared faces made of noise, and small engines for live streams."""

from __future__ import annotations

import numpy as np
import torch

from models import Wav2Lip
from wav2lip.lipsync import LipSync, LipSyncOptions
from wav2lip.live.prepare import prepare_face
from wav2lip.synthetic import Speaker, speak

RATE = 16_000
BOX = (8, 56, 8, 56)  # top, bottom, left, right of the face in frames of 64 x 64
GRAY, WHITE = 100, 255  # levels of a face of `prepare_gray`, and of its mouth while audio is loud
MOUTH = (43, 32)  # row and column of its center in a frame
BURST_S = 0.2  # duration of a loud noise


def live_engine() -> LipSync:
    """A thin random generator; faces are in a fixed box."""
    torch.manual_seed(0)
    return LipSync(Wav2Lip(width=0.0625), torch.device("cpu"), lambda batch_size, compat: None)


def prepare_noise(path, engine: LipSync, frames: int = 12):
    """Write a prepared face of `frames` smooth frames of 64 x 64."""
    ramp = np.linspace(0, 200, 64, dtype=np.uint8)
    images = np.stack([np.dstack([np.roll(np.tile(ramp, (64, 1)), n, 1)] * 3) for n in range(frames)])
    prepare_face(engine, images, path, LipSyncOptions(box=BOX))
    return path


class LoudnessPainter:
    """Generator backend that paints the mouth white while the audio in the middle of the frame is loud."""

    resolution = 96
    framing = None

    def load(self, device: torch.device, precision: str):
        """Return the generator, see `DeviceGenerator`."""

        def paint(mels: np.ndarray, faces: np.ndarray, first_row: int = 0) -> np.ndarray:
            result = np.full((len(mels), 96, 96, 3), GRAY, np.uint8)
            # The window begins 3.2 columns before the frame, which lasts 3.2: its middle is at 4.8. The mean over the
            # bands is 1 for the noise of `bursts` and -3 for its voice.
            result[mels[:, 0, :, 4:6].mean(axis=(1, 2)) > -1, 60:82, 30:66] = WHITE
            return result

        return paint


def flash_engine() -> LipSync:
    """An engine whose mouths flash with loud audio; faces are in a fixed box."""
    return LipSync(LoudnessPainter(), torch.device("cpu"), lambda batch_size, compat: None)


def prepare_gray(path, engine: LipSync, size: int = 64):
    """Write a prepared face of one gray frame."""
    box = tuple(side * size // 64 for side in BOX)
    prepare_face(engine, np.full((1, size, size, 3), GRAY, np.uint8), path, LipSyncOptions(box=box))
    return path


def bursts(seconds: float, begins: list[float], rate: int = RATE) -> np.ndarray:
    """A quiet voice, during which the mouth is not closed, with loud noise of BURST_S at `begins`, (n,) float32."""
    wav = 0.05 * np.interp(np.arange(round(seconds * rate)) / rate, np.arange(round(seconds * RATE)) / RATE,
                           np.resize(voice(4.0), round(seconds * RATE)))  # fmt: skip
    noise = np.random.default_rng(0).uniform(-0.8, 0.8, round(BURST_S * rate))
    for begin in begins:
        wav[round(begin * rate) :][: len(noise)] = noise
    return wav.astype(np.float32)


def voice(seconds: float) -> np.ndarray:
    """A synthetic voice, (n,) float32 at 16 kHz."""
    return speak(seconds + 0.1, Speaker.from_seed(1), 1).wav[: round(seconds * RATE)].astype(np.float32)
