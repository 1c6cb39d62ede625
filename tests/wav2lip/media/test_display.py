"""Frames are shown as a player shows them: pixel aspect, display matrix, interlacing, transparency."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from tests.helpers.media import ffmpeg, write_video
from wav2lip.media import first_frame_time, is_image, probe, read_frames, read_image
from wav2lip.media.display import display_size

RED, GREEN, BLUE, GRAY = (200, 40, 40), (40, 180, 40), (40, 40, 200), (128, 128, 128)


def quarters(width: int = 96, height: int = 64) -> np.ndarray:
    """Red, green / blue, gray."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = RED, GREEN
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = BLUE, GRAY
    return image


def corners(image: np.ndarray) -> list[tuple[int, ...]]:
    """The nearest of the four colors at 1/4 and 3/4 of width and height, in reading order."""
    height, width = image.shape[:2]
    points = [image[y * height // 4, x * width // 4].astype(int) for y in (1, 3) for x in (1, 3)]
    return [min((RED, GREEN, BLUE, GRAY), key=lambda color: np.abs(point - color).sum()) for point in points]


@pytest.mark.parametrize(("size", "aspect", "shown"), [
    ((720, 480), Fraction(8, 9), (640, 480)), ((720, 576), Fraction(64, 45), (1024, 576)),
    ((1440, 1080), Fraction(4, 3), (1920, 1080)), ((720, 480), Fraction(32, 27), (854, 480)),
    ((720, 480), Fraction(0), (720, 480)), ((720, 480), None, (720, 480)), ((720, 480), Fraction(1, 500), (720, 480)),
    ((101, 50), Fraction(1), (101, 50)),
])  # fmt: skip
def test_display_size_undoes_pixel_aspect(size, aspect, shown):
    assert display_size(*size, aspect) == shown


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_pixel_aspect_is_undone(tmp_path, name):
    plain = write_video(tmp_path / "plain.mp4", [quarters()] * 12)
    path = ffmpeg("-i", plain, "-vf", "setsar=2/1", "-c:v", "mpeg4" if name == "a.avi" else "libx264", tmp_path / name)
    assert (probe(path).require_video().width, probe(path).require_video().height) == (192, 64)
    frames = list(read_frames(path))
    assert [frame.shape for frame in frames] == [(64, 192, 3)] * 12
    assert corners(frames[0]) == [RED, GREEN, BLUE, GRAY]


def write_matrix(path: Path, image: np.ndarray, matrix: list[float]) -> Path:
    """Write an MP4 file with a display matrix a b c d: x' = a x + c y, y' = b x + d y."""
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25, options={"crf": "5"})
        video.height, video.width = image.shape[:2]
        video.pix_fmt = "yuv420p"
        a, b, c, d = (round(value * 65536) for value in matrix)
        video.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for _ in range(3):
            file.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        file.mux(video.encode(None))
    return path


@pytest.mark.parametrize(("matrix", "expected"), [  # each corner of the result by the formula of `write_matrix`
    ([1, 0, 0, 1], [RED, GREEN, BLUE, GRAY]),
    ([-1, 0, 0, 1], [GREEN, RED, GRAY, BLUE]),  # mirrored
    ([1, 0, 0, -1], [BLUE, GRAY, RED, GREEN]),  # upside down
    ([-1, 0, 0, -1], [GRAY, BLUE, GREEN, RED]),  # turned by 180 degrees
    ([0, 1, -1, 0], [BLUE, RED, GRAY, GREEN]),  # x' = -y, y' = x: clockwise
    ([0, -1, 1, 0], [GREEN, GRAY, RED, BLUE]),  # counter-clockwise
    ([0, 1, 1, 0], [RED, BLUE, GREEN, GRAY]),  # transposed
    ([0, -1, -1, 0], [GRAY, GREEN, BLUE, RED]),  # turned and mirrored, as front cameras write it
])  # fmt: skip
def test_whole_display_matrix_is_applied(tmp_path, matrix, expected):
    problems: list[str] = []
    frame = next(read_frames(write_matrix(tmp_path / "a.mp4", quarters(), matrix), on_problem=problems.append))
    assert frame.shape == ((64, 96, 3) if matrix[0] else (96, 64, 3))
    assert corners(frame) == expected
    assert problems == []


@pytest.mark.parametrize(("orientation", "expected"), [
    (1, [RED, GREEN, BLUE, GRAY]), (6, [BLUE, RED, GRAY, GREEN]), (3, [GRAY, BLUE, GREEN, RED]),
    (8, [GREEN, GRAY, RED, BLUE]),
])  # fmt: skip
@pytest.mark.parametrize("name", ["a.avi", "a.mkv"])
def test_orientation_of_camera_jpegs_in_a_video_is_applied(tmp_path, name, orientation, expected):
    exif, jpeg = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(quarters()).save(jpeg, "JPEG", exif=exif, quality=95, subsampling=0)
    with av.open(str(tmp_path / name), "w") as file:
        stream = file.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj444p"
        for n in range(3):
            packet = av.Packet(jpeg.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, n, n, Fraction(1, 25)
            packet.is_keyframe = True
            file.mux(packet)
    frames = list(read_frames(tmp_path / name))
    assert [corners(frame) for frame in frames] == [expected] * 3


def test_odd_angle_is_applied_with_message(tmp_path):
    image = np.full((128, 128, 3), 20, np.uint8)
    image[60:68, 96:104] = 255  # 36 pixels right of the center
    cos, sin = np.cos(np.radians(30)), np.sin(np.radians(30))
    path = write_matrix(tmp_path / "a.mp4", image, [cos, sin, -sin, cos])  # (36, 0) -> (31.2, 18): clockwise
    problems: list[str] = []
    frame, *_ = read_frames(path, on_problem=problems.append)
    rows, columns = np.nonzero(frame[..., 0] > 150)
    assert (columns.mean() - 63.5, rows.mean() - 63.5) == (pytest.approx(31.2, abs=1), pytest.approx(18, abs=1))
    assert problems == [f"{path}: is shown turned by +30.0 degrees off a quarter turn, with black corners"]


def interlaced_video(path: Path, flags: str, codec: str) -> Path:
    """A bar that moves 4 pixels per field, interlaced."""
    fields = np.full((40, 64, 128, 3), 40, np.uint8)
    for n, field in enumerate(fields):
        field[:, 8 + 2 * n : 24 + 2 * n] = 220
    source = write_video(path.with_name("fields.mp4"), list(fields), fps=50)
    return ffmpeg("-i", source, "-vf", f"interlace=scan={flags},setfield={flags}", "-c:v", codec, "-flags",
                  "+ildct+ilme", "-b:v", "4M", path)  # fmt: skip


@pytest.mark.parametrize(("name", "codec", "order"), [
    ("a.ts", "mpeg2video", "tff"), ("a.avi", "mpeg4", "bff"), ("a.mkv", "libx264", "tff"),
])  # fmt: skip
def test_interlaced_video_is_deinterlaced(tmp_path, name, codec, order):
    def combs(frame: np.ndarray) -> float:  # difference between neighboring lines, in a bar without vertical edges
        return float(np.abs(np.diff(frame[4:-4, :, 1].astype(float), axis=0)).mean())

    path = interlaced_video(tmp_path / name, order, codec)
    with av.open(str(path)) as file:
        woven = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    problems: list[str] = []
    frames = list(read_frames(path, on_problem=problems.append))
    assert len(frames) == len(woven) == 20
    assert np.mean([combs(frame) for frame in woven]) > 3
    assert np.mean([combs(frame) for frame in frames]) < 1
    assert problems == [f"{path}: its video is interlaced; deinterlaced"]
    if name != "a.avi":  # the reader seeks to the same frames; AVI has no timestamps
        tail = list(read_frames(path, 25, first=10, last=20, on_problem=lambda _: None))
        assert np.abs(np.stack(tail).astype(int) - np.stack(frames[10:])).max() <= 2


@pytest.mark.parametrize("name", ["a.dv", "a.avi"])
@pytest.mark.parametrize(("size", "pix_fmt", "fps", "shown"), [
    ("720x576", "yuv420p", Fraction(25), (768, 576)), ("720x480", "yuv411p", Fraction(30_000, 1001), (640, 480)),
])  # fmt: skip
def test_dv_has_its_pixel_aspect_and_rate(tmp_path, name, size, pix_fmt, fps, shown):
    source = ["-f", "lavfi", "-i", f"color=red:s={size}:r={fps}", "-frames:v", "3"]
    path = ffmpeg(*source, "-c:v", "dvvideo", "-pix_fmt", pix_fmt, tmp_path / name)
    video = probe(path).require_video()
    assert ((video.width, video.height), video.fps, video.mean_fps) == (shown, fps, fps)
    frames = list(read_frames(path, on_problem=lambda _: None))
    assert [frame.shape for frame in frames] == [(shown[1], shown[0], 3)] * 3


def test_timestamps_of_deinterlaced_video_are_kept(tmp_path):
    path = interlaced_video(tmp_path / "a.ts", "tff", "mpeg2video")
    assert len(list(read_frames(path, 50, on_problem=lambda _: None))) == 40  # 0.8 s
    assert first_frame_time(path) > 1


@pytest.mark.parametrize(("name", "options"), [
    ("a.webm", ["-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p"]), 
    ("b.webm", ["-c:v", "libvpx", "-pix_fmt", "yuva420p", "-auto-alt-ref", "0"]),
    ("a.mov", ["-c:v", "prores_ks", "-pix_fmt", "yuva444p10le"]), ("a.mkv", ["-c:v", "ffv1", "-pix_fmt", "bgra"]),
])  # fmt: skip
def test_transparency_of_video_and_image_is_white(tmp_path, name, options):
    pixels = np.full((64, 64, 4), (200, 60, 60, 255), np.uint8)
    pixels[:, 32:] = (0, 0, 255, 0)  # hidden blue
    Image.fromarray(pixels).save(tmp_path / "a.png")
    video = ffmpeg("-loop", "1", "-i", tmp_path / "a.png", "-frames:v", "2", *options, tmp_path / name)
    problems: list[str] = []
    frame = next(read_frames(video, on_problem=problems.append))
    still = read_image(tmp_path / "a.png", problems.append)
    for image in (frame, still):
        assert image[32, 48].tolist() == pytest.approx([255] * 3, abs=3)
        assert image[32, 16].tolist() == pytest.approx([200, 60, 60], abs=8)
    assert [problem.rpartition(": ")[2] for problem in problems] == ["its transparent parts are shown on white"] * 2


@pytest.mark.parametrize("name", ["a.webp", "a.avif"])
def test_animation_is_a_video(tmp_path, name):
    frames = [Image.new("RGB", (64, 48), (level, level, level)) for level in (50, 100, 150, 200)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=[80, 80, 240, 80], quality=95)
    media = probe(tmp_path / name)
    assert (media.seconds, media.require_video().fps, media.audio) == (pytest.approx(0.48), Fraction(25, 2), None)
    assert not is_image(tmp_path / name)
    images = list(read_frames(tmp_path / name, Fraction(25, 2)))
    assert all(image.flags.writeable for image in images)  # faces are blended in place
    levels = [int(image.mean().round()) for image in images]
    assert levels == pytest.approx([50, 100, 150, 150, 200, 200], abs=6)
    assert list(read_frames(tmp_path / name, max_pixels=1000)) == []


def test_fast_path_has_no_filter(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", [quarters()] * 3)
    monkeypatch.setattr(av.filter, "Graph", None)
    monkeypatch.setattr(cv2, "warpAffine", None)
    assert len(list(read_frames(path))) == 3
