"""Contact sheets: number, order and shades of their tiles."""

import numpy as np
import pytest
from PIL import Image

from tests.helpers.media import write_video
from wav2lip.colab.contact_sheets import draw_comparison, draw_frame_sheet
from wav2lip.errors import InputError


def test_frame_sheet_has_one_tile_per_video_in_rows_of_8(tmp_path):
    videos = [write_video(tmp_path / f"{n}.mp4", [np.full((64, 96, 3), 20 * n, np.uint8)] * 12) for n in range(9)]
    (tmp_path / "notes.mp4").write_text("no video")
    sheet = np.asarray(Image.open(draw_frame_sheet([tmp_path / "notes.mp4", *videos], tmp_path / "sheet.png")))
    assert sheet.shape == (2 * 112, 8 * 112, 3)
    grays = sheet[56::112, 56::112].mean(axis=2).flatten()
    assert grays[:9] == pytest.approx(20 * np.arange(9), abs=4)
    assert (grays[9:] == 255).all()


@pytest.mark.parametrize("frames", [3, 40, 2000])
def test_comparison_shows_equal_moments_of_two_videos(frames, tmp_path):
    shades = [np.full((32, 32, 3), 250 * n // frames, np.uint8) for n in range(frames)]
    videos = [write_video(tmp_path / f"{name}.mp4", shades) for name in "ab"]
    rows = np.asarray(Image.open(draw_comparison(videos, tmp_path / "strip.png"))).mean(axis=2)
    assert rows.shape == (360, 180 * min(8, frames - 2))
    assert rows[90] == pytest.approx(rows[270], abs=2)
    grays = rows[90, 90::180]
    assert (np.diff(grays) > 0).all()
    assert grays[-1] > (150 if frames < 750 else 70)  # of 250; only the first 30 s of a long video are sampled


def test_frame_sheet_without_any_video_is_an_input_error(tmp_path):
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(InputError, match="video"):
        draw_frame_sheet([tmp_path / "notes.mp4"], tmp_path / "sheet.png")
