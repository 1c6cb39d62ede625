"""Audio and video of a result are in sync from its beginning to the end of a long one."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from tests.helpers.media import decode_audio, ffmpeg, write_wav
from wav2lip.lipsync import LipSync, LipSyncOptions

RATE = Fraction(30000, 1001)
LOUD = -2.0  # level of a mel column over a click; silence is -4


class Flash:
    """A generator whose mouth is white if the audio of the frame is loud, otherwise black."""

    resolution, framing = 96, None

    def load(self, device, precision):
        return self

    def __call__(self, mels: np.ndarray, faces: np.ndarray, top: int = 0) -> np.ndarray:
        # A window starts 40 ms (3.2 columns) before its frame, which lasts 33 ms (2.7 columns): columns 3 to 5.
        loud = mels[:, 0, :, 3:6].max(axis=(1, 2)) > LOUD
        return np.repeat(np.where(loud, 255, 0).astype(np.uint8), 96 * 96 * 3).reshape(-1, 96, 96, 3)


def split_at_gaps(times: np.ndarray, min_gap_s: float) -> list[np.ndarray]:
    """Split times into groups that are more than `min_gap_s` seconds apart."""
    return np.split(times, np.flatnonzero(np.diff(times) > min_gap_s) + 1)


TEN_MINUTES = pytest.param("clicks.m4a", 600, marks=pytest.mark.slow)  # a clock off by 1 in 1000 is 18 frames off


@pytest.mark.parametrize(("name", "seconds"), [("clicks.m4a", 45), ("clicks.wav", 45), TEN_MINUTES])
def test_lips_and_audio_are_in_sync_to_a_frame(tmp_path, name, seconds):
    """Compare the times of mouth flashes and clicks, every 7.3 s, measured in the result file."""
    click_times = np.arange(1.0, seconds - 1, 7.3)
    samples = np.zeros(seconds * 16_000)
    for at in click_times:
        samples[round(at * 16_000) : round((at + 0.002) * 16_000)] = 0.9
    plain = write_wav(tmp_path / "plain.wav", samples)
    audio = ffmpeg("-i", plain, tmp_path / name)
    face = ffmpeg("-f", "lavfi", "-i", f"color=black:s=64x64:r={RATE}:d=5", tmp_path / "face.mp4")
    lipsync = LipSync(Flash(), torch.device("cpu"), lambda batch_size, compat: None)
    lipsync(face, audio, tmp_path / "out.mp4", LipSyncOptions(box=(0, 64, 0, 64), blend="box", silence="off"))

    with av.open(str(tmp_path / "out.mp4")) as file:
        white_times = [
            frame.time for frame in file.decode(video=0) if frame.to_ndarray(format="gray")[40:, 20:40].mean() > 127
        ]
    flashes = np.array([group.mean() + 0.5 / float(RATE) for group in split_at_gaps(np.array(white_times), 1.0)])
    loud_times = np.flatnonzero(np.abs(decode_audio(tmp_path / "out.mp4")) > 0.3) / 16_000
    clicks = np.array([group.mean() for group in split_at_gaps(loud_times, 1.0)])
    assert len(flashes) == len(clicks) == len(click_times)
    assert np.abs(clicks - click_times).max() < 0.005
    assert np.abs(flashes - clicks).max() < 1 / RATE
    assert abs((flashes - clicks)[-1] - (flashes - clicks)[0]) < 1 / RATE  # no drift
