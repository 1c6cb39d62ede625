"""Motion windows, resampled to the frame rate of the result."""

import numpy as np

from tests.helpers.sadtalker import golden
from wav2lip.sadtalker.motion.windows import motion_windows

LINE = np.arange(20, dtype=np.float32)[:, None]  # the coefficient of a frame is its number


def test_windows_at_25_fps_match_golden():
    windows = motion_windows(LINE, np.arange(20.0))
    np.testing.assert_array_equal(windows[:, 0], golden("geometry")["semantic_window_indices_T20"])


def test_windows_are_centered_and_limited_to_the_clip():
    (first, middle) = motion_windows(LINE, np.array([0.0, 15.0]))
    assert first[0].tolist() == [0] * 14 + list(range(1, 14))
    assert middle[0].tolist() == [*range(2, 20), *[19] * 9]


def test_other_frame_rates_interpolate_between_frames():
    windows = motion_windows(LINE, np.arange(60) * 25 / 75)
    np.testing.assert_allclose(windows[:58, 0, 13], np.arange(58) / 3, rtol=1e-5)


def test_loop_continues_with_the_first_frame():
    (window,) = motion_windows(LINE, np.array([19.5]), loop=True)
    np.testing.assert_allclose(window[0, 12:16], [18.5, 9.5, 0.5, 1.5])  # 9.5 between 19 and 0
