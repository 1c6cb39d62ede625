"""Media that tests make for themselves: a portrait that ships with scikit-image, short videos, sounds."""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from wav2lip.media import Encoding, VideoWriter

BESIDE = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))  # processes that test at the same time
if BESIDE > 1:  # each with its share of the cores, and what it starts: threads of all would wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // BESIDE)))
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

SHARED_MEDIA = Path(__file__).resolve().parents[2] / "shared" / "media"


@pytest.fixture(autouse=True, scope="session")
def cache_of_their_own(tmp_path_factory) -> Iterator[None]:
    """What inference remembers of videos, of tests too, does not go to the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
            patch.setenv(name, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """A face, (256, 256, 3) uint8 RGB: the astronaut's head and shoulders."""
    return np.ascontiguousarray(skimage.data.astronaut()[:256, 96:352])


@pytest.fixture
def shared_media() -> Path:
    """Real clips, where a checkout has them beside it."""
    if not SHARED_MEDIA.is_dir():
        pytest.skip(f"no real media at {SHARED_MEDIA}")
    return SHARED_MEDIA


def write_wav(path: Path, samples: np.ndarray, rate: int = 16_000) -> Path:
    """A 16-bit PCM file of float samples (N,) or (N, channels)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        wav.setsampwidth(2)
        wav.setframerate(rate)
        wav.writeframes(np.clip(np.rint(samples * 32767), -32768, 32767).astype("<i2").tobytes())
    return path


def tone(seconds: float, rate: int = 16_000, hertz: float = 220.0) -> np.ndarray:
    """A steady tone, float64 (N,)."""
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write_video(path: Path, frames: list[np.ndarray], fps: float = 25, audio: Path | None = None) -> Path:
    """A video of these frames."""
    with VideoWriter(path, fps, audio, Encoding(crf=10)) as video:
        for frame in frames:
            video.write(frame)
    return path
