"""HDR and wide-gamut video and images are converted to BT.709."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc
from PIL import Image, ImageCms

from tests.helpers.media import ffmpeg
from wav2lip.media import read_frames, read_image
from wav2lip.media.color import HLG, PQ, convert_to_bt709
from wav2lip.media.display import is_dolby_vision_alone

PATCHES = [(235, 235, 235), (128, 128, 128), (40, 40, 40), (200, 90, 70), (90, 140, 80), (70, 90, 170), (224, 172, 140)]


def patches(path: Path) -> Path:
    """Write seven color patches, each 32 pixels wide."""
    Image.fromarray(np.repeat(np.repeat(np.array([PATCHES], np.uint8), 32, axis=1), 64, axis=0)).save(path)
    return path


def hdr_video(path: Path, transfer: str, primaries: str = "bt2020") -> Path:
    """Convert the patches with zimg; SDR white is at 203 nits."""
    chain = (
        "format=gbrp,setparams=colorspace=gbr:color_trc=bt709:color_primaries=bt709:range=pc,"
        "zscale=t=linear:npl=203,format=gbrpf32le,"
        f"zscale=p={primaries}:t={transfer}:m={'2020_ncl' if primaries == 'bt2020' else '709'}:r=limited:npl=203,"
        "format=yuv444p10le"
    )
    source = patches(path.with_suffix(".png"))
    return ffmpeg("-loop", "1", "-i", source, "-frames:v", "2", "-vf", chain, "-c:v", "libx265", "-x265-params",
                  "log-level=error", "-crf", "4", path)  # fmt: skip


@pytest.mark.parametrize(("name", "transfer", "primaries"), [
    ("a.mov", "arib-std-b67", "bt2020"), ("a.mkv", "smpte2084", "bt2020"), ("a.mp4", "bt709", "smpte432"),
])  # fmt: skip
def test_hdr_video_equals_sdr(tmp_path, name, transfer, primaries):
    problems: list[str] = []
    (frame, _) = read_frames(hdr_video(tmp_path / name, transfer, primaries), on_problem=problems.append)
    shown = [frame[16:48, 32 * n + 8 : 32 * n + 24].mean(axis=(0, 1)) for n in range(len(PATCHES))]
    assert np.abs(np.array(shown) - PATCHES).max() <= 4
    assert [problem.rpartition(": ")[2] for problem in problems] == [
        "its HDR or wide-gamut colors are converted to BT.709"
    ]


def write_png(path: Path, levels: np.ndarray, transfer: int) -> None:
    """Write a PNG with the chunk cICP behind its header."""
    Image.fromarray(levels).save(path)
    content, chunk = path.read_bytes(), b"cICP" + bytes([ColorPrimaries.BT2020, transfer, 0, 1])
    path.write_bytes(content[:33] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:])


def write_heic(path: Path, levels: np.ndarray, transfer: int) -> None:
    """Write a HEIC with the box nclx."""
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.fromarray(levels)).save(
        path, quality=-1, chroma=444, color_primaries=int(ColorPrimaries.BT2020),
        transfer_characteristics=int(transfer), matrix_coefficients=9, full_range_flag=1,
    )  # fmt: skip


def write_avif(path: Path, levels: np.ndarray, transfer: int) -> None:
    """Write an AVIF with the box nclx."""
    if "libsvtav1" not in av.codecs_available:
        pytest.skip("PyAV without an encoder of AV1")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libsvtav1", rate=1, options={"crf": "1", "preset": "8"})
        stream.height, stream.width = levels.shape[:2]
        stream.pix_fmt = "yuv420p10le"
        stream.codec_context.color_trc, stream.codec_context.color_primaries = transfer, ColorPrimaries.BT2020
        stream.codec_context.colorspace = Colorspace.BT2020
        frame = av.VideoFrame.from_ndarray(levels).reformat(format="yuv420p10le", dst_colorspace=Colorspace.BT2020)
        file.mux([*stream.encode(frame), *stream.encode()])


@pytest.mark.parametrize("write", [write_png, write_heic, write_avif])
@pytest.mark.parametrize(("name", "transfer"), [("arib-std-b67", HLG), ("smpte2084", PQ)])
def test_hdr_image_equals_sdr(tmp_path, write, name, transfer):
    with av.open(str(hdr_video(tmp_path / "a.mkv", name))) as file:
        levels = next(file.decode(video=0)).to_ndarray(format="rgb24")
    suffix = write.__name__.removeprefix("write_")
    write(tmp_path / f"still.{suffix}", levels, transfer)
    problems: list[str] = []
    image = read_image(tmp_path / f"still.{suffix}", problems.append)
    shown = [image[16:48, 32 * n + 8 : 32 * n + 24].mean(axis=(0, 1)) for n in range(len(PATCHES))]
    # 8 bit have coarse steps, and those of AVIF are of chroma too; without conversion white is 148.
    assert np.abs(np.array(shown) - PATCHES).max() <= (12 if suffix == "avif" else 6)
    assert [problem.rpartition(": ")[2] for problem in problems] == [
        "its HDR or wide-gamut colors are converted to BT.709"
    ]


@pytest.mark.parametrize(("transfer", "signal"), [(HLG, 0.75), (PQ, 0.5807)])  # BT.2408: levels of reference white
def test_reference_white_becomes_white_and_highlights_stay_in_range(transfer, signal):
    levels = convert_to_bt709(np.full((1, 3), signal), transfer, ColorPrimaries.BT2020)
    assert levels == pytest.approx(1, abs=0.02)
    ramp = convert_to_bt709(np.linspace(0, 1, 200)[:, None].repeat(3, 1), transfer, ColorPrimaries.BT2020)
    assert ramp.min() >= 0
    assert ramp.max() <= 1
    assert np.diff(ramp, axis=0).min() > -1e-9


@pytest.mark.parametrize(("transfer", "side_data", "expected"), [
    (2, {"DOVI_METADATA": b""}, True), (PQ, {"DOVI_METADATA": b""}, False), (2, {"DISPLAYMATRIX": b""}, False),
])  # fmt: skip
def test_dolby_vision_without_another_layer_is_recognized(transfer, side_data, expected):
    assert is_dolby_vision_alone(SimpleNamespace(color_trc=transfer, side_data=side_data)) == expected


def test_gray_of_wide_gamut_is_gray():
    gray = np.full((1, 3), 0.5)
    assert convert_to_bt709(gray, ColorTrc.BT709, ColorPrimaries.SMPTE432) == pytest.approx(gray, abs=1e-6)


def test_icc_profile_is_applied(tmp_path):
    # Profile whose tone curve is 2.2 and whose red and green are exchanged against those of sRGB.
    srgb = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    swapped = srgb.replace(b"rXYZ", b"tXYZ").replace(b"gXYZ", b"rXYZ").replace(b"tXYZ", b"gXYZ")
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    assert swapped != srgb
    ImageCms.ImageCmsProfile(io.BytesIO(bytes(swapped)))
    image = Image.new("RGBA", (8, 8), (200, 60, 30, 255))
    image.save(tmp_path / "a.png", icc_profile=bytes(swapped))
    assert read_image(tmp_path / "a.png")[4, 4].tolist() == pytest.approx([60, 200, 30], abs=2)
    image.save(tmp_path / "b.png", icc_profile=b"no profile")
    assert read_image(tmp_path / "b.png")[4, 4].tolist() == [200, 60, 30]


def test_real_hdr_clip_equals_its_sdr_version(field_inputs):
    hdr = np.stack(list(read_frames(field_inputs / "hdr_hlg_hevc10.mov", on_problem=lambda _: None))[::10])
    sdr = np.stack(list(read_frames(field_inputs / "sdr_reference.mp4"))[::10])
    assert np.abs(hdr[:, :60, :60].mean(axis=(0, 1, 2)) - sdr[:, :60, :60].mean(axis=(0, 1, 2))).max() < 4
    assert np.abs(hdr.mean(axis=(0, 1, 2)) - sdr.mean(axis=(0, 1, 2))).max() < 4  # per channel; was 18
