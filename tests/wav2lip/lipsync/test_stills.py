"""Pictures of every kind that phones and programs write become a face that talks."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from wav2lip.errors import InputError
from wav2lip.lipsync import FaceSource, Framing, LipSync, Options
from wav2lip.lipsync import source as source_module
from wav2lip.media import is_picture, read_frames, read_picture


def quarters(width: int = 64, height: int = 48) -> np.ndarray:
    """Red, green, blue and grey quarters."""
    picture = np.full((height, width, 3), 128, np.uint8)
    picture[: height // 2, : width // 2] = (220, 30, 30)
    picture[: height // 2, width // 2 :] = (30, 200, 30)
    picture[height // 2 :, : width // 2] = (30, 30, 200)
    return picture


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tiff", "a.avif", "a.gif", "a.ppm"])
def test_a_still_of_each_format_is_the_one_frame_of_its_source(tmp_path, name):
    quality = {"quality": 95} if name in {"a.jpg", "a.webp", "a.avif"} else {}
    Image.fromarray(quarters()).save(tmp_path / name, **quality)
    source = FaceSource(tmp_path / name, still_fps=30)
    (frame,) = source.frames()
    assert (source.static, source.fps, frame.dtype, frame.shape) == (True, 30, np.uint8, (48, 64, 3))
    for row, column in [(10, 10), (10, 54), (38, 10), (38, 54)]:
        assert np.abs(frame[row, column].astype(int) - quarters()[row, column]).max() <= 8


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_heic_picture_is_read_upright_where_the_library_is_there(tmp_path, orientation):
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = orientation
    pillow_heif.from_pillow(Image.fromarray(quarters())).save(tmp_path / "a.heic", exif=exif.tobytes(), quality=95)
    assert is_picture(tmp_path / "a.heic")
    picture = read_picture(tmp_path / "a.heic")
    red = {1: (10, 10), 6: (10, 38)}[orientation]  # top left; turned clockwise, top right
    assert picture.shape == {1: (48, 64, 3), 6: (64, 48, 3)}[orientation]
    assert np.abs(picture[red].astype(int) - (220, 30, 30)).max() <= 8


def test_a_heic_picture_names_the_extra_where_the_library_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if not installed
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500))
    assert is_picture(tmp_path / "a.heic")
    with pytest.raises(InputError, match=r"a\.heic: is a HEIC picture; pip install 'wav2lip-toolkit\[heic\]', or save"):
        read_picture(tmp_path / "a.heic")


def test_a_damaged_heic_picture_is_refused_in_a_sentence(tmp_path):
    pytest.importorskip("pillow_heif")
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500))
    with pytest.raises(InputError, match=r"a\.heic: is not a whole picture"):
        read_picture(tmp_path / "a.heic")


@pytest.mark.parametrize(("width", "height", "shown"), [
    (6000, 1000, (4096, 682)), (4000, 3600, (3238, 2914)), (4096, 2304, (4096, 2304)),
])  # fmt: skip
def test_a_picture_larger_than_players_show_is_shrunk_with_a_line(tmp_path, caplog, width, height, shown):
    Image.fromarray(quarters(width, height)).save(tmp_path / "photo.bmp")
    source = FaceSource(tmp_path / "photo.bmp")
    (frame,) = source.frames()
    assert (frame.shape[1], frame.shape[0]) == shown
    assert np.abs(frame[10, -10].astype(int) - (30, 200, 30)).max() <= 1
    said = f"photo.bmp: {width} x {height} pixels are more than players of H.264 show; it is shrunk to "
    assert (f"{said}{shown[0]} x {shown[1]}" in caplog.text) == source.shrunk == (shown != (width, height))


def test_a_cut_of_a_huge_picture_keeps_its_pixels(tmp_path, caplog):
    Image.fromarray(quarters(6000, 1000)).save(tmp_path / "photo.bmp")
    (frame,) = FaceSource(tmp_path / "photo.bmp", framing=Framing(crop=(0, -1, 0, 900))).frames()
    assert frame.shape == (1000, 900, 3)
    assert not caplog.records


def test_a_box_of_a_picture_that_is_shrunk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "LARGEST_SIDE", 60)
    Image.fromarray(quarters()).save(tmp_path / "photo.png")
    ours = LipSync.__new__(LipSync)  # refused before anything of it is needed
    with pytest.raises(InputError, match=r"photo\.png: is too large for a --box in its own pixels; give a --resize_f"):
        ours.stream(tmp_path / "photo.png", (np.zeros(1600, np.float32), 16_000), Options(box=(0, 9, 0, 9)))


def test_a_large_photo_gives_no_warning_of_the_library(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    Image.fromarray(quarters()).save(tmp_path / "a.png")
    assert is_picture(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").shape == (48, 64, 3)
    assert not recwarn.list


@pytest.mark.parametrize("name", ["a.gif", "a.png"])
def test_an_animation_is_a_video(tmp_path, name):
    frames = [Image.new("RGB", (32, 32), (level, 0, 0)) for level in (50, 100, 150, 200)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100)
    source = FaceSource(tmp_path / name)
    assert (source.static, source.fps) == (False, 10)
    assert [int(frame[5, 5, 0]) for frame in read_frames(tmp_path / name)] == pytest.approx([50, 100, 150, 200], abs=8)
