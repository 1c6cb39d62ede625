"""Encoding options reach FFmpeg; unsupported ones are rejected before any work."""

from __future__ import annotations

import av
import numpy as np
import pytest

from wav2lip.errors import InputError
from wav2lip.media import Encoding, VideoWriter, read_frames

COLOR = (200, 40, 40)


def write_video(path, encoding=None, size=(64, 64), frames=4):
    frame = np.full((*size, 3), COLOR, np.uint8)
    with VideoWriter(path, 25, encoding=encoding or Encoding()) as video:
        for _ in range(frames):
            video.write(frame)
    return path


@pytest.mark.parametrize(("name", "encoding", "codec", "pix_fmt"), [
    ("a.mp4", Encoding(), "h264", "yuv420p"),
    ("a.mp4", Encoding("libx265", preset="ultrafast"), "hevc", "yuv420p"),
    ("a.mkv", Encoding("libx264", pix_fmt="yuv444p"), "h264", "yuv444p"),
    ("a.mkv", Encoding("libx264", pix_fmt="yuvj420p"), "h264", "yuvj420p"),
    ("a.mp4", Encoding("libx265", 20, "ultrafast", "yuv420p10le"), "hevc", "yuv420p10le"),
    ("a.mkv", Encoding("libvpx-vp9", 30), "vp9", "yuv420p"),
    ("a.mkv", Encoding("ffv1", pix_fmt="gbrp16le"), "ffv1", "gbrp16le"),
    ("a.mov", Encoding("prores_ks"), "prores", "yuv422p10le"),
    ("a.avi", Encoding("mpeg4"), "mpeg4", "yuv420p"),
], ids=lambda value: str(value) if isinstance(value, str) else "")  # fmt: skip
def test_codec_and_pixel_format_are_applied(tmp_path, name, encoding, codec, pix_fmt):
    path = write_video(tmp_path / name, encoding)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == (codec, pix_fmt)
        (*_, frame) = file.decode(stream)
    pixel = frame.to_ndarray(format="rgb24")[20, 20]
    assert np.abs(pixel.astype(int) - COLOR).max() <= (6 if codec == "mpeg4" else 3)
    assert len(list(read_frames(path))) == 4
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("encoding", "colorspace"), [
    (Encoding("libx265", preset="ultrafast"), 1), (Encoding(pix_fmt="yuv444p"), 1), (Encoding("libvpx-vp9", 40), 1),
], ids=["libx265", "yuv444p", "libvpx-vp9"])  # fmt: skip
def test_colors_of_other_encodings_are_tagged(tmp_path, encoding, colorspace):
    with av.open(str(write_video(tmp_path / "a.mkv", encoding, (720, 1280), 1))) as file:
        (frame,) = file.decode(video=0)
    assert (frame.colorspace, frame.color_range) == (colorspace, 1)


def test_hevc_in_mp4_has_apples_tag(tmp_path):
    assert b"hvc1" in write_video(tmp_path / "a.mp4", Encoding("libx265", preset="ultrafast")).read_bytes()


def test_full_chroma_keeps_an_odd_size(tmp_path):
    write_video(tmp_path / "a.mkv", Encoding(pix_fmt="yuv444p"), (63, 61))
    assert next(read_frames(tmp_path / "a.mkv")).shape == (63, 61, 3)


def test_crf_and_preset_change_the_size(tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(10)]

    def encoded_size(**options) -> int:
        with VideoWriter(tmp_path / "a.mp4", 25, encoding=Encoding(**options)) as video:
            for frame in frames:
                video.write(frame)
        return (tmp_path / "a.mp4").stat().st_size

    assert encoded_size(crf=40) < encoded_size() < encoded_size(crf=5)
    assert encoded_size(crf=18) == encoded_size() == encoded_size(preset="veryfast")
    assert encoded_size(preset="ultrafast") != encoded_size()


@pytest.mark.parametrize(("encoding", "message"), [
    ({"codec": "libx999"}, r"--codec libx999: not a video encoder"),
    ({"codec": "h264"}, "--codec h264: not a video encoder"),
    ({"codec": "aac"}, "--codec aac: not a video encoder"),
    ({"codec": "-y"}, "--codec -y: not a video encoder"),
    ({"pix_fmt": "yuv999p"}, "--pix_fmt yuv999p: .*yuv420p, .*libx264"),
    ({"codec": "libvpx-vp9", "preset": "fast"}, "--preset.*--codec libvpx-vp9"),
    ({"codec": "mpeg4", "crf": 3}, "--crf.*--codec mpeg4"),
    ({"crf": 99}, r"--crf 99: .*0 \(lossless\) and 51"), ({"crf": -1}, "--crf -1: "),
    ({"crf": float("nan")}, "--crf nan: "),
    ({"preset": "warp"}, r"--codec libx264 --preset warp: FFmpeg cannot write this to a \.mp4 file \(.*preset"),
    ({"codec": "flashsv"}, r"--codec flashsv: FFmpeg cannot write this to a \.mp4 file \(.*flashsv"),
], ids=str)  # fmt: skip
def test_unsupported_encoding_is_rejected_on_entry(tmp_path, encoding, message):
    with (
        pytest.raises(InputError, match=message) as raised,
        VideoWriter(tmp_path / "a.mp4", 25, encoding=Encoding(**encoding)),
    ):
        pytest.fail("entered the context")
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
