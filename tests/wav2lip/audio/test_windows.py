"""Mel windows against upstream's inference and training."""

import numpy as np
import pytest

from tests.helpers.goldens import golden
from wav2lip.audio.windows import InferenceWindows, first_column

FRAME_RATES = {name: value for name, value in zip(
    ["25", "30", "23.976", "29.97", "50", "12.5", "24", "60"], golden("mel_windows")["infer_fps_values"], strict=True
)}  # fmt: skip


@pytest.mark.parametrize("columns", [16, 17, 31, 81, 129, 241, 1200])
@pytest.mark.parametrize("fps", FRAME_RATES)
def test_public_windows_equal_golden_at_every_rate(fps, columns):
    windows = InferenceWindows.build_public(np.zeros((80, columns), np.float32), float(FRAME_RATES[fps]))
    np.testing.assert_array_equal(windows.starts, golden("mel_windows")[f"infer_fps{fps}_M{columns}"])


def test_first_column_equals_golden():
    expected = golden("mel_windows")
    assert [first_column(f) for f in range(4000)] == expected["train_crop_start"].tolist()
    for anchor, starts in enumerate(expected["train_segmented_starts_M129"]):
        if starts[0] >= 0:
            assert [first_column(anchor + j - 1) for j in range(5)] == starts.tolist()


def test_inference_windows_match_training_at_25_fps():
    windows = InferenceWindows.build(np.zeros((80, 801), np.float32), samples=160_000, fps=25)
    # frame n: columns floor(16 (n - 1) / 5), the closed form of the training windows
    assert windows.starts.tolist() == [16 * (n - 1) // 5 for n in range(250)]


@pytest.mark.parametrize("fps", [23.976, 25, 29.97, 50, 60])
def test_window_begins_40_ms_before_its_frame(fps):
    windows = InferenceWindows.build(np.zeros((80, 801), np.float32), samples=160_000, fps=fps)
    lead = np.arange(len(windows)) / fps - windows.starts / 80  # seconds
    assert (lead >= 0.04 - 1e-9).all() and (lead < 0.04 + 1 / 80).all()


@pytest.mark.parametrize(("samples", "fps", "frames"), [(160_000, 25, 250), (160_001, 25, 251), (10, 25, 1)])
def test_frames_cover_the_audio(samples, fps, frames):
    assert len(InferenceWindows.build(np.zeros((80, 801), np.float32), samples, fps)) == frames


def test_windows_are_silent_outside_the_audio():
    mel = np.arange(20, dtype=np.float32)[None].repeat(80, axis=0)
    windows = InferenceWindows.build(mel, samples=4000, fps=25)
    assert windows[0][0].tolist() == [-4] * 4 + list(range(12))
    assert windows[6][0].tolist() == [16, 17, 18, 19] + [-4] * 12
