"""Lips move when the sound is heard, at the end of a long result as at its beginning."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from tests.conftest import write_wav
from tests.wav2lip.test_infer import ffmpeg
from tests.wav2lip.test_video_writer import sound
from wav2lip.lipsync import LipSync, Options

RATE = Fraction(30000, 1001)
LOUD = -2.0  # level of a mel column over a click; silence is -4


class Flash:
    """A generator whose mouth is white where the sound of its own frame is loud, else black."""

    resolution = 96

    def on(self, device, precision):
        return self

    def __call__(self, mels: np.ndarray, pictures: np.ndarray, top: int = 0) -> np.ndarray:
        # A window begins 40 ms, 3.2 columns, before its frame, which lasts 33 ms.
        loud = mels[:, 0, :, 3:6].max(axis=(1, 2)) > LOUD
        return np.repeat(np.where(loud, 255, 0).astype(np.uint8), 96 * 96 * 3).reshape(-1, 96, 96, 3)


def runs(times: np.ndarray, apart: float) -> list[np.ndarray]:
    """Times in groups that are that many seconds apart."""
    return np.split(times, np.flatnonzero(np.diff(times) > apart) + 1)


HALF_AN_HOUR = pytest.param("clicks.m4a", 1800, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])


@pytest.mark.parametrize(("name", "seconds"), [("clicks.m4a", 45), ("clicks.wav", 45), HALF_AN_HOUR])
def test_lips_and_sound_of_the_result_are_together_to_within_a_frame(tmp_path, name, seconds):
    """Clicks each 7.3 s; the flashes of the mouth and the clicks of the result are measured in the file itself."""
    given = np.arange(1.0, seconds - 1, 7.3)
    samples = np.zeros(seconds * 16_000)
    for at in given:
        samples[round(at * 16_000) : round((at + 0.002) * 16_000)] = 0.9
    plain = write_wav(tmp_path / "plain.wav", samples)
    audio = ffmpeg("-i", plain, tmp_path / name)
    face = ffmpeg("-f", "lavfi", "-i", f"color=black:s=64x64:r={RATE}:d=5", tmp_path / "face.mp4")
    ours = LipSync(Flash(), torch.device("cpu"), lambda batch_size, compat: None)
    ours(face, audio, tmp_path / "out.mp4", Options(box=(0, 64, 0, 64), blend="box", silence="off"))

    with av.open(str(tmp_path / "out.mp4")) as file:
        white = [
            frame.time for frame in file.decode(video=0) if frame.to_ndarray(format="gray")[40:, 20:40].mean() > 127
        ]
    flashes = np.array([group.mean() + 0.5 / float(RATE) for group in runs(np.array(white), 1.0)])
    loud = np.flatnonzero(np.abs(sound(tmp_path / "out.mp4")) > 0.3) / 16_000
    clicks = np.array([group.mean() for group in runs(loud, 1.0)])
    assert len(flashes) == len(clicks) == len(given)
    assert np.abs(clicks - given).max() < 0.005
    assert np.abs(flashes - clicks).max() < 1 / RATE
    assert abs((flashes - clicks)[-1] - (flashes - clicks)[0]) < 1 / RATE  # nor do they drift
