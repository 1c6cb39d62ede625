"""Still images of any format."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.helpers.media import (
    ffmpeg,
)
from wav2lip.errors import InputError
from wav2lip.media import image_size, is_image, read_frames, read_image


def test_transparency_becomes_white(tmp_path):
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[:, 0], pixels[:, 1] = (200, 100, 50, 255), (0, 0, 0, 128)  # opaque, half, transparent
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0].tolist() == [[200, 100, 50], [127] * 3, [255] * 3]


def test_transparent_palette_color_becomes_white(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "a.png", transparency=1)
    assert read_image(tmp_path / "a.png")[0].tolist() == [[10, 20, 30], [255, 255, 255]]


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
@pytest.mark.parametrize(("channels", "expected"), [(1, [128, 128, 128]), (3, [16, 64, 128])])
def test_16_bit_images_keep_the_upper_8_bits(tmp_path, name, channels, expected):
    blue_green_red = np.array([0x8000, 0x4000, 0x1000][:channels], np.uint16)
    cv2.imwrite(str(tmp_path / name), np.tile(blue_green_red, (4, 5, 1)))
    image = read_image(tmp_path / name)
    assert (image.shape, image.dtype) == ((4, 5, 3), np.uint8)
    assert image[0, 0].tolist() == expected


@pytest.mark.parametrize("mode", ["1", "L", "LA", "CMYK", "YCbCr"])
def test_other_color_modes_become_rgb(tmp_path, mode):
    white = {"1": 1, "L": 255, "LA": (255, 255), "CMYK": (0, 0, 0, 0), "YCbCr": (255, 128, 128)}[mode]
    name = "a.jpg" if mode in {"CMYK", "YCbCr"} else "a.png"
    Image.new(mode, (16, 8), white).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.shape == (8, 16, 3)
    assert image.min() > 250  # JPEG of CMYK and YCbCr


@pytest.mark.parametrize(("orientation", "corner"), [
    (1, "top left"), (2, "top right"), (3, "bottom right"), (4, "bottom left"),
    (5, "top left"), (6, "top right"), (7, "bottom right"), (8, "bottom left"),
])  # fmt: skip
def test_exif_orientation_is_applied(tmp_path, orientation, corner):
    pixels = np.zeros((40, 64, 3), np.uint8)
    pixels[:16, :16] = 255  # top left as stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == ((40, 64, 3) if orientation < 5 else (64, 40, 3))
    row, column = (-8 if "bottom" in corner else 8), (-8 if "right" in corner else 8)
    assert image[row, column].min() > 240  # white before JPEG


def test_mpo_photo_is_an_image(tmp_path):
    first, second = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (16, 16), "blue")
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert is_image(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg")[16, 16].tolist() == pytest.approx([255, 0, 0], abs=3)


def test_raw_mpeg_stream_is_a_video(tmp_path):
    path = ffmpeg("-f", "lavfi", "-i", "color=gray:s=64x64:r=25:d=0.2", "-f", "mpeg1video", tmp_path / "a.m1v")
    assert not is_image(path)
    assert len(list(read_frames(path))) == 5


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_truncated_image_is_rejected(tmp_path, name):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"not an image, or corrupt \(.*\)"):
        read_image(tmp_path / name)


def test_decompression_bomb_is_rejected(tmp_path):
    def chunk(name: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    assert is_image(tmp_path / "bomb.png")
    with pytest.raises(InputError, match=r"bomb\.png: has more than 178956970 pixels, .*scale it down"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("size", [6, 8])
def test_undeclared_errors_of_decoder_are_caught(tmp_path, size):
    Image.new("P", (8, 8)).save(tmp_path / "a.gif")
    content = (tmp_path / "a.gif").read_bytes()
    assert content.endswith(b";")
    (tmp_path / "a.gif").write_bytes(content[:-1] + b"," + bytes(size))  # a second frame with half a header
    assert not is_image(tmp_path / "a.gif")  # IndexError or struct.error of Pillow
    (frame,) = read_frames(tmp_path / "a.gif", on_problem=lambda _: None)
    assert frame.shape == (8, 8, 3)


@pytest.mark.parametrize("name", ["a.eps", "a.ico", "a.pcx"])
def test_only_supported_formats_are_opened(tmp_path, name):
    Image.new("RGB", (16, 16)).save(tmp_path / name)
    assert not is_image(tmp_path / name)
    with pytest.raises(InputError, match="not an image, or corrupt"):
        read_image(tmp_path / name)


def test_size_of_large_heic_image_is_checked_before_decoding(tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.new("RGB", (64, 48))).save(tmp_path / "a.heic")
    assert image_size(tmp_path / "a.heic") == (64, 48)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # an error from twice as many
    with pytest.raises(InputError, match=r"a\.heic: .*has more than 2000 pixels"):
        image_size(tmp_path / "a.heic")
