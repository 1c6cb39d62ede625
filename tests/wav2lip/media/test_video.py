"""Decoding of video in any format, with true timestamps."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from tests.helpers.media import (
    click,
    ffmpeg,
    frequency_and_amplitude,
    gray_levels,
    peak_time,
    timed_video,
    tone,
    write_video,
    write_wav,
)
from wav2lip.audio import load_wav
from wav2lip.errors import InputError
from wav2lip.media import first_frame_time, has_timestamp_jumps, is_image, probe, read_audio, read_frames


@pytest.mark.parametrize("rate", ["24000/1001", "24", "25", "30000/1001", "30", "50", "60"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frame_rate_is_exact(tmp_path, rate, suffix):
    path = ffmpeg("-f", "lavfi", "-i", f"color=gray:s=64x64:r={rate}:d=1", tmp_path / f"a{suffix}")
    assert probe(path).require_video().fps == Fraction(rate)


@pytest.mark.parametrize("rate", [24, 30, 50, 60])
@pytest.mark.parametrize("target_fps", [25, 30])
def test_resampling_selects_the_nearest_frame(tmp_path, rate, target_fps):
    levels = [20 + 3 * n for n in range(rate)]
    path = timed_video(tmp_path / "a.mkv", [n / rate for n in range(rate)], levels, rate)
    result = gray_levels(read_frames(path, target_fps))
    assert len(result) == pytest.approx(target_fps, abs=1)
    for n, level in enumerate(result):
        source = (level - 20) / 3
        # Half a source frame, rounding of timestamps to milliseconds, and one level (a third of a frame) by coding.
        assert abs(source / rate - n / target_fps) <= 0.5 / rate + 0.002 + 1 / 3 / rate


def test_variable_frame_rate_is_resampled_by_timestamps(tmp_path):
    rng = np.random.default_rng(3)
    times = np.cumsum([0, *rng.choice([0.02, 0.033, 0.067, 0.25], 39)]).round(3)
    levels = [30 + 5 * n for n in range(40)]
    path = timed_video(tmp_path / "phone.mkv", times.tolist(), levels)
    result = gray_levels(read_frames(path, 25))
    assert len(result) == pytest.approx(times[-1] * 25, abs=3)
    for n, level in enumerate(result[: int(times[-1] * 25)]):
        nearest = np.abs(times - n / 25).min()
        assert abs(times[round((level - 30) / 5)] - n / 25) <= nearest + 0.0021, n


def test_without_fps_every_frame_is_yielded_once(tmp_path):
    levels = [30, 80, 120, 200]
    path = timed_video(tmp_path / "a.mp4", [0.0, 0.1, 0.9, 1.0], levels)
    assert gray_levels(read_frames(path)) == pytest.approx(levels, abs=2)


def remove_frame_rate(path: Path) -> Path:
    """Remove the default frame duration from a WebM, as in browsers' recordings."""
    content = path.read_bytes()
    at = content.index(b"\x23\xe3\x83")  # DefaultDuration, then a byte 0x80 + its length
    void = bytes([0xEC, content[at + 3] + 2])
    path.write_bytes(content[:at] + void + content[at + 2 :])
    return path


def test_frame_rate_of_webm_is_counted(tmp_path):
    times = np.arange(90) / 30 + np.random.default_rng(0).uniform(0, 0.02, 90)
    path = remove_frame_rate(timed_video(tmp_path / "a.webm", times.tolist(), [90] * 90, codec="libvpx"))
    with av.open(str(path)) as file:
        assert (file.streams.video[0].average_rate, file.streams.video[0].guessed_rate) == (None, 1000)
    video = probe(path).require_video()
    assert video.fps == video.mean_fps
    assert float(video.fps) == pytest.approx(30, abs=0.3)
    assert len(list(read_frames(path, 25))) == 75


def test_single_frame_without_rate_has_25_fps(tmp_path):
    path = remove_frame_rate(timed_video(tmp_path / "a.webm", [0.0], [90], codec="libvpx"))
    assert probe(path).require_video().fps == 25
    assert gray_levels(read_frames(path, 25)) == [pytest.approx(90, abs=2)]


def test_concatenated_recordings_stay_in_sync(tmp_path):
    parts = []
    for level in (60, 180):
        audio = write_wav(tmp_path / "a.wav", click(1.5 if level == 180 else 3, 2.0, 48_000), 48_000)
        video = write_video(tmp_path / "a.mp4", [np.full((64, 64, 3), level, np.uint8)] * 50, audio=audio)
        parts.append(ffmpeg("-i", video, "-c", "copy", tmp_path / "a.ts").read_bytes())
    (tmp_path / "both.ts").write_bytes(b"".join(parts))  # timestamps restart in the middle
    problems: list[str] = []
    result = gray_levels(read_frames(tmp_path / "both.ts", 25, problems.append))
    assert result == pytest.approx([60] * 50 + [180] * 50, abs=2)
    start = first_frame_time(tmp_path / "both.ts")
    wav = np.concatenate(list(read_audio(tmp_path / "both.ts", 16_000, start, problems.append)))
    assert peak_time(wav) == pytest.approx(3.5, abs=0.05)  # AAC pads blocks of 21 ms at the jump
    assert len(problems) == 2
    for track, problem in zip(("video", "audio"), problems, strict=True):
        assert f"{track} timestamps" in problem and "jump 1 times" in problem


@pytest.mark.parametrize("jump", [7200.0, -7200.0])
def test_timestamp_jump_does_not_stretch_the_video(tmp_path, jump):
    times = [10_000 + n / 25 for n in range(20)]
    times[10:] = [time + jump for time in times[10:]]
    levels = [20 + 10 * n for n in range(20)]
    parts = [timed_video(tmp_path / f"{n}.ts", times[n : n + 10], levels[n : n + 10]) for n in (0, 10)]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    problems: list[str] = []
    assert gray_levels(read_frames(tmp_path / "a.ts", 25, problems.append)) == pytest.approx(levels, abs=2)
    assert len(problems) == 1 and "jump 1 times" in problems[0]


def test_frames_with_decreasing_timestamps_are_skipped(tmp_path):
    parts = [timed_video(tmp_path / f"{n}.ts", [10 + (n + m) / 25 for m in range(10)], [40 + n] * 10) for n in (0, 7)]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    problems: list[str] = []
    assert len(list(read_frames(tmp_path / "a.ts", 25, problems.append))) == 17
    assert len(problems) == 1 and "skipped 3 video frames" in problems[0]


def test_video_of_one_frame(tmp_path):
    path = write_video(tmp_path / "one.mp4", [np.full((64, 64, 3), 90, np.uint8)])
    assert gray_levels(read_frames(path, probe(path).require_video().fps)) == [pytest.approx(90, abs=2)]


@pytest.mark.parametrize(("suffix", "options", "expected"), [
    (".avi", [], 0.0), (".mkv", [], 0.0), (".mp4", ["-output_ts_offset", "0.4"], 0.4),
])  # fmt: skip
def test_first_frame_time_is_its_presentation_time(tmp_path, suffix, options, expected):
    path = ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x64:r=25:d=1", "-c:v", "libx264", *options, tmp_path / f"a{suffix}")
    assert first_frame_time(path) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize(("size", "matrix", "is_tagged"), [
    ("1280x720", "bt709", True), ("1280x720", "smpte170m", True), ("1280x720", "bt709", False),
    ("256x256", "bt709", True), ("256x256", "smpte170m", True), ("256x256", "smpte170m", False),
])  # fmt: skip
def test_colors_match_players(tmp_path, size, matrix, is_tagged):
    Image.new("RGB", tuple(map(int, size.split("x"))), (200, 40, 40)).save(tmp_path / "a.png")
    yuv = ffmpeg("-i", tmp_path / "a.png", "-vf", f"scale=out_color_matrix={matrix}:out_range=tv", "-pix_fmt",
                 "yuv420p", tmp_path / "a.yuv")  # fmt: skip
    number = {"bt709": 1, "smpte170m": 6}[matrix]
    tags = ["-bsf:v", f"h264_metadata=matrix_coefficients={number}"] if is_tagged else []
    path = ffmpeg("-f", "rawvideo", "-s", size, "-i", yuv, "-c:v", "libx264", "-crf", "5", *tags, tmp_path / "a.mp4")
    with av.open(str(path)) as file:
        assert next(file.decode(video=0)).colorspace == (number if is_tagged else 2)
    assert np.abs(next(read_frames(path))[100, 100].astype(int) - (200, 40, 40)).max() <= 3


def test_large_rgb_video_keeps_its_colors(tmp_path):
    frames = [Image.new("RGB", (1280, 720), color) for color in ((200, 40, 40), (40, 200, 40))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert next(read_frames(tmp_path / "a.gif"))[100, 100].tolist() == pytest.approx([200, 40, 40], abs=2)


@pytest.mark.parametrize("pix_fmt", ["gray", "yuv444p", "yuv420p10le", "yuvj420p"])
def test_pixel_formats_keep_gray_levels(tmp_path, pix_fmt):
    image = tmp_path / "gray.png"
    Image.new("RGB", (64, 64), (150, 150, 150)).save(image)
    codec = ["-c:v", "ffv1"] if pix_fmt != "yuvj420p" else ["-c:v", "mjpeg", "-q:v", "1"]
    path = ffmpeg("-i", image, *codec, "-pix_fmt", pix_fmt, tmp_path / "a.mkv")
    assert gray_levels(read_frames(path)) == [pytest.approx(150, abs=2)]


def test_odd_size_is_read_completely(tmp_path):
    image = np.zeros((51, 37, 3), np.uint8)
    image[-1], image[:, -1] = 200, 200
    cv2.imwrite(str(tmp_path / "a.png"), image)
    frame = next(read_frames(ffmpeg("-i", tmp_path / "a.png", "-c:v", "ffv1", "-pix_fmt", "bgr0", tmp_path / "a.mkv")))
    np.testing.assert_array_equal(frame, image)


@pytest.mark.parametrize(("degrees", "corner"), [(90, (-1, 0)), (180, (-1, -1)), (270, (0, -1))])
def test_rotation_metadata_is_applied(tmp_path, degrees, corner):
    frame = np.full((64, 96, 3), 20, np.uint8)
    frame[:16, :16] = 230  # top left; counter-clockwise by 90 degrees that is the bottom left
    landscape = write_video(tmp_path / "landscape.mp4", [frame] * 2)
    upright = next(
        read_frames(ffmpeg("-display_rotation", degrees, "-i", landscape, "-c", "copy", tmp_path / "phone.mp4"))
    )
    assert upright.shape == ((64, 96, 3) if degrees == 180 else (96, 64, 3))
    row, column = (index * 8 + (8 if index == 0 else 0) for index in corner)
    assert upright[row, column].mean() > 200


def test_animated_gif_is_a_video(tmp_path):
    frames = [Image.new("RGB", (32, 32), (level, 0, 0)) for level in (50, 100, 150)]
    frames[0].save(tmp_path / "still.gif")
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:], duration=100)
    assert is_image(tmp_path / "still.gif")
    assert not is_image(tmp_path / "moving.gif")
    assert probe(tmp_path / "moving.gif").require_video().fps == 10
    assert len(list(read_frames(tmp_path / "moving.gif"))) == 3


def test_cover_image_is_not_a_video(tmp_path):
    audio = write_wav(tmp_path / "a.wav", tone(1.0))
    Image.new("RGB", (64, 64)).save(tmp_path / "cover.png")
    path = ffmpeg("-i", audio, "-i", tmp_path / "cover.png", "-map", "0", "-map", "1", "-c:v", "copy",
                  "-disposition:v", "attached_pic", tmp_path / "song.mp3")  # fmt: skip
    assert probe(path).video is None
    with pytest.raises(InputError, match=r"song\.mp3: no video track"):
        list(read_frames(path))
    with pytest.raises(InputError, match=r"song\.mp3: no video track"):
        first_frame_time(path)


def test_unknown_video_codec_leaves_audio_readable(tmp_path):
    audio = write_wav(tmp_path / "a.wav", tone(1.0))
    content = write_video(tmp_path / "h264.mp4", [np.zeros((64, 64, 3), np.uint8)] * 5, audio=audio).read_bytes()
    (tmp_path / "new.mp4").write_bytes(content.replace(b"avc1", b"new1"))
    with pytest.raises(InputError, match="no video track that can be decoded"):
        probe(tmp_path / "new.mp4").require_video()
    assert frequency_and_amplitude(load_wav(tmp_path / "new.mp4"))[0] == 220


@pytest.mark.parametrize("suffix", [".wav", ".mkv"])
def test_missing_track_error_names_file(tmp_path, suffix):
    silent = write_video(tmp_path / "silent.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3)
    audio = ffmpeg("-i", write_wav(tmp_path / "a.wav", tone(0.5)), "-c:a", "pcm_s16le", tmp_path / f"b{suffix}")
    with pytest.raises(InputError, match=r"silent\.mp4: no audio track"):
        load_wav(silent)
    with pytest.raises(InputError, match="no video track"):
        list(read_frames(audio))


@pytest.mark.parametrize(("name", "options"), [
    ("a.ogv", ["-c:v", "libtheora", "-c:a", "libvorbis"]), ("a.webm", ["-c:v", "libvpx", "-c:a", "libopus"]),
    ("a.mkv", ["-c:v", "libx264", "-c:a", "aac"]), ("a.ts", ["-c:v", "libx264", "-c:a", "aac"]),
    ("a.mpg", ["-c:v", "mpeg2video", "-c:a", "mp2"]), ("a.avi", ["-c:v", "mpeg4", "-c:a", "pcm_s16le"]),
])  # fmt: skip
def test_joined_videos_are_read_completely(tmp_path, name, options):
    encoded = []
    for number, rate in enumerate((24_000, 24_000 if name == "a.avi" else 48_000, 24_000)):
        plain = write_wav(tmp_path / f"{number}.wav", tone(0.8, rate), rate)
        part = ffmpeg("-f", "lavfi", "-i", f"color=c={('red', 'lime', 'blue')[number]}:s=64x64:r=25:d=0.8", "-i", plain,
                      "-vf", "noise=alls=20:allf=t", *options, tmp_path / f"{number}{Path(name).suffix}")  # fmt: skip
        encoded.append(part.read_bytes())
    (tmp_path / name).write_bytes(b"".join(encoded))
    frames = list(read_frames(tmp_path / name, on_problem=lambda _: None))
    assert len(frames) == pytest.approx(60, abs=3)
    for number in range(3):
        assert frames[10 + 20 * number][32, 32].argmax() == number
    assert probe(tmp_path / name).seconds == pytest.approx(2.4, abs=0.2)
    assert has_timestamp_jumps(tmp_path / name)


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "flac"), ("a.ts", "mp2")])
@pytest.mark.parametrize("audio_seconds", [0.7, 0.85, 1.0])
def test_joined_parts_do_not_drift_apart(tmp_path, name, codec, audio_seconds):
    """Each part has 0.8 s of video with a flash in its first frames, and shorter or longer audio with a click."""
    flash = [np.full((64, 64, 3), 240 if n < 3 else 20, np.uint8) for n in range(20)]
    video = write_video(tmp_path / "v.mp4", flash)
    audio = write_wav(tmp_path / "a.wav", click(0.1, audio_seconds, 48_000), 48_000)
    part = ffmpeg("-i", video, "-i", audio, "-c:v", "copy", "-c:a", codec, tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(part * 6)
    levels = gray_levels(read_frames(tmp_path / name, 25, on_problem=lambda _: None))
    start = first_frame_time(tmp_path / name)
    wav = np.concatenate(list(read_audio(tmp_path / name, 16_000, start, on_problem=lambda _: None)))
    flash_ends = [n / 25 for n in range(1, len(levels)) if levels[n - 1] > 128 > levels[n]]
    loud = np.flatnonzero(np.abs(wav) > 0.3) / 16_000
    clicks = [time for time, previous in zip(loud, [-1, *loud], strict=False) if time - previous > 0.3]
    assert len(flash_ends) == len(clicks) == 6
    np.testing.assert_allclose(np.array(clicks) - flash_ends, 0.1 - 3 / 25, atol=0.09)
