"""The sound of a video's clips: decoded once where the video cannot be jumped in, and the same either way."""

import wave

import numpy as np
import pytest

import preprocess.sound
from preprocess.sound import VideoSound, write_sound
from tests.conftest import write_video as write_media
from tests.conftest import write_wav
from tests.preprocess.stubs import click, noise, write_video
from wav2lip.clips import ClipWriter
from wav2lip.errors import InputError
from wav2lip.media import first_frame_time

SPANS = [(0, 8000), (4000, 16_000), (24_000, 8000), (40_000, 16_000), (8000, None)]  # first sample, samples at most


def samples_of(clip):
    with wave.open(str(clip / "audio.wav")) as wav:
        return np.frombuffer(wav.readframes(wav.getnframes()), "<i2")


def write(sound, root, name, first, limit, problems):
    with ClipWriter(root, name) as writer:
        return sound.write(writer, first, limit, problems.append)


@pytest.mark.parametrize("jump", [True, False])
def test_every_clip_has_the_samples_of_its_span(tmp_path, jump):
    video = write_video(tmp_path / "v.avi", [n / 25 for n in range(75)], wav=noise(3.0))
    whole = np.rint(noise(3.0) * 32767).astype(int)
    with VideoSound(video, 0.0, jump, tmp_path / "out/.partial") as sound:
        for n, (first, limit) in enumerate(SPANS):
            done = write(sound, tmp_path / "out", f"v/{n}", first, limit, [])
            expected = whole[first : None if limit is None else first + limit]
            np.testing.assert_array_equal(samples_of(tmp_path / f"out/v/{n}"), expected)
            assert done.seconds == len(expected) / 16_000
            assert done.peak == pytest.approx(np.abs(expected).max() / 32768)
        assert list((tmp_path / "out/.partial").iterdir()) == []  # the temporary file has no name


def test_a_video_that_cannot_be_jumped_in_is_decoded_once_and_only_as_far_as_its_clips_reach(tmp_path, monkeypatch):
    decoded = []

    def blocks(*arguments):
        decoded.append("begun")
        for n in range(10):
            decoded.append(n)
            yield np.full(1600, n / 10, np.float32)

    monkeypatch.setattr(preprocess.sound, "read_audio", blocks)
    with VideoSound(tmp_path / "v.avi", 0.0, False, tmp_path / "out/.partial") as sound:
        for n, first in enumerate((0, 1600, 1600, 3200)):
            write(sound, tmp_path / "out", f"v/{n}", first, 3200, [])
    assert decoded == ["begun", 0, 1, 2, 3]
    loud = np.repeat([6554, 9830], 1600)  # 0.2 and 0.3 of 32768
    np.testing.assert_array_equal(samples_of(tmp_path / "out/v/3"), loud)


def test_a_clip_is_told_of_the_problems_up_to_its_end_whatever_was_decoded_before(tmp_path, monkeypatch):
    def blocks(path, rate, start, on_problem, jump=False):
        yield np.zeros(1600, np.float32)
        on_problem("a hole")
        yield np.zeros(1600, np.float32)
        on_problem("breaks off")

    monkeypatch.setattr(preprocess.sound, "read_audio", blocks)
    with VideoSound(tmp_path / "v.avi", 0.0, False, tmp_path / "out/.partial") as sound:
        told = {limit: [] for limit in (None, 1600, 3200, 4800)}
        for limit, problems in told.items():
            write(sound, tmp_path / "out", f"v/{limit}", 0, limit, problems)
    both = ["a hole", "breaks off"]
    assert told == {None: both, 1600: [], 3200: both[:1], 4800: both}


def test_clips_after_the_joint_of_two_recordings_have_their_sound(tmp_path):
    frames = [np.full((64, 64, 3), 100, np.uint8)] * 50
    parts = []
    for at in (0.5, 1.5):
        wav = write_wav(tmp_path / "a.wav", click(at, 2.0), 16_000)
        parts.append(write_media(tmp_path / "a.ts", frames, audio=wav).read_bytes())
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(parts))  # times begin again in the middle
    with VideoSound(both, first_frame_time(both), False, tmp_path / "out/.partial") as sound:
        write(sound, tmp_path / "out", "v/0", 48_000, 16_000, [])
    loudest = np.abs(samples_of(tmp_path / "out/v/0").astype(int)).argmax() / 16_000
    assert loudest == pytest.approx(0.5, abs=0.13)  # AAC fills blocks of 64 ms at the joint


def test_a_span_beyond_the_end_is_empty_and_a_video_without_sound_is_named(tmp_path):
    video = write_video(tmp_path / "v.avi", wav=noise())
    with VideoSound(video, 0.0, False, tmp_path / "out/.partial") as sound:
        assert write(sound, tmp_path / "out", "v/0", 32_000, 8000, []).seconds == 0
    silent = write_video(tmp_path / "s.avi")
    with (
        VideoSound(silent, 0.0, False, tmp_path / "out/.partial") as sound,
        pytest.raises(InputError, match=r"s\.avi: has no audio track"),
    ):
        write(sound, tmp_path / "out", "s/0", 0, 8000, [])


def test_one_clip_has_the_same_sound_from_the_one_file_as_by_itself(tmp_path):
    video = write_video(tmp_path / "v.avi", wav=noise())
    with VideoSound(video, 0.0, False, tmp_path / "out/.partial") as sound:
        write(sound, tmp_path / "out", "v/0", 0, 16_000, [])
    with ClipWriter(tmp_path / "out", "v/1") as writer:
        write_sound(writer, video, 0.0, 16_000, [].append, jump=False)
    np.testing.assert_array_equal(samples_of(tmp_path / "out/v/0"), samples_of(tmp_path / "out/v/1"))
