"""Mel columns and frames meet where the public release has them meet, and where training has them meet."""

import numpy as np
import pytest

from tests.reference import golden
from wav2lip.windows import InferenceWindows, first_column, frame_columns

FPS = {name: value for name, value in zip(
    ["25", "30", "23.976", "29.97", "50", "12.5", "24", "60"], golden("mel_windows")["infer_fps_values"], strict=True
)}  # fmt: skip


@pytest.mark.parametrize("columns", [16, 17, 31, 81, 129, 241, 1200])
@pytest.mark.parametrize("fps", FPS)
def test_public_windows_are_the_golden_ones_at_every_frame_rate(fps, columns):
    windows = InferenceWindows.public(np.zeros((80, columns), np.float32), float(FPS[fps]))
    np.testing.assert_array_equal(windows.starts, golden("mel_windows")[f"infer_fps{fps}_M{columns}"])


def test_training_windows_are_the_golden_ones():
    expected = golden("mel_windows")
    assert [first_column(f) for f in range(4000)] == expected["train_crop_start"].tolist()
    for anchor, starts in enumerate(expected["train_segmented_starts_M129"]):
        if starts[0] >= 0:
            assert [frame_columns(anchor + j) for j in range(5)] == starts.tolist()


def test_inference_windows_begin_where_training_had_them_for_the_same_frame():
    windows = InferenceWindows.covering(np.zeros((80, 801), np.float32), samples=160_000, fps=25)
    # frame n: columns floor(16 (n - 1) / 5), the closed form of the training rule
    assert windows.starts.tolist() == [16 * (n - 1) // 5 for n in range(250)]


@pytest.mark.parametrize("fps", [23.976, 25, 29.97, 50, 60])
def test_at_any_frame_rate_a_window_begins_40_ms_before_its_frame(fps):
    windows = InferenceWindows.covering(np.zeros((80, 801), np.float32), samples=160_000, fps=fps)
    lead = np.arange(len(windows)) / fps - windows.starts / 80  # seconds
    assert (lead >= 0.04 - 1e-9).all() and (lead < 0.04 + 1 / 80).all()


@pytest.mark.parametrize(("samples", "fps", "frames"), [(160_000, 25, 250), (160_001, 25, 251), (10, 25, 1)])
def test_frames_cover_the_whole_sound(samples, fps, frames):
    assert len(InferenceWindows.covering(np.zeros((80, 801), np.float32), samples, fps)) == frames


def test_outside_the_sound_there_is_silence():
    mel = np.arange(20, dtype=np.float32)[None].repeat(80, axis=0)
    windows = InferenceWindows.covering(mel, samples=4000, fps=25)
    assert windows[0][0].tolist() == [-4] * 4 + list(range(12))
    assert windows[6][0].tolist() == [16, 17, 18, 19] + [-4] * 12
