"""A stretch of a video or sound that is jumped to is the same as when everything before it was read."""

import itertools

import av
import numpy as np
import pytest

from tests.conftest import tone, write_video, write_wav
from wav2lip.errors import InputError
from wav2lip.media import read_audio, read_frames, times_leap

SECONDS = 12
RANGES = [(0, 10), (1, 5), (100, 130), (249, 251), (280, None), (299, 300), (290, 400)]


@pytest.fixture(scope="module")
def numbered():
    """Frames that can be told apart: a bright column moves over a grey picture."""
    frames = []
    for n in range(SECONDS * 25):
        frame = np.full((48, 320, 3), 60 + n % 50, np.uint8)
        frame[:, n : n + 8] = 255
        frames.append(frame)
    return frames


@pytest.fixture(scope="module", params=[".mp4", ".mkv", ".ts", ".avi"])
def video(request, tmp_path_factory, numbered):
    folder = tmp_path_factory.mktemp("ranges")
    sound = write_wav(folder / "sound.wav", np.tile(tone(1.0) * np.linspace(0, 1, 16_000), SECONDS))
    return write_video(folder / f"video{request.param}", numbered, audio=sound)


@pytest.mark.parametrize("bounds", RANGES, ids=str)
def test_frames_jumped_to_are_those_that_reading_from_the_beginning_gives(video, bounds):
    expected = list(itertools.islice(read_frames(video, 25), *bounds))
    found = list(read_frames(video, 25, first=bounds[0], last=bounds[1]))
    assert len(found) == len(expected) > 0
    assert all((a == b).all() for a, b in zip(found, expected, strict=True))


def test_frames_of_another_rate_are_numbered_at_the_rate_asked_for(video):
    expected = list(itertools.islice(read_frames(video, 30), 200, 210))
    assert all((a == b).all() for a, b in zip(read_frames(video, 30, first=200, last=210), expected, strict=True))


def test_sound_jumped_to_is_in_its_place(video):
    if video.suffix == ".avi":
        pytest.skip("AVI holds no times to jump by; parts of it are not read by themselves")
    whole = np.concatenate(list(read_audio(video, 16_000, 7.25)))
    jumped = np.concatenate(list(read_audio(video, 16_000, 7.25, jump=True)))
    assert abs(len(whole) - len(jumped)) <= 1
    n = min(len(whole), len(jumped))
    assert np.corrcoef(whole[:n], jumped[:n])[0, 1] > 0.999


def test_a_range_without_a_rate_is_a_mistake_of_ours(video):
    with pytest.raises(ValueError, match="needs a rate"):
        read_frames(video, first=3)


def test_only_avi_here_cannot_be_jumped_in(video):
    assert times_leap(video) == (video.suffix == ".avi")


def test_times_that_leap_are_seen(tmp_path):
    path = tmp_path / "leaps.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for n in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), n, np.uint8), "rgb24")
            frame.pts = n if n < 25 else n + 25 * 4000
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert times_leap(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        times_leap(tmp_path / "none.mp4")
