"""Audio of the clips of seekable and other videos."""

import wave
from dataclasses import replace

import numpy as np
import pytest

import preprocess.audio_track
from preprocess.audio_track import VideoAudio, write_audio
from preprocess.ingest import find_videos
from preprocess.pipeline import run
from tests.helpers.media import ffmpeg, tone, write_wav
from tests.helpers.media import write_video as write_media
from tests.helpers.preprocess import click, make_job, noise, write_video
from wav2lip.dataset.clip import ClipWriter
from wav2lip.errors import InputError
from wav2lip.media import first_frame_time

SPANS = [(0, 8000), (4000, 16_000), (24_000, 8000), (40_000, 16_000), (8000, None)]  # first sample, samples at most


def read_samples(clip):
    with wave.open(str(clip / "audio.wav")) as wav:
        return np.frombuffer(wav.readframes(wav.getnframes()), "<i2")


def write_span(audio, root, name, first, limit, problems):
    with ClipWriter(root, name) as writer:
        return audio.write(writer, first, limit, problems.append)


@pytest.mark.parametrize("seekable", [True, False])
def test_clips_have_samples_of_their_spans(tmp_path, seekable):
    video = write_video(tmp_path / "v.avi", [n / 25 for n in range(75)], wav=noise(3.0))
    samples = np.rint(noise(3.0) * 32767).astype(int)
    with VideoAudio(video, 0.0, seekable, tmp_path / "out/.partial") as audio:
        for n, (first, limit) in enumerate(SPANS):
            stats = write_span(audio, tmp_path / "out", f"v/{n}", first, limit, [])
            expected = samples[first : None if limit is None else first + limit]
            np.testing.assert_array_equal(read_samples(tmp_path / f"out/v/{n}"), expected)
            assert stats.seconds == len(expected) / 16_000
            assert stats.peak == pytest.approx(np.abs(expected).max() / 32768)
        assert list((tmp_path / "out/.partial").iterdir()) == []  # the temporary file has no name


@pytest.mark.parametrize("chunk_minutes", [10.0, 2 / 60], ids=["decoded once", "decoded per clip"])
def test_clips_have_the_selected_track(tmp_path, chunk_minutes):
    write_video(tmp_path / "first.mkv", [n / 25 for n in range(75)], wav=tone(3.0, hertz=300))
    write_wav(tmp_path / "second.wav", tone(3.0, hertz=900))
    (tmp_path / "in").mkdir()
    tracks = ["-map", "0:v", "-map", "0:a", "-map", "1:a", "-c", "copy"]
    ffmpeg("-i", tmp_path / "first.mkv", "-i", tmp_path / "second.wav", *tracks, tmp_path / "in" / "v.mkv")
    job = make_job(tmp_path / "out", min_clip_seconds=0.8, max_clip_seconds=2.0, chunk_minutes=chunk_minutes)
    for track, hertz in ((None, 300), (2, 900)):  # the second run writes the clips again
        run(find_videos(tmp_path / "in"), replace(job, settings=replace(job.settings, audio_track=track)))
        clips = sorted((tmp_path / "out").glob("*/*/audio.wav"))
        assert clips
        for clip in clips:
            samples = read_samples(clip.parent)
            assert np.abs(np.fft.rfft(samples)).argmax() * 16_000 / len(samples) == pytest.approx(hertz, abs=2)


def test_unseekable_video_is_decoded_once_up_to_last_clip(tmp_path, monkeypatch):
    decoded = []

    def blocks(*arguments):
        decoded.append("start")
        for n in range(10):
            decoded.append(n)
            yield np.full(1600, n / 10, np.float32)

    monkeypatch.setattr(preprocess.audio_track, "read_audio", blocks)
    with VideoAudio(tmp_path / "v.avi", 0.0, False, tmp_path / "out/.partial") as audio:
        for n, first in enumerate((0, 1600, 1600, 3200)):
            write_span(audio, tmp_path / "out", f"v/{n}", first, 3200, [])
    assert decoded == ["start", 0, 1, 2, 3]
    expected = np.repeat([6554, 9830], 1600)  # 0.2 and 0.3 of 32768
    np.testing.assert_array_equal(read_samples(tmp_path / "out/v/3"), expected)


def test_problems_are_those_before_end_of_clip(tmp_path, monkeypatch):
    def blocks(path, rate, start, on_problem, seekable=False):
        yield np.zeros(1600, np.float32)
        on_problem("a hole")
        yield np.zeros(1600, np.float32)
        on_problem("breaks off")

    monkeypatch.setattr(preprocess.audio_track, "read_audio", blocks)
    with VideoAudio(tmp_path / "v.avi", 0.0, False, tmp_path / "out/.partial") as audio:
        reported = {limit: [] for limit in (None, 1600, 3200, 4800)}
        for limit, problems in reported.items():
            write_span(audio, tmp_path / "out", f"v/{limit}", 0, limit, problems)
    all_problems = ["a hole", "breaks off"]
    assert reported == {None: all_problems, 1600: [], 3200: all_problems[:1], 4800: all_problems}


def test_clips_after_timestamp_reset_have_their_audio(tmp_path):
    frames = [np.full((64, 64, 3), 100, np.uint8)] * 50
    parts = []
    for at in (0.5, 1.5):
        wav = write_wav(tmp_path / "a.wav", click(at, 2.0), 16_000)
        parts.append(write_media(tmp_path / "a.ts", frames, audio=wav).read_bytes())
    concatenated = tmp_path / "both.ts"
    concatenated.write_bytes(b"".join(parts))  # timestamps restart in the middle
    with VideoAudio(concatenated, first_frame_time(concatenated), False, tmp_path / "out/.partial") as audio:
        write_span(audio, tmp_path / "out", "v/0", 48_000, 16_000, [])
    loudest = np.abs(read_samples(tmp_path / "out/v/0").astype(int)).argmax() / 16_000
    assert loudest == pytest.approx(0.5, abs=0.13)  # AAC fills blocks of 64 ms at the joint


def test_span_beyond_end_is_empty_and_silent_video_error(tmp_path):
    video = write_video(tmp_path / "v.avi", wav=noise())
    with VideoAudio(video, 0.0, False, tmp_path / "out/.partial") as audio:
        assert write_span(audio, tmp_path / "out", "v/0", 32_000, 8000, []).seconds == 0
    silent = write_video(tmp_path / "s.avi")
    with (
        VideoAudio(silent, 0.0, False, tmp_path / "out/.partial") as audio,
        pytest.raises(InputError, match=r"s\.avi: no audio track"),
    ):
        write_span(audio, tmp_path / "out", "s/0", 0, 8000, [])


def test_single_clip_matches_direct_decoding(tmp_path):
    video = write_video(tmp_path / "v.avi", wav=noise())
    with VideoAudio(video, 0.0, False, tmp_path / "out/.partial") as audio:
        write_span(audio, tmp_path / "out", "v/0", 0, 16_000, [])
    with ClipWriter(tmp_path / "out", "v/1") as writer:
        write_audio(writer, video, 0.0, 16_000, [].append, seekable=False)
    np.testing.assert_array_equal(read_samples(tmp_path / "out/v/0"), read_samples(tmp_path / "out/v/1"))
