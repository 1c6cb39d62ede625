"""The sound of a result is the file's own, untouched where the container takes it, and in its place."""

from __future__ import annotations

import subprocess
from fractions import Fraction

import av
import imageio_ffmpeg
import numpy as np
import pytest

from tests.conftest import tone, write_wav
from tests.wav2lip.test_infer import ffmpeg
from tests.wav2lip.test_media import click, loudest, timed_sound
from tests.wav2lip.test_video_writer import GREY, lag, noise, sound
from wav2lip.audio import load_wav
from wav2lip.errors import InputError
from wav2lip.media import VideoWriter, probe


def packets(path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.size]


def write(path, audio, frames=50, **how):
    with VideoWriter(path, 25, audio, **how) as video:
        for _ in range(frames):
            video.write(GREY)
    return path


@pytest.mark.parametrize(("given", "made"), [
    ("a.m4a", "b.mp4"), ("a.m4a", "b.ts"), ("a.m4a", "b.flv"), ("a.aac", "b.mov"), ("a.mp3", "b.mp4"),
    ("a.mp3", "b.mkv"), ("a.ac3", "b.mp4"), ("a.opus", "b.mkv"), ("a.ogg", "b.mkv"), ("a.flac", "b.mkv"),
    ("a.wav", "b.mkv"), ("a.wav", "b.mov"),
])  # fmt: skip
def test_sound_that_the_container_takes_is_copied_and_in_its_place(tmp_path, given, made):
    options = {"a.ogg": ["-c:a", "libvorbis"], "a.mp3": ["-c:a", "libmp3lame"]}.get(given, [])
    plain = write_wav(tmp_path / "plain.wav", noise(2.0))
    audio = ffmpeg("-i", plain, "-ar", "48000", *options, tmp_path / given)
    result = write(tmp_path / made, audio)
    header = 7 if given == "a.aac" else 0  # bytes before each packet of AAC where it stands alone
    if made != "b.ts":  # where it does again
        assert b"".join(packets(result))[:50_000] == b"".join(packet[header:] for packet in packets(audio))[:50_000]
    assert probe(result).require_audio().codec == probe(audio).require_audio().codec
    assert abs(lag(sound(result), load_wav(audio))) < 0.002


@pytest.mark.parametrize(("rate", "channels", "name", "kept"), [
    (8_000, 1, "b.mp4", 8_000), (22_050, 2, "b.mp4", 22_050), (44_100, 6, "b.mp4", 44_100),
    (48_000, 8, "b.mp4", 48_000),
    (192_000, 2, "b.mp4", 96_000), (44_100, 6, "b.avi", 44_100), (11_025, 3, "b.mp4", 11_025),
])  # fmt: skip
def test_sound_that_is_encoded_keeps_its_rate_and_channels(tmp_path, rate, channels, name, kept):
    samples = np.stack([tone(1.0, rate, 200.0 * (at + 1)) / 2 for at in range(channels)], axis=1)
    result = write(tmp_path / name, write_wav(tmp_path / "a.wav", samples, rate), 25)
    stream = probe(result).require_audio()
    assert (stream.rate, stream.channels) == (kept, channels)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(result), "-f", "f32le", "-"]
    heard = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.float32)
    heard = heard.reshape(-1, channels).T
    middle = heard[:, heard.shape[1] // 4 : heard.shape[1] * 3 // 4].astype(float)
    loudest_hertz = np.abs(np.fft.rfft(middle)).argmax(axis=1) * kept / middle.shape[1]
    low = {3: 2, 6: 3, 8: 3}.get(channels)  # the channel for low tones only
    full_band = [at for at in range(channels) if at != low]
    assert loudest_hertz[full_band] == pytest.approx([200.0 * (at + 1) for at in full_band], abs=5)


@pytest.mark.parametrize("name", ["a.m4a", "a.wav", "a.flac"])
def test_eight_channels_are_heard_as_their_mean(tmp_path, name):
    """PyAV crashes on planar sound of as many channels as a frame has pointers for."""
    samples = np.stack([tone(1.0, 48_000, 300.0) * (at == 0) for at in range(8)], axis=1)
    audio = ffmpeg("-i", write_wav(tmp_path / "plain.wav", samples, 48_000), tmp_path / name)
    heard = load_wav(audio)[4000:12_000]
    assert np.abs(np.fft.rfft(heard)).argmax() * 2 == 300
    assert heard.std() * 2**0.5 == pytest.approx(0.3 / 8, rel=0.05)


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
@pytest.mark.parametrize("name", ["b.mp4", "b.mkv", "b.avi"])
def test_sound_that_begins_late_begins_late_copied_or_not(tmp_path, codec, name):
    plain = write_wav(tmp_path / "a.wav", click(0.5, 1.0))
    late = ffmpeg("-f", "lavfi", "-i", "color=s=64x64:r=25:d=2", "-itsoffset", "0.4", "-i", plain, "-map", "0:v",
                  "-map", "1:a", "-c:a", codec, tmp_path / "late.mkv")  # fmt: skip
    assert loudest(sound(write(tmp_path / name, late))) == pytest.approx(0.9, abs=0.01)


def test_a_gap_in_the_sound_stays_a_gap(tmp_path):
    given = timed_sound(tmp_path / "a.mkv", [(0.0, tone(0.3)), (1.2, click(0.2, 0.4))])
    for name in ("b.mp4", "b.mkv"):
        assert loudest(sound(write(tmp_path / name, given))[16_000:]) == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize(("seconds", "given"), [(4.0, "a.wav"), (0.7, "a.wav"), (4.0, "a.m4a")])
@pytest.mark.parametrize("name", ["b.mp4", "b.ts", "b.avi"])
def test_sound_that_is_cut_ends_with_the_pictures(tmp_path, seconds, given, name):
    plain = write_wav(tmp_path / "plain.wav", noise(seconds))
    result = write(tmp_path / name, ffmpeg("-i", plain, tmp_path / given), 50, cut_sound=True)
    with av.open(str(result)) as file:
        assert sum(1 for _ in file.decode(video=0)) == 50
        assert float(file.streams.video[0].duration * file.streams.video[0].time_base) == pytest.approx(2.0)
    assert len(sound(result)) / 16_000 == pytest.approx(min(seconds, 2.0), abs=0.05)
    assert abs(lag(sound(result), noise(seconds)[:32_000])) < 0.002
    assert not list(tmp_path.glob("*.partial*")) + list(tmp_path.glob(".*"))


def test_chapters_of_an_audio_book_stay_there(tmp_path):
    (tmp_path / "chapters.txt").write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=1\ntitle=One\n")
    plain = write_wav(tmp_path / "a.wav", tone(2.0))
    book = ffmpeg("-i", plain, "-i", tmp_path / "chapters.txt", "-map_metadata", "1", tmp_path / "book.m4a")
    with av.open(str(book)) as file:
        assert len(file.chapters()) == 1
    with av.open(str(write(tmp_path / "b.mp4", book))) as file:
        assert not file.chapters()


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv", ".avi", ".flv"])
def test_a_comment_is_in_the_containers_metadata(tmp_path, suffix):
    write(tmp_path / f"a{suffix}", None, 2, comment='These lips = made; "so"')
    with av.open(str(tmp_path / f"a{suffix}")) as file:
        assert 'These lips = made; "so"' in file.metadata.values()


@pytest.mark.parametrize("suffix", [".ts", ".3gp"])
def test_a_comment_is_in_the_bytes_of_containers_that_keep_it_elsewhere(tmp_path, suffix):
    write(tmp_path / f"a{suffix}", None, 2, comment="These lips are made")
    assert b"These lips are made" in (tmp_path / f"a{suffix}").read_bytes()


def test_a_file_without_sound_is_refused_before_any_work(tmp_path):
    silent = ffmpeg("-f", "lavfi", "-i", "color=s=64x64:r=25:d=0.2", tmp_path / "silent.mp4")
    with pytest.raises(InputError, match=r"silent\.mp4: has no audio track"):
        VideoWriter(tmp_path / "b.mp4", Fraction(25), silent)
