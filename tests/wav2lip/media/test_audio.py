"""Decoding of audio in any format, at its time."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.signal import resample_poly

from tests.helpers.media import (
    click,
    ffmpeg,
    frequency_and_amplitude,
    noise,
    peak_time,
    remux_audio,
    timed_audio,
    tone,
    write_wav,
)
from wav2lip.audio import load_wav
from wav2lip.errors import InputError
from wav2lip.media import AudioTrack, probe, read_audio

AUDIO_FILES = {
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
    "raw AAC": ("a.aac", 44_100, ["-c:a", "aac"]),
    "WMA": ("a.wma", 44_100, []),
    "mu-law in Matroska": ("a.mkv", 8_000, ["-c:a", "pcm_mulaw"]),
}


@pytest.mark.parametrize(("name", "rate", "options"), AUDIO_FILES.values(), ids=AUDIO_FILES.keys())
def test_tone_of_any_codec_keeps_pitch_level_and_length(tmp_path, name, rate, options):
    plain = write_wav(tmp_path / "plain.wav", 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate), rate)
    wav = load_wav(ffmpeg("-i", plain, *options, tmp_path / name))
    hertz, amplitude = frequency_and_amplitude(wav)
    assert hertz == 440
    assert amplitude == pytest.approx(0.5, rel=0.06 if name == "a.mp3" else 0.01)  # LAME's loss at 64 kbit/s
    assert wav.dtype == np.float32
    assert len(wav) == pytest.approx(32_000, abs=16_000 * 0.1)  # raw AAC and WMA include padding


@pytest.mark.parametrize(("name", "options"), [
    ("a.wav", []), ("a.flac", []), ("a.mp3", ["-c:a", "libmp3lame"]), ("a.ogg", ["-c:a", "libvorbis"]),
    ("a.opus", ["-c:a", "libopus", "-ar", "48000"]), ("a.m4a", ["-c:a", "aac"]), ("a.mov", ["-c:a", "pcm_s16le"]),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_click_keeps_its_time_in_any_codec(tmp_path, name, options):
    plain = write_wav(tmp_path / "plain.wav", click(0.7, 1.5, 44_100), 44_100)
    assert peak_time(load_wav(ffmpeg("-i", plain, *options, tmp_path / name))) == pytest.approx(0.7005, abs=0.004)


def test_downmix_keeps_level_of_front_and_center(tmp_path):
    weights = np.array([0.3, 0.3, 0.2, 0.9, 0.1, 0.1])  # of one tone; 0.5 + 0.5, 1, 0, 0.25 + 0.25 of it
    samples = np.sin(2 * np.pi * 300 * np.arange(48_000) / 48_000)[:, None] * weights
    plain = write_wav(tmp_path / "six.wav", samples, 48_000)
    surround = ffmpeg("-i", plain, "-af", "pan=5.1|" + "|".join(f"c{n}=c{n}" for n in range(6)), tmp_path / "a.flac")
    assert probe(surround).require_audio().channels == 6
    hertz, amplitude = frequency_and_amplitude(load_wav(surround))
    assert (hertz, amplitude) == (300, pytest.approx(0.3 + 0.2 + 0.05, rel=0.01))


def test_8_bit_audio_has_silence_at_128(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 1, 16_000, 0, "NONE", ""))
        file.writeframes(bytes([0, 64, 128, 192]))
    assert load_wav(tmp_path / "a.wav").tolist() == [-1, -0.5, 0, 0.5]


def test_24_bit_audio_is_exact(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 3, 16_000, 0, "NONE", ""))
        file.writeframes(b"".join(value.to_bytes(3, "little", signed=True) for value in (-(2**23), 2**22, 1, 0)))
    assert load_wav(tmp_path / "a.wav").tolist() == [-1, 0.5, 2**-23, 0]


def test_resampling_agrees_with_scipy(tmp_path):
    rng = np.random.default_rng(0)
    smooth = np.convolve(rng.normal(size=96_000), np.hanning(24), "same")  # little above 4 kHz
    smooth *= 0.5 / np.abs(smooth).max()
    wav = load_wav(write_wav(tmp_path / "a.wav", smooth, 48_000))
    expected = resample_poly(smooth, 1, 3)
    assert len(wav) == 32_000
    assert np.abs(wav - expected)[100:-100].max() < 0.002


def test_late_audio_is_preceded_by_silence(tmp_path):
    wav = load_wav(timed_audio(tmp_path / "late.mkv", [(0.5, click(0.25, 1.0))]))
    assert (len(wav), peak_time(wav)) == (24_000, pytest.approx(0.75, abs=0.001))
    assert not wav[:8000].any()


def test_gap_in_audio_is_filled_with_silence(tmp_path):
    path = timed_audio(tmp_path / "gap.mkv", [(0.0, tone(0.5)), (2.0, click(0.2, 0.5))])
    wav = load_wav(path)
    assert (len(wav), peak_time(wav)) == (40_000, pytest.approx(2.2, abs=0.001))
    assert not wav[8000:32_000].any()


def test_rounded_timestamps_move_no_sample(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 44_100)
    path = timed_audio(tmp_path / "jitter.mkv", [(0.0, samples)], 44_100)  # Matroska's timestamps are in milliseconds
    decoded = np.concatenate(list(read_audio(path, 44_100)))
    np.testing.assert_array_equal(np.rint(decoded * 32_768), np.rint(samples * 32_767))


def test_concatenated_audio_is_read_completely(tmp_path):
    part = ffmpeg("-i", write_wav(tmp_path / "a.wav", tone(2.0)), "-c:a", "aac", tmp_path / "a.ts").read_bytes()
    (tmp_path / "both.ts").write_bytes(part + part)  # timestamps restart in the middle
    assert len(load_wav(tmp_path / "both.ts")) == pytest.approx(64_000, abs=4000)


def test_first_audio_track_is_read(tmp_path):
    low, high = (write_wav(tmp_path / f"{f}.wav", tone(1.5, hertz=f)) for f in (300, 900))
    two_tracks = ffmpeg("-i", low, "-i", high, "-map", "0", "-map", "1", "-c:a", "pcm_s16le", tmp_path / "both.mkv")
    assert frequency_and_amplitude(load_wav(two_tracks))[0] == 300


@pytest.mark.parametrize("samples", [0, 1, 100])
def test_very_short_audio_is_read(tmp_path, samples):
    assert len(load_wav(write_wav(tmp_path / "a.wav", np.zeros(samples)))) == samples


def test_silence_is_zeros(tmp_path):
    wav = load_wav(write_wav(tmp_path / "a.wav", np.zeros(44_100), 44_100))
    assert len(wav) == 16_000
    assert not wav.any()


def test_truncated_wav_gives_the_remaining_samples(tmp_path):
    content = write_wav(tmp_path / "a.wav", tone(1.0)).read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[: 44 + 16_000])  # half of the samples
    assert len(load_wav(tmp_path / "cut.wav")) == 8000


@pytest.mark.parametrize("rate", [1, 3999, 768_001, 2_000_000_000])
def test_absurd_sample_rate_is_refused(tmp_path, rate):
    path = write_wav(tmp_path / "a.wav", np.zeros(50), rate)
    with pytest.raises(InputError, match=rf"sample rate of {rate} Hz"):
        next(read_audio(path, 16_000))


def crc(data: bytes, bits: int, polynomial: int) -> int:
    """Return the checksum of FLAC's headers (8 bits) and frames (16 bits)."""
    value = 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> (bits - 1) & 1 else 0)) & ((1 << bits) - 1)
    return value


def with_frame_rate(rate: int) -> Callable[[av.Packet], None]:
    """Replace the sample rate that a FLAC frame itself states: 16 bits at the end of its header."""

    def change(packet: av.Packet) -> None:
        frame = bytearray(packet)
        at = frame.index((12_345).to_bytes(2, "big"))
        frame[at : at + 2] = rate.to_bytes(2, "big")
        frame[at + 2] = crc(frame[: at + 2], 8, 0x07)
        frame[-2:] = crc(frame[:-2], 16, 0x8005).to_bytes(2, "big")
        packet.update(frame)

    return change


@pytest.fixture
def flac(tmp_path) -> Path:
    """Two seconds at 12345 Hz, in short packets with timestamps."""
    plain = write_wav(tmp_path / "a.wav", tone(2.0, 12_345), 12_345)
    return ffmpeg("-i", plain, "-c:a", "flac", "-frame_size", "512", tmp_path / "a.mkv")


def test_absurd_sample_rate_of_a_frame_is_refused(tmp_path, flac):
    path = remux_audio(flac, tmp_path / "b.mkv", with_frame_rate(1))
    with pytest.raises(InputError, match="sample rate of 1 Hz"):
        sum(map(len, read_audio(path, 16_000)))


def test_audio_whose_timestamps_stand_still_is_counted(tmp_path, flac):
    def stop_time(packet: av.Packet) -> None:
        packet.pts = packet.dts = 0

    path, packets = remux_audio(flac, tmp_path / "b.mkv", stop_time), []
    blocks = read_audio(path, 16_000, on_problem=lambda _: None, on_packet=lambda: packets.append(1))
    assert sum(map(len, blocks)) / 16_000 > 0.5  # each second that is dropped ends the overlap
    assert len(packets) >= 2 * 12_345 // 512  # also those that yield nothing


def test_long_packet_is_cut_into_blocks(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1_000_000), np.int16), "s16", "mono")
        frame.rate, frame.pts = 8000, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    blocks = [len(block) for block in read_audio(tmp_path / "a.mkv", 16_000)]
    assert sum(blocks) == pytest.approx(2_000_000, abs=50)
    assert max(blocks) < 300_000


def joined(folder: Path, name: str, options: list[str], parts: list[tuple[float, int, int]]) -> Path:
    """Write tones of 1 s, each (hertz, sample rate, channels), encoded one by one into one file."""
    path = folder / name
    encoded = []
    for number, (hertz, rate, channels) in enumerate(parts):
        samples = np.repeat(tone(1.0, rate, hertz)[:, None], channels, axis=1)
        plain = write_wav(folder / f"{number}.wav", samples, rate)
        encoded.append(ffmpeg("-i", plain, *options, folder / f"{number}{path.suffix}").read_bytes())
    path.write_bytes(b"".join(encoded))
    return path


@pytest.mark.parametrize("parts", [
    [(300.0, 44_100, 1), (500.0, 24_000, 1)], [(300.0, 24_000, 1), (500.0, 44_100, 1)],
    [(300.0, 44_100, 2), (500.0, 44_100, 1)], [(300.0, 16_000, 1), (500.0, 48_000, 2)],
])  # fmt: skip
@pytest.mark.parametrize(("name", "options"), [
    ("a.mp3", ["-write_xing", "0", "-id3v2_version", "0"]), ("a.aac", ["-c:a", "aac"]),
    ("a.ts", ["-c:a", "aac"]), ("a.ac3", ["-c:a", "ac3", "-ar", "48000"]),
])  # fmt: skip
def test_rate_and_layout_may_change_inside_a_file(tmp_path, name, options, parts):
    path = joined(tmp_path, name, options, parts)
    wav = np.concatenate(list(read_audio(path, 16_000, on_problem=lambda _: None)))
    assert len(wav) / 16_000 == pytest.approx(2, abs=0.15)  # priming of each part
    for hertz, middle in ((300, 0.5), (500, 1.55)):
        part = wav[round((middle - 0.25) * 16_000) :][:8000]
        assert np.abs(np.fft.rfft(part)).argmax() * 2 == pytest.approx(hertz, abs=2)
        assert part.std() * 2**0.5 == pytest.approx(0.3, rel=0.1)
    if name == "a.mp3":
        assert probe(path).seconds == pytest.approx(len(wav) / 16_000, abs=0.1)


JOINED = {  # files of many short parts, as speech synthesis and recorders write them
    "FLAC": ("a.flac", []),
    "FLAC in Ogg": ("a.oga", ["-c:a", "flac"]),
    "Vorbis": ("a.ogg", ["-c:a", "libvorbis"]),
    "Opus": ("a.opus", ["-c:a", "libopus"]),
    "WebM": ("a.webm", ["-c:a", "libopus"]),
    "WebM of unknown size": ("a.webm", ["-c:a", "libopus", "-live", "1"]),
    "Matroska": ("a.mka", ["-c:a", "flac"]),
    "MPEG-TS": ("a.ts", ["-c:a", "mp2"]),
    "raw AAC": ("a.aac", ["-c:a", "aac"]),
}


@pytest.mark.parametrize(("name", "options"), JOINED.values(), ids=JOINED.keys())
@pytest.mark.parametrize("rates", [(24_000, 44_100, 24_000), (48_000, 48_000, 48_000)])
def test_every_part_of_joined_files_is_read(tmp_path, name, options, rates):
    encoded = []
    for number, rate in enumerate(rates):
        plain = write_wav(tmp_path / f"{number}.wav", tone(0.8, rate, 300.0 + 200 * number), rate)
        part = ffmpeg("-i", plain, *options, tmp_path / f"{number}{Path(name).suffix}")
        encoded.append(part.read_bytes())
    (tmp_path / name).write_bytes(b"".join(encoded))
    wav = np.concatenate(list(read_audio(tmp_path / name, 16_000, on_problem=lambda _: None)))
    assert len(wav) / 16_000 == pytest.approx(2.4, abs=0.15)  # padding of each part
    for number in range(3):
        part = wav[round((len(wav) - 1) * (number + 0.5) / 3) - 4000 :][:8000]
        assert np.abs(np.fft.rfft(part)).argmax() * 2 == pytest.approx(300 + 200 * number, abs=4)
    assert probe(tmp_path / name).seconds == pytest.approx(2.4, abs=0.15)


def test_damaged_part_of_joined_files_is_reported(tmp_path):
    part = ffmpeg("-i", write_wav(tmp_path / "a.wav", tone(1.0)), tmp_path / "a.flac").read_bytes()
    path = tmp_path / "b.flac"
    path.write_bytes(part + part[:8] + bytes(20) + part)
    problems: list[str] = []
    wav = np.concatenate(list(read_audio(path, 16_000, on_problem=problems.append)))
    assert len(wav) == 32_000
    assert problems[0].startswith(f"{path}: part 2 of the joined files ")


def test_sample_format_may_change_inside_a_file(tmp_path):
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w", format="matroska") as file:
        stream = file.add_stream("flac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), "s16", "mono")
        frame.rate, frame.pts = 16_000, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert sum(map(len, read_audio(source, 16_000))) == 16_000


def two_tracks(folder: Path, name: str, default: int) -> Path:
    """Write 300 Hz and 500 Hz as two audio tracks, one of which is the default."""
    first, second = (write_wav(folder / f"{hertz}.wav", tone(1.0, 16_000, hertz)) for hertz in (300.0, 500.0))
    flags = ["-disposition:a:0", "0", "-disposition:a:1", "0", f"-disposition:a:{default}", "default"]
    return ffmpeg("-i", first, "-i", second, "-map", "0", "-map", "1", "-c:a", "aac", *flags, folder / name)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
@pytest.mark.parametrize("default", [0, 1])
def test_default_audio_track_is_read(tmp_path, name, default):
    path = two_tracks(tmp_path, name, default)
    assert (probe(path).require_audio().track, probe(path).require_audio().tracks) == (default + 1, 2)
    assert frequency_and_amplitude(load_wav(path))[0] == (300, 500)[default]
    assert frequency_and_amplitude(load_wav(AudioTrack(path, 2 - default)))[0] == (500, 300)[default]


def test_track_that_cannot_be_decoded_is_skipped(tmp_path):
    path = two_tracks(tmp_path, "a.mkv", 0)
    content = path.read_bytes()
    assert content.count(b"A_AAC") == 2
    path.write_bytes(content.replace(b"A_AAC", b"A_XYZ", 1))  # the default track, in an unknown codec
    assert probe(path).require_audio().track == 2
    assert frequency_and_amplitude(load_wav(path))[0] == 500
    with pytest.raises(InputError, match="audio_track=1: cannot be decoded"):
        next(read_audio(AudioTrack(path, 1), 16_000))
    with pytest.raises(InputError, match="audio_track=3: must be from 1 to 2"):
        next(read_audio(AudioTrack(path, 3), 16_000))


@pytest.mark.parametrize("right", [-1.0, -0.9])
def test_channels_that_cancel_each_other_are_noticed(tmp_path, right):
    voice = tone(1.0, 16_000, 300.0)
    path = write_wav(tmp_path / "a.wav", np.stack([voice, right * voice], axis=1))
    problems: list[str] = []
    wav = np.concatenate(list(read_audio(path, 16_000, on_problem=problems.append)))
    assert frequency_and_amplitude(wav) == (300, pytest.approx(0.3, rel=0.02))
    assert problems == [
        f"{path}: its channels cancel each other in 1.0 s (reversed polarity); one channel is used there"
    ]


def test_wide_stereo_is_averaged(tmp_path):
    left, right = noise(1.0), np.random.default_rng(1).uniform(-0.3, 0.3, 16_000)
    path = write_wav(tmp_path / "a.wav", np.stack([left, right], axis=1))
    problems: list[str] = []
    wav = np.concatenate(list(read_audio(path, 16_000, on_problem=problems.append)))
    assert np.abs(wav - (left + right) / 2).max() < 1e-4
    assert problems == []


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.ts", "a.mp4"])
def test_time_before_the_first_sample_is_not_of_the_file(tmp_path, name):
    wav = write_wav(tmp_path / "a.wav", tone(1.0))
    late = ffmpeg("-i", wav, "-c:a", "libopus", "-ar", "48000", "-output_ts_offset", "500", tmp_path / name)
    assert probe(late).seconds == pytest.approx(1.0, abs=0.05)
    assert sum(map(len, read_audio(late, 16_000))) / 16_000 == pytest.approx(1.0, abs=0.05)


def test_seconds_are_read_where_the_header_has_none_or_too_many(tmp_path):
    path = write_wav(tmp_path / "a.wav", tone(1.5))
    content = bytearray(path.read_bytes())
    for size in (0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFF00):
        content[40:44] = size.to_bytes(4, "little")
        path.write_bytes(content)
        assert probe(path).seconds == pytest.approx(1.5, abs=0.001)
