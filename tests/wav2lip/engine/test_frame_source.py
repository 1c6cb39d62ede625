"""Face sources: image files of every format, downscaling, animated images, and time ranges of videos."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tests.helpers.lipsync import scripted_lipsync
from tests.helpers.media import timed_video
from tests.helpers.numbered_video import decode_number, write_numbered_video
from wav2lip.engine import frame_source as source_module
from wav2lip.errors import InputError
from wav2lip.lipsync import FileSource, Framing, LipSyncOptions, TimeRange
from wav2lip.media import is_image, read_frames, read_image


def draw_quarters(width: int = 64, height: int = 48) -> np.ndarray:
    """Return an image with red, green, blue and gray quarters."""
    image = np.full((height, width, 3), 128, np.uint8)
    image[: height // 2, : width // 2] = (220, 30, 30)
    image[: height // 2, width // 2 :] = (30, 200, 30)
    image[height // 2 :, : width // 2] = (30, 30, 200)
    return image


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tiff", "a.avif", "a.gif", "a.ppm"])
def test_face_source_reads_every_image_format(tmp_path, name):
    quality = {"quality": 95} if name in {"a.jpg", "a.webp", "a.avif"} else {}
    Image.fromarray(draw_quarters()).save(tmp_path / name, **quality)
    source = FileSource(tmp_path / name, fps=30)
    (frame,) = source.frames()
    assert (source.static, source.fps, frame.dtype, frame.shape) == (True, 30, np.uint8, (48, 64, 3))
    for row, column in [(10, 10), (10, 54), (38, 10), (38, 54)]:
        assert np.abs(frame[row, column].astype(int) - draw_quarters()[row, column]).max() <= 8


@pytest.mark.parametrize("orientation", [1, 6])
def test_heic_image_is_read_upright(tmp_path, orientation):
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = orientation
    pillow_heif.from_pillow(Image.fromarray(draw_quarters())).save(tmp_path / "a.heic", exif=exif.tobytes(), quality=95)
    assert is_image(tmp_path / "a.heic")
    image = read_image(tmp_path / "a.heic")
    row_column = {1: (10, 10), 6: (10, 38)}[orientation]  # top left; turned clockwise, top right
    assert image.shape == {1: (48, 64, 3), 6: (64, 48, 3)}[orientation]
    assert np.abs(image[row_column].astype(int) - (220, 30, 30)).max() <= 8


def test_heic_image_without_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if not installed
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500))
    assert is_image(tmp_path / "a.heic")
    with pytest.raises(InputError, match=r"a\.heic: .*; pip install 'wav2lip-toolkit\[heic\]'"):
        read_image(tmp_path / "a.heic")


def test_corrupt_heic_image_is_rejected(tmp_path):
    pytest.importorskip("pillow_heif")
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500))
    with pytest.raises(InputError, match=r"a\.heic: not an image, or corrupt"):
        read_image(tmp_path / "a.heic")


@pytest.mark.parametrize(("width", "height", "size"), [
    (6000, 1000, (4096, 682)), (4000, 3600, (3238, 2914)), (4096, 2304, (4096, 2304)),
])  # fmt: skip
def test_large_image_is_downscaled_with_warning(tmp_path, caplog, width, height, size):
    Image.fromarray(draw_quarters(width, height)).save(tmp_path / "photo.bmp")
    source = FileSource(tmp_path / "photo.bmp")
    (frame,) = source.frames()
    assert (frame.shape[1], frame.shape[0]) == size
    assert np.abs(frame[10, -10].astype(int) - (30, 200, 30)).max() <= 1
    warning = f"downscaled to {size[0]} x {size[1]}"
    assert (warning in caplog.text) == source.is_downscaled == (size != (width, height))


def test_crop_of_large_image_keeps_pixels(tmp_path, caplog):
    Image.fromarray(draw_quarters(6000, 1000)).save(tmp_path / "photo.bmp")
    (frame,) = FileSource(tmp_path / "photo.bmp", framing=Framing(crop=(0, -1, 0, 900))).frames()
    assert frame.shape == (1000, 900, 3)
    assert not caplog.records


def test_box_on_downscaled_image_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "MAX_SIDE_PIXELS", 60)
    Image.fromarray(draw_quarters()).save(tmp_path / "photo.png")
    lipsync = scripted_lipsync([])
    with pytest.raises(InputError, match=r"--box=.*photo\.png is downscaled; add --resize_f"):
        lipsync.stream(tmp_path / "photo.png", (np.zeros(1600, np.float32), 16_000), LipSyncOptions(box=(0, 9, 0, 9)))


def test_large_image_gives_no_pillow_warning(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    Image.fromarray(draw_quarters()).save(tmp_path / "a.png")
    assert is_image(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (48, 64, 3)
    assert not recwarn.list


@pytest.mark.parametrize("name", ["a.gif", "a.png"])
def test_animated_image_is_a_video(tmp_path, name):
    frames = [Image.new("RGB", (32, 32), (level, 0, 0)) for level in (50, 100, 150, 200)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100)
    source = FileSource(tmp_path / name)
    assert (source.static, source.fps) == (False, 10)
    assert [int(frame[5, 5, 0]) for frame in read_frames(tmp_path / name)] == pytest.approx([50, 100, 150, 200], abs=8)


@pytest.mark.parametrize("rate", ["24000/1001", "25", "30000/1001", "50", "60"])
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (1.31, 2.11), (2.91, None), (3.21, 3.22)])
def test_time_range_selects_frames(tmp_path, rate, start, end):
    fps = Fraction(rate)
    path = write_numbered_video(tmp_path / "face.mp4", 240, fps)
    first, last = round(start * float(fps)), 240 if end is None else round(end * float(fps))
    source = FileSource(path, time_range=TimeRange(start, end))
    assert source.fps == fps
    assert [decode_number(frame) for frame in source.frames()] == list(range(first, max(last, first + 1)))
    assert source.stated_frames == pytest.approx(max(last, first + 1) - first, abs=1)
    if last - first > 8:
        assert [decode_number(frame) for frame in source.frames(3, 8)] == list(range(first + 3, first + 8))


def test_time_range_of_variable_rate_video(tmp_path):
    times = [0.0, 0.04, 0.08, 0.6, 0.64, 1.0]
    path = timed_video(tmp_path / "phone.mp4", times, [20, 60, 100, 140, 180, 220])
    levels = [int(frame[8, 8, 0]) for frame in FileSource(path, time_range=TimeRange(0.56, 0.68)).frames()]
    assert levels == pytest.approx([140, 140, 180], abs=2)  # the frame at 0.6 s is the nearest to 0.56 s


def test_repeated_frames_are_copies(tmp_path):
    path = timed_video(tmp_path / "phone.mp4", [0.0, 0.04, 0.16, 0.2, 0.24], [20, 60, 100, 140, 180])
    levels = []
    for frame in FileSource(path).frames():
        levels.append(int(frame[8, 8, 0]))
        frame += 50  # before the next frame is read
    assert levels == pytest.approx([20, 60, 60, 100, 100, 140, 180], abs=2)  # at 0.1 s both are equally near


def test_time_range_with_compat_public(tmp_path):
    source = FileSource(
        write_numbered_video(tmp_path / "face.mp4", 40), time_range=TimeRange(0.4, 0.8), compat="public"
    )
    assert [decode_number(frame) for frame in source.frames()] == list(range(10, 20))


def test_time_range_past_end_is_rejected_or_logged(tmp_path, caplog):
    path = write_numbered_video(tmp_path / "face.mp4", 25)
    with pytest.raises(InputError, match=r"face\.mp4: no frame at --start=20 or later"):
        next(FileSource(path, time_range=TimeRange(20)).frames())
    assert len(list(FileSource(path, time_range=TimeRange(0.2, 9)).frames())) == 20
    assert "face.mp4: ends at 1.00 s, before --end" in caplog.text


def test_time_range_of_image_is_rejected(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "face.png")
    with pytest.raises(InputError, match=r"face\.png: is an image; remove --start"):
        FileSource(tmp_path / "face.png", time_range=TimeRange(1.0))


@pytest.mark.parametrize(("start", "end", "message"), [
    (5.0, 3.0, "--end=3: must be after --start=5"), (2.0, 2.0, "--end=2: must be after"),
    (-1.0, None, "--start=-1.0: must"), (float("nan"), None, "--start=nan: must"),
    (0.0, float("nan"), "--end=nan"),
])  # fmt: skip
def test_time_range_rejects_invalid_times(start, end, message):
    with pytest.raises(InputError, match=message):
        TimeRange(start, end)


def test_fps_of_video_is_changed_with_line_for_slow_ones(tmp_path, caplog):
    path = timed_video(tmp_path / "slow.mp4", [n / 8 for n in range(8)], [20 * n + 40 for n in range(8)], rate=8)
    assert FileSource(path).fps == 8
    assert caplog.messages == [
        f"{path}: 8 frames a second, but lips need some 20; add --fps 25, which repeats frames and moves the lips in "
        "each"
    ]
    source = FileSource(path, fps=25)
    levels = [int(frame.mean().round()) for frame in source.frames()]
    assert (source.fps, len(levels)) == (25, 25)
    assert sorted(set(levels)) == pytest.approx([20 * n + 40 for n in range(8)], abs=4)
    assert len(caplog.messages) == 1
    with pytest.raises(InputError, match="--fps=0"):
        FileSource(path, fps=0)
