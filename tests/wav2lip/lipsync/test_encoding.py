"""The pictures of a result are encoded as asked; what the FFmpeg at hand cannot do is one sentence before any work."""

from __future__ import annotations

import av
import numpy as np
import pytest

from wav2lip.errors import InputError
from wav2lip.media import Encoding, VideoWriter, read_frames

COLOUR = (200, 40, 40)


def write(path, encoding=None, size=(64, 64), frames=4):
    picture = np.full((*size, 3), COLOUR, np.uint8)
    with VideoWriter(path, 25, encoding=encoding or Encoding()) as video:
        for _ in range(frames):
            video.write(picture)
    return path


@pytest.mark.parametrize(("name", "encoding", "codec", "pixels"), [
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
def test_codec_and_pixels_are_those_asked_for_and_colours_stay(tmp_path, name, encoding, codec, pixels):
    path = write(tmp_path / name, encoding)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == (codec, pixels)
        (*_, frame) = file.decode(stream)
    shown = frame.to_ndarray(format="rgb24")[20, 20]
    assert np.abs(shown.astype(int) - COLOUR).max() <= (6 if codec == "mpeg4" else 3)
    assert len(list(read_frames(path))) == 4
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("encoding", "colourspace"), [
    (Encoding("libx265", preset="ultrafast"), 1), (Encoding(pix_fmt="yuv444p"), 1), (Encoding("libvpx-vp9", 40), 1),
], ids=["libx265", "yuv444p", "libvpx-vp9"])  # fmt: skip
def test_colours_of_other_encodings_are_tagged_too(tmp_path, encoding, colourspace):
    with av.open(str(write(tmp_path / "a.mkv", encoding, (720, 1280), 1))) as file:
        (frame,) = file.decode(video=0)
    assert (frame.colorspace, frame.color_range) == (colourspace, 1)


def test_apples_players_are_told_that_it_is_hevc(tmp_path):
    assert b"hvc1" in write(tmp_path / "a.mp4", Encoding("libx265", preset="ultrafast")).read_bytes()


def test_a_pixel_format_without_shared_colour_keeps_an_odd_size(tmp_path):
    write(tmp_path / "a.mkv", Encoding(pix_fmt="yuv444p"), (63, 61))
    assert next(read_frames(tmp_path / "a.mkv")).shape == (63, 61, 3)


def test_quality_and_preset_change_the_size(tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(10)]

    def size(**how) -> int:
        with VideoWriter(tmp_path / "a.mp4", 25, encoding=Encoding(**how)) as video:
            for frame in frames:
                video.write(frame)
        return (tmp_path / "a.mp4").stat().st_size

    assert size(crf=40) < size() < size(crf=5)
    assert size(crf=18) == size() == size(preset="veryfast")
    assert size(preset="ultrafast") != size()


@pytest.mark.parametrize(("encoding", "says"), [
    ({"codec": "libx999"}, r"--codec libx999: the FFmpeg at hand .* has no such encoder of video; give one"),
    ({"codec": "h264"}, "--codec h264: .* no such encoder"),
    ({"codec": "aac"}, "--codec aac: .* no such encoder of video"),
    ({"codec": "-y"}, "--codec -y: .* no such encoder"),
    ({"pix_fmt": "yuv999p"}, "--pix_fmt yuv999p is not among those of --codec libx264; give yuv420p, "),
    ({"codec": "libvpx-vp9", "preset": "fast"}, "--preset says nothing to --codec libvpx-vp9; leave it out"),
    ({"codec": "mpeg4", "crf": 3}, "--crf says nothing to --codec mpeg4; leave it out"),
    ({"crf": 99}, r"--crf is 99; give 0 \(lossless\) to 51"), ({"crf": -1}, "--crf is -1; give"),
    ({"crf": float("nan")}, "--crf is nan; give"),
    ({"preset": "warp"}, r"--codec libx264 --preset warp: FFmpeg cannot write that to a \.mp4 file \(.*preset"),
    ({"codec": "flashsv"}, r"--codec flashsv: FFmpeg cannot write that to a \.mp4 file \(.*flashsv"),
], ids=str)  # fmt: skip
def test_what_ffmpeg_cannot_do_is_one_sentence_before_any_work_and_leaves_nothing(tmp_path, encoding, says):
    with (
        pytest.raises(InputError, match=says) as caught,
        VideoWriter(tmp_path / "a.mp4", 25, encoding=Encoding(**encoding)),
    ):
        pytest.fail("came to work")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
