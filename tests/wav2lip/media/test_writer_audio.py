"""Audio of a written video: copied if the container can take it, and in sync."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from tests.helpers.media import (
    GRAY,
    click,
    decode_audio,
    delay,
    ffmpeg,
    frequency_and_amplitude,
    noise,
    peak_time,
    timed_audio,
    tone,
    write_wav,
)  # fmt: skip
from wav2lip.audio import load_wav
from wav2lip.errors import InputError
from wav2lip.media import AudioTrack, VideoWriter, probe


def read_packets(path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.size]


def write_video(path, audio, frames=50, **options):
    with VideoWriter(path, 25, audio, **options) as video:
        for _ in range(frames):
            video.write(GRAY)
    return path


@pytest.mark.parametrize(("source", "target"), [
    ("a.m4a", "b.mp4"), ("a.m4a", "b.ts"), ("a.m4a", "b.flv"), ("a.aac", "b.mov"), ("a.mp3", "b.mp4"),
    ("a.mp3", "b.mkv"), ("a.ac3", "b.mp4"), ("a.opus", "b.mkv"), ("a.ogg", "b.mkv"), ("a.flac", "b.mkv"),
    ("a.wav", "b.mkv"), ("a.wav", "b.mov"),
])  # fmt: skip
def test_supported_audio_is_copied_in_sync(tmp_path, source, target):
    options = {"a.ogg": ["-c:a", "libvorbis"], "a.mp3": ["-c:a", "libmp3lame"]}.get(source, [])
    plain = write_wav(tmp_path / "plain.wav", noise(2.0))
    audio = ffmpeg("-i", plain, "-ar", "48000", *options, tmp_path / source)
    result = write_video(tmp_path / target, audio)
    header = 7 if source == "a.aac" else 0  # bytes of the ADTS header of each packet of raw AAC
    if target != "b.ts":  # MPEG-TS adds it again
        assert (
            b"".join(read_packets(result))[:50_000]
            == b"".join(packet[header:] for packet in read_packets(audio))[:50_000]
        )
    assert probe(result).require_audio().codec == probe(audio).require_audio().codec
    assert abs(delay(decode_audio(result), load_wav(audio))) < 0.002


@pytest.mark.parametrize(("rate", "channels", "name", "expected_rate"), [
    (8_000, 1, "b.mp4", 8_000), (22_050, 2, "b.mp4", 22_050), (44_100, 6, "b.mp4", 44_100),
    (48_000, 8, "b.mp4", 48_000),
    (192_000, 2, "b.mp4", 96_000), (44_100, 6, "b.avi", 44_100), (11_025, 3, "b.mp4", 11_025),
])  # fmt: skip
def test_encoded_audio_keeps_rate_and_channels(tmp_path, rate, channels, name, expected_rate):
    samples = np.stack([tone(1.0, rate, 200.0 * (at + 1)) / 2 for at in range(channels)], axis=1)
    result = write_video(tmp_path / name, write_wav(tmp_path / "a.wav", samples, rate), 25)
    stream = probe(result).require_audio()
    assert (stream.rate, stream.channels) == (expected_rate, channels)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(result), "-f", "f32le", "-"]
    samples = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.float32)
    samples = samples.reshape(-1, channels).T
    middle = samples[:, samples.shape[1] // 4 : samples.shape[1] * 3 // 4].astype(float)
    peak_hertz = np.abs(np.fft.rfft(middle)).argmax(axis=1) * expected_rate / middle.shape[1]
    low = {3: 2, 6: 3, 8: 3}.get(channels)  # index of the LFE channel
    full_band = [at for at in range(channels) if at != low]
    assert peak_hertz[full_band] == pytest.approx([200.0 * (at + 1) for at in full_band], abs=5)


@pytest.mark.parametrize("name", ["a.m4a", "a.wav", "a.flac"])
def test_eight_channels_are_mixed(tmp_path, name):
    # PyAV crashes on planar audio with 8 channels.
    samples = np.stack([tone(1.0, 48_000, 300.0) * (at == 0) for at in range(8)], axis=1)
    audio = ffmpeg("-i", write_wav(tmp_path / "plain.wav", samples, 48_000), tmp_path / name)
    wav = load_wav(audio)[4000:12_000]
    assert np.abs(np.fft.rfft(wav)).argmax() * 2 == 300
    assert wav.std() * 2**0.5 == pytest.approx(0.3 / 2, rel=0.05)  # front left


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
@pytest.mark.parametrize("name", ["b.mp4", "b.mkv", "b.avi"])
def test_late_audio_stays_late(tmp_path, codec, name):
    plain = write_wav(tmp_path / "a.wav", click(0.5, 1.0))
    delayed = ffmpeg("-f", "lavfi", "-i", "color=s=64x64:r=25:d=2", "-itsoffset", "0.4", "-i", plain, "-map", "0:v",
                  "-map", "1:a", "-c:a", codec, tmp_path / "late.mkv")  # fmt: skip
    assert peak_time(decode_audio(write_video(tmp_path / name, delayed))) == pytest.approx(0.9, abs=0.01)


def test_gap_in_audio_is_preserved(tmp_path):
    audio = timed_audio(tmp_path / "a.mkv", [(0.0, tone(0.3)), (1.2, click(0.2, 0.4))])
    for name in ("b.mp4", "b.mkv"):
        assert peak_time(decode_audio(write_video(tmp_path / name, audio))[16_000:]) == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize(("seconds", "source"), [(4.0, "a.wav"), (0.7, "a.wav"), (4.0, "a.m4a")])
@pytest.mark.parametrize("name", ["b.mp4", "b.ts", "b.avi"])
def test_trimmed_audio_ends_with_the_video(tmp_path, seconds, source, name):
    plain = write_wav(tmp_path / "plain.wav", noise(seconds))
    result = write_video(tmp_path / name, ffmpeg("-i", plain, tmp_path / source), 50, trim_audio=True)
    with av.open(str(result)) as file:
        assert sum(1 for _ in file.decode(video=0)) == 50
        assert float(file.streams.video[0].duration * file.streams.video[0].time_base) == pytest.approx(2.0)
    assert len(decode_audio(result)) / 16_000 == pytest.approx(min(seconds, 2.0), abs=0.05)
    assert abs(delay(decode_audio(result), noise(seconds)[:32_000])) < 0.002
    assert not list(tmp_path.glob("*.partial*")) + list(tmp_path.glob(".*"))


def test_chapters_are_dropped(tmp_path):
    (tmp_path / "chapters.txt").write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=1\ntitle=One\n")
    plain = write_wav(tmp_path / "a.wav", tone(2.0))
    chaptered = ffmpeg("-i", plain, "-i", tmp_path / "chapters.txt", "-map_metadata", "1", tmp_path / "book.m4a")
    with av.open(str(chaptered)) as file:
        assert len(file.chapters()) == 1
    with av.open(str(write_video(tmp_path / "b.mp4", chaptered))) as file:
        assert not file.chapters()


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv", ".avi", ".flv"])
def test_comment_is_in_the_metadata(tmp_path, suffix):
    write_video(tmp_path / f"a{suffix}", None, 2, comment='Generated = yes; "so"')
    with av.open(str(tmp_path / f"a{suffix}")) as file:
        assert 'Generated = yes; "so"' in file.metadata.values()


@pytest.mark.parametrize("suffix", [".ts", ".3gp"])
def test_comment_is_stored_in_ts_and_3gp(tmp_path, suffix):
    write_video(tmp_path / f"a{suffix}", None, 2, comment="Generated lips")
    assert b"Generated lips" in (tmp_path / f"a{suffix}").read_bytes()


def test_file_without_audio_is_rejected_at_construction(tmp_path):
    silent = ffmpeg("-f", "lavfi", "-i", "color=s=64x64:r=25:d=0.2", tmp_path / "silent.mp4")
    with pytest.raises(InputError, match=r"silent\.mp4: no audio track"):
        VideoWriter(tmp_path / "b.mp4", Fraction(25), silent)


def test_audio_is_opened_by_ffmpeg_in_the_format_that_was_checked(tmp_path, monkeypatch):
    # Older versions of the program in PATH take an MPEG-TS file that starts like a playlist for one, and follow it.
    audio = ffmpeg("-i", write_wav(tmp_path / "a.wav", noise(1.0)), "-c:a", "aac", tmp_path / "a.ts")
    commands: list[str] = []
    popen = subprocess.Popen

    def record(command: list[str], **pipes: object) -> subprocess.Popen[bytes]:
        commands.append(" ".join(command))
        return popen(command, **pipes)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", record)
    write_video(tmp_path / "b.mp4", audio, frames=5, trim_audio=True)
    assert f"-f mpegts -protocol_whitelist file,crypto,data -i {audio.resolve()}" in commands[-1]
    assert "-f mov -protocol_whitelist file,crypto,data -i " in commands[-1]  # the video without audio


def hide_first_second(path: Path) -> Path:
    """Change the edit list of a file with one audio track at 16 kHz: play from one second later."""
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 4 + 4 + 4  # version and flags, number of entries
    media_time = int.from_bytes(content[at + 4 : at + 8], "big")
    content[at + 4 : at + 8] = (media_time + 16_000).to_bytes(4, "big")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts", ".flv", ".avi"])
def test_audio_that_an_edit_list_hides_is_in_no_result(tmp_path, suffix):
    samples = np.concatenate([tone(1.0, 16_000, 1000.0), tone(1.0, 16_000, 300.0)])
    audio = hide_first_second(ffmpeg("-i", write_wav(tmp_path / "a.wav", samples), "-c:a", "aac", tmp_path / "a.m4a"))
    write_video(tmp_path / f"r{suffix}", audio, 25)
    with av.open(str(tmp_path / f"r{suffix}")) as file:  # all packets, also those that a player skips
        packets = [packet for packet in file.demux(audio=0) if packet.size]
        assert sum(float(packet.duration * packet.time_base) for packet in packets) == pytest.approx(1, abs=0.2)
    wav = decode_audio(tmp_path / f"r{suffix}")
    spectrum = np.abs(np.fft.rfft(wav[:16_000]))
    assert spectrum.argmax() == pytest.approx(300, abs=2)
    assert spectrum[990:1010].max() < 0.01 * spectrum.max()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("rates", [(44_100, 24_000), (24_000, 44_100)])
def test_audio_whose_rate_changes_keeps_speed_in_result(tmp_path, suffix, rates):
    parts = [write_wav(tmp_path / f"{rate}.wav", tone(1.0, rate, 300.0), rate) for rate in rates]
    encoded = [
        ffmpeg("-i", part, "-write_xing", "0", "-id3v2_version", "0", part.with_suffix(".mp3")) for part in parts
    ]
    audio = tmp_path / "joined.mp3"
    audio.write_bytes(b"".join(path.read_bytes() for path in encoded))
    write_video(tmp_path / f"r{suffix}", audio, 50)
    wav = decode_audio(tmp_path / f"r{suffix}")
    assert len(wav) / 16_000 == pytest.approx(2.05, abs=0.15)
    for start in (0.3, 1.3):
        assert np.abs(np.fft.rfft(wav[round(start * 16_000) :][:8000])).argmax() * 2 == pytest.approx(300, abs=2)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize(("name", "options"), [
    ("a.ogg", ["-c:a", "libvorbis"]), ("a.flac", []), ("a.webm", ["-c:a", "libopus"]),
])  # fmt: skip
def test_every_part_of_joined_audio_is_in_result(tmp_path, name, options):
    rates = (24_000, 48_000, 24_000)
    parts = [write_wav(tmp_path / f"{n}.wav", tone(0.8, rate, 300.0), rate) for n, rate in enumerate(rates)]
    encoded = [ffmpeg("-i", part, *options, part.with_suffix(Path(name).suffix)) for part in parts]
    (tmp_path / name).write_bytes(b"".join(path.read_bytes() for path in encoded))
    write_video(tmp_path / "r.mp4", tmp_path / name, 60)
    wav = decode_audio(tmp_path / "r.mp4")
    assert len(wav) / 16_000 == pytest.approx(2.4, abs=0.1)
    for start in (0.15, 0.95, 1.75):
        assert np.abs(np.fft.rfft(wav[round(start * 16_000) :][:8000])).argmax() * 2 == pytest.approx(300, abs=2)


@pytest.mark.parametrize("number", [1, 2])
def test_selected_audio_track_is_in_result(tmp_path, number):
    tones = [write_wav(tmp_path / f"{hertz}.wav", tone(1.0, 16_000, hertz)) for hertz in (300.0, 500.0)]
    audio = ffmpeg("-i", tones[0], "-i", tones[1], "-map", "0", "-map", "1", "-c:a", "aac", tmp_path / "a.mkv")
    write_video(tmp_path / "r.mp4", AudioTrack(audio, number), 25)
    assert frequency_and_amplitude(decode_audio(tmp_path / "r.mp4"))[0] == (300, 500)[number - 1]
