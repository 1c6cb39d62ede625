"""A result appears whole, with its sound in place, or not at all and with a sentence that says why."""

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

from tests.conftest import tone, write_wav
from wav2lip.errors import InputError
from wav2lip.media import Encoding, read_frames
from wav2lip.media.writer import CONTAINERS, VideoWriter

GREY = np.full((64, 64, 3), 120, np.uint8)


def write(
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
    """(N, H, W, 3) uint8 RGB, as PyAV decodes it."""
    with av.open(str(path.resolve())) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def sound(path: Path) -> np.ndarray:
    """(N,) float32 at 16 kHz from the time of the first picture on, as FFmpeg decodes it."""
    with av.open(str(path.resolve())) as file:
        pictures = file.streams.video[0]
        before = float(pictures.start_time * pictures.time_base) - file.start_time / av.time_base
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path.resolve()), "-af",
               "aresample=async=1:first_pts=0", "-ac", "1", "-ar", "16000", "-f", "f32le", "-"]  # fmt: skip
    decoded = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.float32)
    return decoded[round(before * 16_000) :]


def lag(heard: np.ndarray, given: np.ndarray) -> float:
    """Seconds by which one sound at 16 kHz comes after another."""
    length = len(heard) + len(given)
    product = np.fft.irfft(np.fft.rfft(heard, length) * np.conj(np.fft.rfft(given, length)), length)
    at = int(product.argmax())
    return (at if at < length / 2 else at - length) / 16_000


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.3, 0.3, round(seconds * 16_000))


@pytest.fixture
def fake_ffmpeg(tmp_path, monkeypatch):
    """Put a shell script on the PATH in FFmpeg's place."""

    def install(script: str) -> None:
        path = tmp_path / "bin" / "ffmpeg"
        path.parent.mkdir()
        path.write_text(script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")

    return install


@pytest.fixture
def kept(tmp_path):
    """An older result, which a failure must leave alone with nothing beside it."""
    path = tmp_path / "results" / "result.mp4"
    path.parent.mkdir()
    path.write_bytes(b"an older result")
    yield path
    assert path.read_bytes() == b"an older result"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("rate", ["24000/1001", "25", "30000/1001", "30", "50", "60", "15/2"])
def test_every_frame_is_there_at_its_time(tmp_path, rate):
    path = write(tmp_path / "a.mp4", [GREY] * 30, Fraction(rate))
    with av.open(str(path)) as file:
        times = [frame.time for frame in file.decode(video=0)]
        assert file.streams.video[0].average_rate == Fraction(rate)
    assert times == pytest.approx([n / Fraction(rate) for n in range(30)], abs=1e-4)


@pytest.mark.parametrize("colour", [(200, 40, 40), (40, 200, 40), (40, 40, 200), (255, 255, 255), (0, 0, 0)])
def test_colours_come_back(tmp_path, colour):
    frames = decode(write(tmp_path / "a.mkv", [np.full((64, 64, 3), colour, np.uint8)] * 3))
    assert np.abs(frames.astype(int) - colour).max() <= 4  # at the default quality; 3 with a slower preset


@pytest.mark.parametrize(("height", "width", "matrix"), [(720, 1280, 1), (256, 256, 6)])
def test_colours_are_tagged_as_players_take_a_video_of_that_size(tmp_path, height, width, matrix):
    path = write(tmp_path / "a.mp4", [np.full((height, width, 3), (200, 40, 40), np.uint8)])
    with av.open(str(path)) as file:
        (frame,) = file.decode(video=0)
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (matrix, 1, 1, 1)
    shown = next(read_frames(path))[100, 100]
    assert np.abs(shown.astype(int) - (200, 40, 40)).max() <= 3


@pytest.mark.parametrize(("height", "width"), [(63, 64), (64, 63), (61, 47), (1, 1)])
def test_odd_sizes_grow_by_a_repeated_edge(tmp_path, height, width):
    frame = np.full((height, width, 3), 60, np.uint8)
    frame[-1], frame[:, -1] = 180, 180
    (made,) = decode(write(tmp_path / "a.mp4", [frame]))
    expected = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    assert made.shape == expected.shape
    assert np.abs(made.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_container_takes_pictures_and_sound_together(tmp_path, suffix):
    given = write_wav(tmp_path / "a.wav", noise(1.0))
    path = write(tmp_path / f"a{suffix.upper()}", [GREY] * 25, audio=given)
    assert len(decode(path)) == 25
    assert abs(lag(sound(path), noise(1.0))) < 0.005


def test_avi_which_holds_no_times_gets_its_pictures_in_the_order_they_are_shown(tmp_path):
    noisy = list(np.random.default_rng(0).integers(100, 130, (20, 64, 64, 3), np.uint8))
    path = write(tmp_path / "a.avi", noisy, audio=write_wav(tmp_path / "a.wav", noise(0.8)))
    with av.open(str(path)) as file:
        assert not [frame for frame in file.decode(video=0) if frame.pict_type == av.video.frame.PictureType.B]


@pytest.mark.parametrize("options", [[], ["-ar", "44100", "-ac", "6"], ["-ar", "8000"]], ids=["16", "44.1x6", "8"])
def test_the_sound_is_that_of_the_file_within_a_frame(tmp_path, options):
    plain, audio = write_wav(tmp_path / "a.wav", noise(2.0)), tmp_path / "b.wav"
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", plain, *options, audio], check=True)
    heard = sound(write(tmp_path / "a.mp4", [GREY] * 50, audio=audio))
    assert abs(lag(heard, noise(2.0))) < 0.005
    assert len(heard) / 16_000 == pytest.approx(2.0, abs=0.07)


def test_of_two_tracks_only_the_first_goes_into_the_result(tmp_path):
    low, high = (write_wav(tmp_path / f"{f}.wav", tone(1.0, hertz=f)) for f in (300, 900))
    both = tmp_path / "both.mkv"
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", low, "-i", high, "-map", "0",
                    "-map", "1", both], check=True)  # fmt: skip
    path = write(tmp_path / "a.mp4", [GREY] * 25, audio=both)
    with av.open(str(path)) as file:
        assert len(file.streams.audio) == 1
    spectrum = np.abs(np.fft.rfft(sound(path)[4000:12_000]))
    assert spectrum.argmax() * 2 == 300


@pytest.mark.parametrize("name", [
    "two words.mp4", "it's \"quoted\".mp4", "日本 é.mp4", "-dash.mp4", "100%03d.mp4", "[1]*?.mp4", "a;b&c$d.mp4",
    "http:x.mp4", "-i.mp4",
], ids=ascii)  # fmt: skip
def test_any_name_is_written_and_heard(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)  # so that the name stands alone
    audio = write_wav(tmp_path / f"{name}.wav", noise(0.4))
    write(Path(name), [GREY] * 10, audio=Path(audio.name))
    assert len(list(Path().iterdir())) == 2
    assert len(decode(Path(name))) == 10
    assert abs(lag(sound(Path(name)), noise(0.4))) < 0.04


@pytest.mark.skipif(os.path.supports_unicode_filenames, reason="every name is Unicode")
@pytest.mark.parametrize("names", [("a.mp4", b"caf\xe9.wav"), (b"caf\xe9.mp4", "a.wav")], ids=ascii)
def test_a_name_that_is_not_unicode_is_refused_before_any_work(tmp_path, names):
    path, audio = (tmp_path / os.fsdecode(name) for name in names)
    write_wav(audio, noise(0.4))
    with pytest.raises(InputError, match="no valid Unicode; rename it"), VideoWriter(path, 25, audio):
        pytest.fail("came to work")


def test_missing_folders_are_made(tmp_path):
    assert len(decode(write(tmp_path / "a" / "b" / "c.mp4", [GREY]))) == 1


def test_an_exception_half_way_leaves_what_was_there(kept):
    with pytest.raises(ZeroDivisionError), VideoWriter(kept, 25) as video:
        for _ in range(50):
            video.write(GREY)
        raise ZeroDivisionError


def test_a_finished_result_replaces_an_older_one(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"old")
    assert len(decode(write(tmp_path / "a.mp4", [GREY] * 2))) == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "a.mp4"]


def test_no_frames_are_no_video(kept):
    with pytest.raises(InputError, match="there was no frame to write"):
        write(kept, [])


@pytest.mark.parametrize("name", ["a.xyz", "no dot", "a.png", "a.m3u8", "a.wav", ".mp4", "", "."])
def test_a_name_of_no_kind_of_video_is_refused_at_once(tmp_path, name):
    with pytest.raises(InputError, match=r"its name says no kind of video; let it end in \.mp4"):
        VideoWriter(tmp_path / name if name.strip(".") else name, 25)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_that_name_is_refused_before_any_work(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(InputError, match=r"a\.mp4: is a folder"), VideoWriter(tmp_path / "a.mp4", 25):
        pytest.fail("came to work")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.mp4"]


def test_a_place_that_cannot_be_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    writer = VideoWriter(tmp_path / "file" / "a.mp4", 25)
    with pytest.raises(InputError, match="cannot be written .*choose another"), writer:
        pytest.fail("came to work")


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write into any folder")
def test_a_read_only_folder_is_refused_before_any_work(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"), VideoWriter(tmp_path / "a.mp4", 25):
        pytest.fail("came to work")


def test_when_ffmpeg_gives_up_half_way_its_words_are_passed_on(kept, fake_ffmpeg):
    fake_ffmpeg("#!/bin/sh\nhead -c 9000 > /dev/null\necho '[out#0 @ 0x1] No space left on device' >&2\n"
                "echo 'Conversion failed!' >&2\nexit 1\n")  # fmt: skip
    with pytest.raises(InputError) as caught:
        write(kept, [GREY] * 500)
    assert str(caught.value) == (
        f"{kept}: could not be written (No space left on device; Conversion failed!); check the disk and the audio file"
    )


def test_when_ffmpeg_fails_only_at_the_end_nothing_is_left(kept, fake_ffmpeg):
    fake_ffmpeg("#!/bin/sh\ncat > /dev/null\nexit 3\n")
    with pytest.raises(InputError, match="FFmpeg ended with code 3"):
        write(kept, [GREY] * 3)


def test_an_ffmpeg_that_does_not_run_is_named(kept, fake_ffmpeg):
    fake_ffmpeg("\x7fELF, but not really")
    with pytest.raises(InputError, match=r"bin/ffmpeg: does not run .*install FFmpeg anew"):
        write(kept, [GREY])


def test_a_file_may_grow_no_further_as_on_a_full_disk(kept):
    frames = "np.random.default_rng(0).integers(0, 255, (400, 64, 64, 3), np.uint8)"
    program = f"""
import resource, numpy as np
from wav2lip.errors import run
from wav2lip.media.writer import VideoWriter
def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    with VideoWriter({str(kept)!r}, 25) as video:
        for frame in {frames}:
            video.write(frame)
run(main)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr.splitlines()) == 1  # nothing about a broken pipe at the end either


@pytest.mark.parametrize("waits", [1, 2], ids=["for the pictures", "for the sound"])
def test_an_interrupt_while_ffmpeg_ends_leaves_no_ffmpeg_and_no_file(tmp_path, monkeypatch, waits):
    audio = write_wav(tmp_path / "sound.wav", tone(2.0))
    wait, waited = subprocess.Popen.wait, []

    def interrupted(process, timeout=None):
        waited.append(process)
        if len(waited) == waits:
            raise KeyboardInterrupt
        return wait(process, timeout)

    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "out.mp4", 25, audio, cut_sound=True) as video:
        video.write(GREY)
        monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    assert len(set(waited)) == waits
    assert waited[-1].returncode is not None  # ended, and its end was taken note of
    assert [path.name for path in tmp_path.iterdir()] == ["sound.wav"]
