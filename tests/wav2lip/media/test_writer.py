"""VideoWriter writes complete files atomically, or fails with an explanation and leaves nothing."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from tests.helpers.media import GRAY, decode_audio, delay, noise, tone, write_wav
from wav2lip.errors import InputError
from wav2lip.media import Encoding, read_frames
from wav2lip.media.writer import CONTAINERS, VideoWriter


def write_video(
    path: Path,
    frames: list[np.ndarray],
    fps: Fraction | float = 25,
    audio: Path | None = None,
    crf: float | None = None,
) -> Path:
    with VideoWriter(path, fps, audio, Encoding(crf=crf)) as video:
        for frame in frames:
            video.write(frame)
    return path


def decode(path: Path) -> np.ndarray:
    """Decode with PyAV as (N, H, W, 3) uint8 RGB."""
    with av.open(str(path.resolve())) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


@pytest.fixture
def fake_ffmpeg(tmp_path, monkeypatch):
    """Put a shell script in place of FFmpeg in PATH."""

    def install(script: str) -> None:
        path = tmp_path / "bin" / "ffmpeg"
        path.parent.mkdir()
        path.write_text(script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")

    return install


@pytest.fixture
def old_result(tmp_path):
    """An existing result, which a failure must leave unchanged with no file beside it."""
    path = tmp_path / "results" / "result.mp4"
    path.parent.mkdir()
    path.write_bytes(b"an older result")
    yield path
    assert path.read_bytes() == b"an older result"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("rate", ["24000/1001", "25", "30000/1001", "30", "50", "60", "15/2"])
def test_frames_have_exact_timestamps(tmp_path, rate):
    path = write_video(tmp_path / "a.mp4", [GRAY] * 30, Fraction(rate))
    with av.open(str(path)) as file:
        times = [frame.time for frame in file.decode(video=0)]
        assert file.streams.video[0].average_rate == Fraction(rate)
    assert times == pytest.approx([n / Fraction(rate) for n in range(30)], abs=1e-4)


@pytest.mark.parametrize("color", [(200, 40, 40), (40, 200, 40), (40, 40, 200), (255, 255, 255), (0, 0, 0)])
def test_colors_are_preserved(tmp_path, color):
    frames = decode(write_video(tmp_path / "a.mkv", [np.full((64, 64, 3), color, np.uint8)] * 3))
    assert np.abs(frames.astype(int) - color).max() <= 4  # 3 with a slower preset


@pytest.mark.parametrize(("height", "width", "matrix"), [(720, 1280, 1), (256, 256, 6)])
def test_color_tags_match_the_defaults_of_players(tmp_path, height, width, matrix):
    path = write_video(tmp_path / "a.mp4", [np.full((height, width, 3), (200, 40, 40), np.uint8)])
    with av.open(str(path)) as file:
        (frame,) = file.decode(video=0)
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (matrix, 1, 1, 1)
    pixel = next(read_frames(path))[100, 100]
    assert np.abs(pixel.astype(int) - (200, 40, 40)).max() <= 3


@pytest.mark.parametrize(("height", "width"), [(63, 64), (64, 63), (61, 47), (1, 1)])
def test_odd_sizes_are_padded(tmp_path, height, width):
    frame = np.full((height, width, 3), 60, np.uint8)
    frame[-1], frame[:, -1] = 180, 180
    (decoded,) = decode(write_video(tmp_path / "a.mp4", [frame]))
    expected = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_container_has_video_and_audio(tmp_path, suffix):
    audio = write_wav(tmp_path / "a.wav", noise(1.0))
    path = write_video(tmp_path / f"a{suffix.upper()}", [GRAY] * 25, audio=audio)
    assert len(decode(path)) == 25
    assert abs(delay(decode_audio(path), noise(1.0))) < 0.005


def test_avi_has_no_b_frames(tmp_path):
    noise_frames = list(np.random.default_rng(0).integers(100, 130, (20, 64, 64, 3), np.uint8))
    path = write_video(tmp_path / "a.avi", noise_frames, audio=write_wav(tmp_path / "a.wav", noise(0.8)))
    with av.open(str(path)) as file:
        assert not [frame for frame in file.decode(video=0) if frame.pict_type == av.video.frame.PictureType.B]


@pytest.mark.parametrize("options", [[], ["-ar", "44100", "-ac", "6"], ["-ar", "8000"]], ids=["16", "44.1x6", "8"])
def test_audio_is_in_sync(tmp_path, options):
    plain, audio = write_wav(tmp_path / "a.wav", noise(2.0)), tmp_path / "b.wav"
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", plain, *options, audio], check=True)
    wav = decode_audio(write_video(tmp_path / "a.mp4", [GRAY] * 50, audio=audio))
    assert abs(delay(wav, noise(2.0))) < 0.005
    assert len(wav) / 16_000 == pytest.approx(2.0, abs=0.07)


def test_only_the_first_audio_track_is_written(tmp_path):
    low, high = (write_wav(tmp_path / f"{f}.wav", tone(1.0, hertz=f)) for f in (300, 900))
    two_tracks = tmp_path / "both.mkv"
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", low, "-i", high, "-map", "0",
                    "-map", "1", two_tracks], check=True)  # fmt: skip
    path = write_video(tmp_path / "a.mp4", [GRAY] * 25, audio=two_tracks)
    with av.open(str(path)) as file:
        assert len(file.streams.audio) == 1
    spectrum = np.abs(np.fft.rfft(decode_audio(path)[4000:12_000]))
    assert spectrum.argmax() * 2 == 300


@pytest.mark.parametrize("name", [
    "two words.mp4", "it's \"quoted\".mp4", "日本 é.mp4", "-dash.mp4", "100%03d.mp4", "[1]*?.mp4", "a;b&c$d.mp4",
    "http:x.mp4", "-i.mp4",
], ids=ascii)  # fmt: skip
def test_any_file_name_is_written(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)  # the name is used as a relative path
    audio = write_wav(tmp_path / f"{name}.wav", noise(0.4))
    write_video(Path(name), [GRAY] * 10, audio=Path(audio.name))
    assert len(list(Path().iterdir())) == 2
    assert len(decode(Path(name))) == 10
    assert abs(delay(decode_audio(Path(name)), noise(0.4))) < 0.04


@pytest.mark.skipif(os.path.supports_unicode_filenames, reason="every name is Unicode")
@pytest.mark.parametrize("names", [("a.mp4", b"caf\xe9.wav"), (b"caf\xe9.mp4", "a.wav")], ids=ascii)
def test_non_unicode_name_is_rejected_on_entry(tmp_path, names):
    path, audio = (tmp_path / os.fsdecode(name) for name in names)
    write_wav(audio, noise(0.4))
    with pytest.raises(InputError, match="not valid Unicode"), VideoWriter(path, 25, audio):
        pytest.fail("entered the context")


def test_missing_folders_are_created(tmp_path):
    assert len(decode(write_video(tmp_path / "a" / "b" / "c.mp4", [GRAY]))) == 1


def test_exception_leaves_the_older_result(old_result):
    with pytest.raises(ZeroDivisionError), VideoWriter(old_result, 25) as video:
        for _ in range(50):
            video.write(GRAY)
        raise ZeroDivisionError


def test_finished_result_replaces_the_older_one(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"old")
    assert len(decode(write_video(tmp_path / "a.mp4", [GRAY] * 2))) == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "a.mp4"]


def test_check_of_the_audio_can_be_stopped(old_result):
    """As by the cancellation of a job: a file of a few kB may take a minute to decode."""
    audio, packets = old_result.parent.parent / "audio.flac", []
    wav = write_wav(audio.with_suffix(".wav"), tone(4.0))
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", wav, audio], check=True)

    def stop_at_third_packet() -> None:
        packets.append(None)
        if len(packets) == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), VideoWriter(old_result, 25, audio, on_packet=stop_at_third_packet) as video:
        video.write(GRAY)
    assert len(packets) == 3


def test_no_frames_is_an_error(old_result):
    with pytest.raises(InputError, match="no frame to write"):
        write_video(old_result, [])


@pytest.mark.parametrize("name", ["a.xyz", "no dot", "a.png", "a.m3u8", "a.wav", ".mp4", "", "."])
def test_other_suffix_is_rejected_at_construction(tmp_path, name):
    with pytest.raises(InputError, match=r"must be a video file name.*\.mp4"):
        VideoWriter(tmp_path / name if name.strip(".") else name, 25)
    assert not list(tmp_path.iterdir())


def test_folder_of_that_name_is_rejected_on_entry(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(InputError, match=r"a\.mp4: is a folder"), VideoWriter(tmp_path / "a.mp4", 25):
        pytest.fail("entered the context")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.mp4"]


def test_invalid_folder_is_rejected_on_entry(tmp_path):
    (tmp_path / "file").write_text("")
    writer = VideoWriter(tmp_path / "file" / "a.mp4", 25)
    with pytest.raises(InputError, match="cannot be written .*choose another"), writer:
        pytest.fail("entered the context")


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write into any folder")
def test_read_only_folder_is_rejected_on_entry(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"), VideoWriter(tmp_path / "a.mp4", 25):
        pytest.fail("entered the context")


def test_ffmpeg_failure_while_writing_is_reported(old_result, fake_ffmpeg):
    fake_ffmpeg("#!/bin/sh\nhead -c 9000 > /dev/null\necho '[out#0 @ 0x1] No space left on device' >&2\n"
                "echo 'Conversion failed!' >&2\nexit 1\n")  # fmt: skip
    with pytest.raises(InputError, match=r"result\.mp4: .*\(No space left on device; Conversion failed!\)"):
        write_video(old_result, [GRAY] * 500)


def test_ffmpeg_failure_at_the_end_leaves_no_file(old_result, fake_ffmpeg):
    fake_ffmpeg("#!/bin/sh\ncat > /dev/null\nexit 3\n")
    with pytest.raises(InputError, match="exit code 3"):
        write_video(old_result, [GRAY] * 3)


def test_ffmpeg_that_cannot_be_executed_is_named(old_result, fake_ffmpeg):
    fake_ffmpeg("\x7fELF, but not really")
    with pytest.raises(InputError, match=r"bin/ffmpeg: cannot be executed"):
        write_video(old_result, [GRAY])


def test_full_disk_is_one_error_line(old_result):
    frames = "np.random.default_rng(0).integers(0, 255, (400, 64, 64, 3), np.uint8)"
    program = f"""
import resource, numpy as np
from wav2lip.cli import run
from wav2lip.media.writer import VideoWriter
def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    with VideoWriter({str(old_result)!r}, 25) as video:
        for frame in {frames}:
            video.write(frame)
run(main)
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert process.returncode == 2
    assert process.stderr.startswith("error: ")
    assert len(process.stderr.splitlines()) == 1  # no message about a broken pipe


@pytest.mark.parametrize("interrupt_at", [1, 2], ids=["video", "audio"])
def test_interrupt_leaves_no_process_and_no_file(tmp_path, monkeypatch, interrupt_at):
    audio = write_wav(tmp_path / "audio.wav", tone(2.0))
    wait, waiting = subprocess.Popen.wait, []

    def interrupt(process, timeout=None):
        waiting.append(process)
        if len(waiting) == interrupt_at:
            raise KeyboardInterrupt
        return wait(process, timeout)

    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "out.mp4", 25, audio, trim_audio=True) as video:
        video.write(GRAY)
        monkeypatch.setattr(subprocess.Popen, "wait", interrupt)
    assert len(set(waiting)) == interrupt_at
    assert waiting[-1].returncode is not None  # ended and reaped
    assert [path.name for path in tmp_path.iterdir()] == ["audio.wav"]
