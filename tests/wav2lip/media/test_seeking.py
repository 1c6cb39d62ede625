"""Reading a range by seeking equals reading from the beginning."""

import itertools

import av
import numpy as np
import pytest

from tests.helpers.media import tone, write_video, write_wav
from wav2lip.errors import InputError
from wav2lip.media import has_timestamp_jumps, read_audio, read_frames

SECONDS = 12
RANGES = [(0, 10), (1, 5), (100, 130), (249, 251), (280, None), (299, 300), (290, 400)]


@pytest.fixture(scope="module")
def numbered_frames():
    """Distinct frames: a bright column moves over a gray image."""
    frames = []
    for n in range(SECONDS * 25):
        frame = np.full((48, 320, 3), 60 + n % 50, np.uint8)
        frame[:, n : n + 8] = 255
        frames.append(frame)
    return frames


@pytest.fixture(scope="module", params=[".mp4", ".mkv", ".ts", ".avi"])
def video(request, tmp_path_factory, numbered_frames):
    folder = tmp_path_factory.mktemp("ranges")
    audio = write_wav(folder / "audio.wav", np.tile(tone(1.0) * np.linspace(0, 1, 16_000), SECONDS))
    return write_video(folder / f"video{request.param}", numbered_frames, audio=audio)


@pytest.mark.parametrize("bounds", RANGES, ids=str)
def test_frame_range_equals_reading_from_the_beginning(video, bounds):
    expected = list(itertools.islice(read_frames(video, 25), *bounds))
    frames = list(read_frames(video, 25, first=bounds[0], last=bounds[1]))
    assert len(frames) == len(expected) > 0
    assert all((a == b).all() for a, b in zip(frames, expected, strict=True))


def test_range_counts_resampled_frames(video):
    expected = list(itertools.islice(read_frames(video, 30), 200, 210))
    assert all((a == b).all() for a, b in zip(read_frames(video, 30, first=200, last=210), expected, strict=True))


def test_audio_after_seek_is_in_place(video):
    if video.suffix == ".avi":
        pytest.skip("AVI has no timestamps to seek by")
    expected = np.concatenate(list(read_audio(video, 16_000, 7.25)))
    actual = np.concatenate(list(read_audio(video, 16_000, 7.25, seek=True)))
    assert abs(len(expected) - len(actual)) <= 1
    n = min(len(expected), len(actual))
    assert np.corrcoef(expected[:n], actual[:n])[0, 1] > 0.999


def test_range_without_fps_is_a_value_error(video):
    with pytest.raises(ValueError, match="fps"):
        read_frames(video, first=3)


def test_only_avi_has_timestamp_jumps(video):
    assert has_timestamp_jumps(video) == (video.suffix == ".avi")


def test_timestamp_jump_is_detected(tmp_path):
    path = tmp_path / "jump.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for n in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), n, np.uint8), "rgb24")
            frame.pts = n if n < 25 else n + 25 * 4000
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert has_timestamp_jumps(path)


def test_missing_file_error(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        has_timestamp_jumps(tmp_path / "none.mp4")
