"""Pictures, videos and sounds of every kind that people have come in right, or are refused by one sentence."""

from __future__ import annotations

import os
import struct
import subprocess
import wave
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from scipy.signal import resample_poly

from tests.conftest import tone, write_video, write_wav
from wav2lip.audio import load_wav
from wav2lip.errors import InputError
from wav2lip.media import first_frame_time, is_picture, probe, read_audio, read_frames, read_picture

MOMENT = Fraction(1, 1000)  # second: resolution of the times below


def ffmpeg(*words: object) -> Path:
    """Run FFmpeg; the last word is the file it makes."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *map(str, words)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return Path(str(words[-1]))


def timed_video(path: Path, times: list[float], levels: list[int], rate: int = 25, codec: str = "libx264") -> Path:
    """A video of grey 64 x 64 frames, each with an exact time in seconds."""
    with av.open(str(path), "w") as file:
        video = file.add_stream(codec, rate=rate, options={"crf": "5", "preset": "ultrafast"})
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        video.time_base = video.codec_context.time_base = MOMENT
        for time, level in zip(times, levels, strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8), "rgb24")
            frame.pts, frame.time_base = round(time * 1000), MOMENT
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
    return path


def timed_sound(path: Path, parts: list[tuple[float, np.ndarray]], rate: int = 16_000, picture: bool = True) -> Path:
    """Uncompressed sound whose parts begin at times in seconds, beside a video from 0 on."""
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25) if picture else None
        audio = file.add_stream("pcm_s16le", rate=rate, layout="mono")
        if video is not None:
            video.width = video.height = 64
            for n in range(5):
                picture = av.VideoFrame(64, 64, "yuv420p")
                picture.pts, picture.time_base = n, Fraction(1, 25)
                file.mux(video.encode(picture))
            file.mux(video.encode(None))
        for begin, samples in parts:
            for start in range(0, len(samples), 512):
                block = np.rint(samples[start : start + 512] * 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(block[None], "s16", "mono")
                frame.rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(begin * rate) + start
                file.mux(audio.encode(frame))
        file.mux(audio.encode(None))
    return path


def click(at: float, seconds: float, rate: int = 16_000) -> np.ndarray:
    """Silence with a loud millisecond."""
    wav = np.zeros(round(seconds * rate))
    wav[round(at * rate) : round((at + 0.001) * rate)] = 0.9
    return wav


def loudest(wav: np.ndarray) -> float:
    """Time of the largest sample in seconds, at 16 kHz."""
    return int(np.abs(wav).argmax()) / 16_000


def hertz_and_level(wav: np.ndarray) -> tuple[float, float]:
    """Frequency and amplitude of a tone at 16 kHz, from its middle half second."""
    middle = wav[len(wav) // 2 - 4000 : len(wav) // 2 + 4000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return float(spectrum.argmax() * 2.0), float(middle.std() * 2**0.5)


def levels_of(frames) -> list[int]:
    """Grey level at the middle of each frame."""
    return [int(frame[frame.shape[0] // 2, frame.shape[1] // 2].mean().round()) for frame in frames]


# Sound -------------------------------------------------------------------------------------------------------------

SOUNDS = {
    "8 kHz, 8 bit": ("a.wav", 8_000, ["-c:a", "pcm_u8"]),
    "22 kHz": ("a.wav", 22_050, []),
    "44.1 kHz": ("a.wav", 44_100, []),
    "48 kHz, 24 bit": ("a.wav", 48_000, ["-c:a", "pcm_s24le"]),
    "96 kHz, 32 bit": ("a.wav", 96_000, ["-c:a", "pcm_s32le"]),
    "float": ("a.wav", 48_000, ["-c:a", "pcm_f32le"]),
    "double": ("a.wav", 44_100, ["-c:a", "pcm_f64le"]),
    "AIFF": ("a.aiff", 44_100, []),
    "FLAC": ("a.flac", 44_100, []),
    "MP3": ("a.mp3", 44_100, ["-c:a", "libmp3lame"]),
    "Vorbis": ("a.ogg", 44_100, ["-c:a", "libvorbis"]),
    "Opus": ("a.opus", 48_000, ["-c:a", "libopus"]),
    "AAC": ("a.m4a", 44_100, ["-c:a", "aac"]),
    "AAC alone": ("a.aac", 44_100, ["-c:a", "aac"]),
    "WMA": ("a.wma", 44_100, []),
    "AMR-like mono video": ("a.mkv", 8_000, ["-c:a", "pcm_mulaw"]),
}


@pytest.mark.parametrize(("name", "rate", "options"), SOUNDS.values(), ids=SOUNDS.keys())
def test_a_tone_of_any_rate_depth_and_codec_keeps_its_pitch_level_and_length(tmp_path, name, rate, options):
    plain = write_wav(tmp_path / "plain.wav", 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate), rate)
    wav = load_wav(ffmpeg("-i", plain, *options, tmp_path / name))
    hertz, level = hertz_and_level(wav)
    assert hertz == 440
    assert level == pytest.approx(0.5, rel=0.06 if name == "a.mp3" else 0.01)  # LAME's own loss at 64 kbit/s
    assert wav.dtype == np.float32
    assert len(wav) == pytest.approx(32_000, abs=16_000 * 0.1)  # AAC on its own and WMA carry their padding


@pytest.mark.parametrize(("name", "options"), [
    ("a.wav", []), ("a.flac", []), ("a.mp3", ["-c:a", "libmp3lame"]), ("a.ogg", ["-c:a", "libvorbis"]),
    ("a.opus", ["-c:a", "libopus", "-ar", "48000"]), ("a.m4a", ["-c:a", "aac"]), ("a.mov", ["-c:a", "pcm_s16le"]),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_a_click_is_heard_when_it_was_whatever_the_codec(tmp_path, name, options):
    plain = write_wav(tmp_path / "plain.wav", click(0.7, 1.5, 44_100), 44_100)
    assert loudest(load_wav(ffmpeg("-i", plain, *options, tmp_path / name))) == pytest.approx(0.7005, abs=0.004)


def test_six_channels_become_their_mean(tmp_path):
    shares = np.array([0.6, 0.0, 0.3, 0.0, 0.0, 0.0])  # of the same tone; the mean is 0.9 / 6 = 0.15
    samples = np.sin(2 * np.pi * 300 * np.arange(48_000) / 48_000)[:, None] * shares
    plain = write_wav(tmp_path / "six.wav", samples, 48_000)
    surround = ffmpeg("-i", plain, "-af", "pan=5.1|" + "|".join(f"c{n}=c{n}" for n in range(6)), tmp_path / "a.flac")
    assert probe(surround).require_audio().channels == 6
    hertz, level = hertz_and_level(load_wav(surround))
    assert (hertz, level) == (300, pytest.approx(0.15, rel=0.01))


def test_bytes_of_8_bit_sound_have_their_silence_at_128(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 1, 16_000, 0, "NONE", ""))
        file.writeframes(bytes([0, 64, 128, 192]))
    assert load_wav(tmp_path / "a.wav").tolist() == [-1, -0.5, 0, 0.5]


def test_24_bit_sound_is_exact(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 3, 16_000, 0, "NONE", ""))
        file.writeframes(b"".join(value.to_bytes(3, "little", signed=True) for value in (-(2**23), 2**22, 1, 0)))
    assert load_wav(tmp_path / "a.wav").tolist() == [-1, 0.5, 2**-23, 0]


def test_resampled_speechlike_sound_agrees_with_scipy(tmp_path):
    rng = np.random.default_rng(0)
    smooth = np.convolve(rng.normal(size=96_000), np.hanning(24), "same")  # little above 4 kHz
    smooth *= 0.5 / np.abs(smooth).max()
    wav = load_wav(write_wav(tmp_path / "a.wav", smooth, 48_000))
    expected = resample_poly(smooth, 1, 3)
    assert len(wav) == 32_000
    assert np.abs(wav - expected)[100:-100].max() < 0.002


def test_sound_that_begins_after_the_container_is_kept_in_its_place(tmp_path):
    wav = load_wav(timed_sound(tmp_path / "late.mkv", [(0.5, click(0.25, 1.0))]))
    assert (len(wav), loudest(wav)) == (24_000, pytest.approx(0.75, abs=0.001))
    assert not wav[:8000].any()


def test_a_gap_in_the_sound_is_silence_and_what_follows_keeps_its_time(tmp_path):
    path = timed_sound(tmp_path / "gap.mkv", [(0.0, tone(0.5)), (2.0, click(0.2, 0.5))])
    wav = load_wav(path)
    assert (len(wav), loudest(wav)) == (40_000, pytest.approx(2.2, abs=0.001))
    assert not wav[8000:32_000].any()


def test_times_rounded_to_a_millisecond_move_no_sample(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 44_100)
    path = timed_sound(tmp_path / "jitter.mkv", [(0.0, samples)], 44_100)  # Matroska counts in milliseconds
    read = np.concatenate(list(read_audio(path, 44_100)))
    np.testing.assert_array_equal(np.rint(read * 32_768), np.rint(samples * 32_767))


def test_two_recordings_in_one_stream_are_both_heard(tmp_path):
    part = ffmpeg("-i", write_wav(tmp_path / "a.wav", tone(2.0)), "-c:a", "aac", tmp_path / "a.ts").read_bytes()
    (tmp_path / "both.ts").write_bytes(part + part)  # times begin again in the middle
    assert len(load_wav(tmp_path / "both.ts")) == pytest.approx(64_000, abs=4000)


def test_of_two_tracks_of_sound_the_first_is_heard(tmp_path):
    low, high = (write_wav(tmp_path / f"{f}.wav", tone(1.5, hertz=f)) for f in (300, 900))
    both = ffmpeg("-i", low, "-i", high, "-map", "0", "-map", "1", "-c:a", "pcm_s16le", tmp_path / "both.mkv")
    assert hertz_and_level(load_wav(both))[0] == 300


@pytest.mark.parametrize("samples", [0, 1, 100])
def test_next_to_no_sound_is_read_as_it_is(tmp_path, samples):
    assert len(load_wav(write_wav(tmp_path / "a.wav", np.zeros(samples)))) == samples


def test_silence_is_zeros(tmp_path):
    wav = load_wav(write_wav(tmp_path / "a.wav", np.zeros(44_100), 44_100))
    assert len(wav) == 16_000
    assert not wav.any()


def test_a_cut_wav_gives_the_samples_that_are_there(tmp_path):
    whole = write_wav(tmp_path / "a.wav", tone(1.0)).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: 44 + 16_000])  # half of the samples
    assert len(load_wav(tmp_path / "cut.wav")) == 8000


# Video -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["24000/1001", "24", "25", "30000/1001", "30", "50", "60"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_frame_rate_is_exact(tmp_path, rate, suffix):
    path = ffmpeg("-f", "lavfi", "-i", f"color=gray:s=64x64:r={rate}:d=1", tmp_path / f"a{suffix}")
    assert probe(path).require_video().fps == Fraction(rate)


@pytest.mark.parametrize("rate", [24, 30, 50, 60])
@pytest.mark.parametrize("wanted", [25, 30])
def test_a_resampled_video_shows_the_frame_nearest_in_time(tmp_path, rate, wanted):
    levels = [20 + 3 * n for n in range(rate)]
    path = timed_video(tmp_path / "a.mkv", [n / rate for n in range(rate)], levels, rate)
    shown = levels_of(read_frames(path, wanted))
    assert len(shown) == pytest.approx(wanted, abs=1)
    for n, level in enumerate(shown):
        source = (level - 20) / 3
        assert abs(source / rate - n / wanted) <= 0.5 / rate + 0.002 + 1 / 3 / rate  # a level may be off by one


def test_a_variable_frame_rate_is_resampled_by_its_times(tmp_path):
    rng = np.random.default_rng(3)
    times = np.cumsum([0, *rng.choice([0.02, 0.033, 0.067, 0.25], 39)]).round(3)
    levels = [30 + 5 * n for n in range(40)]
    path = timed_video(tmp_path / "phone.mkv", times.tolist(), levels)
    shown = levels_of(read_frames(path, 25))
    assert len(shown) == pytest.approx(times[-1] * 25, abs=3)
    for n, level in enumerate(shown[: int(times[-1] * 25)]):
        nearest = np.abs(times - n / 25).min()
        assert abs(times[round((level - 30) / 5)] - n / 25) <= nearest + 0.0021, n


def test_without_a_rate_every_frame_comes_once(tmp_path):
    levels = [30, 80, 120, 200]
    path = timed_video(tmp_path / "a.mp4", [0.0, 0.1, 0.9, 1.0], levels)
    assert levels_of(read_frames(path)) == pytest.approx(levels, abs=2)


def without_rate(path: Path) -> Path:
    """The WebM with its default duration of a frame blanked, as browsers record it."""
    content = path.read_bytes()
    at = content.index(b"\x23\xe3\x83")  # DefaultDuration, then a byte 0x80 + its length
    void = bytes([0xEC, content[at + 3] + 2])
    path.write_bytes(content[:at] + void + content[at + 2 :])
    return path


def test_frames_are_counted_where_a_webm_states_no_rate(tmp_path):
    times = np.arange(90) / 30 + np.random.default_rng(0).uniform(0, 0.02, 90)
    path = without_rate(timed_video(tmp_path / "a.webm", times.tolist(), [90] * 90, codec="libvpx"))
    with av.open(str(path)) as file:
        assert (file.streams.video[0].average_rate, file.streams.video[0].guessed_rate) == (None, 1000)
    video = probe(path).require_video()
    assert video.fps == video.mean_fps
    assert float(video.fps) == pytest.approx(30, abs=0.3)
    assert len(list(read_frames(path, 25))) == 75


def test_a_single_picture_without_a_rate_is_taken_for_25_a_second(tmp_path):
    path = without_rate(timed_video(tmp_path / "a.webm", [0.0], [90], codec="libvpx"))
    assert probe(path).require_video().fps == 25
    assert levels_of(read_frames(path, 25)) == [pytest.approx(90, abs=2)]


def test_pictures_and_sound_of_two_recordings_in_one_stream_go_on_together(tmp_path):
    parts = []
    for level in (60, 180):
        sound = write_wav(tmp_path / "a.wav", click(1.5 if level == 180 else 3, 2.0, 48_000), 48_000)
        video = write_video(tmp_path / "a.mp4", [np.full((64, 64, 3), level, np.uint8)] * 50, audio=sound)
        parts.append(ffmpeg("-i", video, "-c", "copy", tmp_path / "a.ts").read_bytes())
    (tmp_path / "both.ts").write_bytes(b"".join(parts))  # times begin again in the middle
    told: list[str] = []
    shown = levels_of(read_frames(tmp_path / "both.ts", 25, told.append))
    assert shown == pytest.approx([60] * 50 + [180] * 50, abs=2)
    start = first_frame_time(tmp_path / "both.ts")
    wav = np.concatenate(list(read_audio(tmp_path / "both.ts", 16_000, start, told.append)))
    assert loudest(wav) == pytest.approx(3.5, abs=0.05)  # AAC fills its blocks of 21 ms at the joint
    assert [sentence.split(": ", 1)[1] for sentence in told] == [
        f"times of its {kind} begin anew or leap, 1 in all; it goes on there without a pause"
        for kind in ("video", "audio")
    ]


@pytest.mark.parametrize("leap", [7200.0, -7200.0])
def test_a_time_that_leaps_by_hours_does_not_stretch_the_video(tmp_path, leap):
    times = [10_000 + n / 25 for n in range(20)]
    times[10:] = [time + leap for time in times[10:]]
    levels = [20 + 10 * n for n in range(20)]
    parts = [timed_video(tmp_path / f"{n}.ts", times[n : n + 10], levels[n : n + 10]) for n in (0, 10)]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    told: list[str] = []
    assert levels_of(read_frames(tmp_path / "a.ts", 25, told.append)) == pytest.approx(levels, abs=2)
    assert len(told) == 1 and "begin anew or leap, 1 in all" in told[0]


def test_frames_whose_times_go_back_a_little_are_left_out_and_counted(tmp_path):
    parts = [timed_video(tmp_path / f"{n}.ts", [10 + (n + m) / 25 for m in range(10)], [40 + n] * 10) for n in (0, 7)]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    told: list[str] = []
    assert len(list(read_frames(tmp_path / "a.ts", 25, told.append))) == 17
    assert [sentence.split(": ", 1)[1] for sentence in told] == ["3 frames of video whose times go back were left out"]


def test_a_video_of_one_frame_is_one_frame(tmp_path):
    path = write_video(tmp_path / "one.mp4", [np.full((64, 64, 3), 90, np.uint8)])
    assert levels_of(read_frames(path, probe(path).require_video().fps)) == [pytest.approx(90, abs=2)]


@pytest.mark.parametrize(("suffix", "options", "expected"), [
    (".avi", [], 0.0), (".mkv", [], 0.0), (".mp4", ["-output_ts_offset", "0.4"], 0.4),
])  # fmt: skip
def test_the_time_of_the_first_frame_is_that_at_which_it_is_shown(tmp_path, suffix, options, expected):
    path = ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x64:r=25:d=1", "-c:v", "libx264", *options, tmp_path / f"a{suffix}")
    assert first_frame_time(path) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize(("size", "matrix", "tagged"), [
    ("1280x720", "bt709", True), ("1280x720", "smpte170m", True), ("1280x720", "bt709", False),
    ("256x256", "bt709", True), ("256x256", "smpte170m", True), ("256x256", "smpte170m", False),
])  # fmt: skip
def test_colours_are_those_that_players_show(tmp_path, size, matrix, tagged):
    Image.new("RGB", tuple(map(int, size.split("x"))), (200, 40, 40)).save(tmp_path / "a.png")
    yuv = ffmpeg("-i", tmp_path / "a.png", "-vf", f"scale=out_color_matrix={matrix}:out_range=tv", "-pix_fmt",
                 "yuv420p", tmp_path / "a.yuv")  # fmt: skip
    number = {"bt709": 1, "smpte170m": 6}[matrix]
    tags = ["-bsf:v", f"h264_metadata=matrix_coefficients={number}"] if tagged else []
    path = ffmpeg("-f", "rawvideo", "-s", size, "-i", yuv, "-c:v", "libx264", "-crf", "5", *tags, tmp_path / "a.mp4")
    with av.open(str(path)) as file:
        assert next(file.decode(video=0)).colorspace == (number if tagged else 2)
    assert np.abs(next(read_frames(path))[100, 100].astype(int) - (200, 40, 40)).max() <= 3


def test_a_large_picture_in_rgb_keeps_its_colours(tmp_path):
    frames = [Image.new("RGB", (1280, 720), colour) for colour in ((200, 40, 40), (40, 200, 40))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert next(read_frames(tmp_path / "a.gif"))[100, 100].tolist() == pytest.approx([200, 40, 40], abs=2)


@pytest.mark.parametrize("pixels", ["gray", "yuv444p", "yuv420p10le", "yuvj420p"])
def test_grey_deep_and_full_range_video_keep_their_grey(tmp_path, pixels):
    picture = tmp_path / "grey.png"
    Image.new("RGB", (64, 64), (150, 150, 150)).save(picture)
    codec = ["-c:v", "ffv1"] if pixels != "yuvj420p" else ["-c:v", "mjpeg", "-q:v", "1"]
    path = ffmpeg("-i", picture, *codec, "-pix_fmt", pixels, tmp_path / "a.mkv")
    assert levels_of(read_frames(path)) == [pytest.approx(150, abs=2)]


def test_odd_sizes_are_read_whole(tmp_path):
    picture = np.zeros((51, 37, 3), np.uint8)
    picture[-1], picture[:, -1] = 200, 200
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    frame = next(read_frames(ffmpeg("-i", tmp_path / "a.png", "-c:v", "ffv1", "-pix_fmt", "bgr0", tmp_path / "a.mkv")))
    np.testing.assert_array_equal(frame, picture)


@pytest.mark.parametrize(("degrees", "corner"), [(90, (-1, 0)), (180, (-1, -1)), (270, (0, -1))])
def test_a_video_that_notes_its_rotation_is_turned(tmp_path, degrees, corner):
    frame = np.full((64, 96, 3), 20, np.uint8)
    frame[:16, :16] = 230  # top left; counter-clockwise by 90 degrees that is the bottom left
    flat = write_video(tmp_path / "flat.mp4", [frame] * 2)
    turned = next(read_frames(ffmpeg("-display_rotation", degrees, "-i", flat, "-c", "copy", tmp_path / "phone.mp4")))
    assert turned.shape == ((64, 96, 3) if degrees == 180 else (96, 64, 3))
    row, column = (index * 8 + (8 if index == 0 else 0) for index in corner)
    assert turned[row, column].mean() > 200


def test_an_animation_is_a_video_and_a_still_of_the_same_format_a_picture(tmp_path):
    frames = [Image.new("RGB", (32, 32), (level, 0, 0)) for level in (50, 100, 150)]
    frames[0].save(tmp_path / "still.gif")
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:], duration=100)
    assert is_picture(tmp_path / "still.gif")
    assert not is_picture(tmp_path / "moving.gif")
    assert probe(tmp_path / "moving.gif").require_video().fps == 10
    assert len(list(read_frames(tmp_path / "moving.gif"))) == 3


def test_the_cover_of_a_song_is_no_video(tmp_path):
    song = write_wav(tmp_path / "a.wav", tone(1.0))
    Image.new("RGB", (64, 64)).save(tmp_path / "cover.png")
    path = ffmpeg("-i", song, "-i", tmp_path / "cover.png", "-map", "0", "-map", "1", "-c:v", "copy",
                  "-disposition:v", "attached_pic", tmp_path / "song.mp3")  # fmt: skip
    assert probe(path).video is None
    with pytest.raises(InputError, match=r"song\.mp3: has no video track"):
        list(read_frames(path))
    with pytest.raises(InputError, match=r"song\.mp3: has no video track"):
        first_frame_time(path)


def test_a_video_codec_that_nobody_knows_is_no_video_but_its_sound_is_read(tmp_path):
    sound = write_wav(tmp_path / "a.wav", tone(1.0))
    known = write_video(tmp_path / "known.mp4", [np.zeros((64, 64, 3), np.uint8)] * 5, audio=sound).read_bytes()
    (tmp_path / "new.mp4").write_bytes(known.replace(b"avc1", b"new1"))
    with pytest.raises(InputError, match="has no video track that can be decoded"):
        probe(tmp_path / "new.mp4").require_video()
    assert hertz_and_level(load_wav(tmp_path / "new.mp4"))[0] == 220


@pytest.mark.parametrize("suffix", [".wav", ".mkv"])
def test_a_file_without_video_and_one_without_sound_say_so(tmp_path, suffix):
    silent = write_video(tmp_path / "silent.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3)
    sound = ffmpeg("-i", write_wav(tmp_path / "a.wav", tone(0.5)), "-c:a", "pcm_s16le", tmp_path / f"b{suffix}")
    with pytest.raises(InputError, match=r"silent\.mp4: has no audio track.*give a file with sound"):
        load_wav(silent)
    with pytest.raises(InputError, match="has no video track.*give a video or a picture"):
        list(read_frames(sound))


# Damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a.wav", "a.png", "a.jpg", "a.mp3", "a.mkv", "a.gif", "no dot"])
@pytest.mark.parametrize("content", [b"", b"Dear diary,\n" * 30], ids=["empty", "text"])
def test_an_empty_or_a_text_file_of_any_name_is_refused_in_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert not is_picture(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: is (empty|not audio or video)") as caught:
        probe(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("path", "says"), [
    (".", "is a folder; give a file"), ("none.mp4", "no such file"), ("file/below.mp4", "no such file"),
    ("x" * 300 + ".mp4", "File name too long"), ("a\0b.mp4", "no such file|null"),
], ids=["folder", "missing", "below a file", "too long", "zero byte"])  # fmt: skip
def test_a_path_that_is_no_file_is_refused(tmp_path, path, says):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=says):
        probe(tmp_path / path)


def test_a_recording_that_was_never_finished_is_refused(tmp_path):
    frames = list(np.random.default_rng(0).integers(0, 255, (25, 64, 64, 3), np.uint8))
    moov_last = ffmpeg("-i", write_video(tmp_path / "a.mp4", frames), "-c", "copy", tmp_path / "last.mp4").read_bytes()
    assert moov_last.index(b"mdat") < moov_last.index(b"moov")
    (tmp_path / "cut.mp4").write_bytes(moov_last[: len(moov_last) // 2])
    with pytest.raises(InputError, match=r"cut\.mp4: is not audio or video, or is damaged"):
        probe(tmp_path / "cut.mp4")


def test_bytes_damaged_in_the_middle_are_reported_and_passed(tmp_path):
    frames = list(np.random.default_rng(0).integers(0, 255, (25, 64, 64, 3), np.uint8))
    content = bytearray(write_video(tmp_path / "a.mp4", frames).read_bytes())
    with av.open(str(tmp_path / "a.mp4")) as file:
        places = [(packet.pos, packet.size) for packet in file.demux(video=0) if packet.size]
    for start, size in places[10:13]:
        content[start : start + size] = bytes(size)
    (tmp_path / "b.mp4").write_bytes(content)
    told: list[str] = []
    assert 10 <= sum(1 for _ in read_frames(tmp_path / "b.mp4", on_problem=told.append)) < 25
    assert len(told) == 1
    assert "damaged packets of video were left out" in told[0]


NAMES = ["two words.mp4", "it's \"quoted\".mp4", "日本 é.mp4", "-dash.mp4", "100%03d.mp4", "nodot", "a.b.c.mp4",
         "http:x.mp4", "[1]*?.mp4", "a;b&c$d.mp4"]  # fmt: skip
if not os.path.supports_unicode_filenames:  # names are bytes
    NAMES.append(os.fsdecode(b"caf\xe9.mp4"))


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_name_is_read(tmp_path, monkeypatch, name):
    sound = write_wav(tmp_path / "a.wav", tone(0.2))
    write_video(tmp_path / "plain.mp4", [np.zeros((64, 64, 3), np.uint8)] * 5, audio=sound).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)  # so that the name stands alone
    assert len(list(read_frames(name))) == 5
    assert len(load_wav(name)) == pytest.approx(3200, abs=1100)


# Pictures ----------------------------------------------------------------------------------------------------------


def test_what_is_transparent_becomes_white(tmp_path):
    picture = np.zeros((2, 3, 4), np.uint8)
    picture[:, 0], picture[:, 1] = (200, 100, 50, 255), (0, 0, 0, 128)  # opaque, half, nothing
    Image.fromarray(picture, "RGBA").save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png")[0].tolist() == [[200, 100, 50], [127] * 3, [255] * 3]


def test_a_palette_with_a_transparent_colour_becomes_white_there(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.save(tmp_path / "a.png", transparency=1)
    assert read_picture(tmp_path / "a.png")[0].tolist() == [[10, 20, 30], [255, 255, 255]]


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
@pytest.mark.parametrize(("channels", "expected"), [(1, [128, 128, 128]), (3, [16, 64, 128])])
def test_16_bit_pictures_keep_their_upper_8_bits(tmp_path, name, channels, expected):
    blue_green_red = np.array([0x8000, 0x4000, 0x1000][:channels], np.uint16)
    cv2.imwrite(str(tmp_path / name), np.tile(blue_green_red, (4, 5, 1)))
    picture = read_picture(tmp_path / name)
    assert (picture.shape, picture.dtype) == ((4, 5, 3), np.uint8)
    assert picture[0, 0].tolist() == expected


@pytest.mark.parametrize("mode", ["1", "L", "LA", "CMYK", "YCbCr"])
def test_grey_and_print_pictures_become_rgb(tmp_path, mode):
    white = {"1": 1, "L": 255, "LA": (255, 255), "CMYK": (0, 0, 0, 0), "YCbCr": (255, 128, 128)}[mode]
    name = "a.jpg" if mode in {"CMYK", "YCbCr"} else "a.png"
    Image.new(mode, (16, 8), white).save(tmp_path / name)
    picture = read_picture(tmp_path / name)
    assert picture.shape == (8, 16, 3)
    assert picture.min() > 250


@pytest.mark.parametrize(("orientation", "corner"), [
    (1, "top left"), (2, "top right"), (3, "bottom right"), (4, "bottom left"),
    (5, "top left"), (6, "top right"), (7, "bottom right"), (8, "bottom left"),
])  # fmt: skip
def test_a_photo_is_turned_as_its_exif_says(tmp_path, orientation, corner):
    pixels = np.zeros((40, 64, 3), np.uint8)
    pixels[:16, :16] = 255  # top left of what is stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.shape == ((40, 64, 3) if orientation < 5 else (64, 40, 3))
    row, column = (-8 if "bottom" in corner else 8), (-8 if "right" in corner else 8)
    assert picture[row, column].min() > 240


def test_a_phone_photo_that_carries_a_second_picture_is_a_picture(tmp_path):
    first, second = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (16, 16), "blue")
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert is_picture(tmp_path / "a.jpg")
    assert read_picture(tmp_path / "a.jpg")[16, 16].tolist() == pytest.approx([255, 0, 0], abs=3)


def test_a_bare_mpeg_stream_is_a_video(tmp_path):
    path = ffmpeg("-f", "lavfi", "-i", "color=gray:s=64x64:r=25:d=0.2", "-f", "mpeg1video", tmp_path / "a.m1v")
    assert not is_picture(path)
    assert len(list(read_frames(path))) == 5


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_picture_that_breaks_off_is_refused(tmp_path, name):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"is not a whole picture \(.*\); save it again as PNG or JPEG"):
        read_picture(tmp_path / name)


def test_a_picture_of_billions_of_pixels_is_refused_before_it_is_unpacked(tmp_path):
    def chunk(name: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    assert is_picture(tmp_path / "bomb.png")
    with pytest.raises(InputError, match=r"bomb\.png: is not a whole picture .*exceeds limit"):
        read_picture(tmp_path / "bomb.png")
