"""A result shows the right frame of its video at each time, for sound longer and shorter, from any start to any end."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tests.conftest import tone, write_wav
from tests.wav2lip.lipsync.painted import MAGENTA, painted
from tests.wav2lip.test_infer import Frames
from tests.wav2lip.test_lipsync import Frames as Memory
from tests.wav2lip.test_lipsync import by_colour, lipsync
from tests.wav2lip.test_media import timed_video
from wav2lip import infer
from wav2lip.errors import InputError
from wav2lip.lipsync import FaceSource, Options, Part, timeline
from wav2lip.lipsync.finders import known
from wav2lip.lipsync.part import seconds
from wav2lip.lipsync.timeline import expected_frames, play
from wav2lip.media import VideoWriter
from wav2lip.windows import InferenceWindows

BARS = 8  # a frame's number in black and white bars, the lowest bit left
BOX = (0, 0, 8, 8)


def numbered(number: int, size: int = 64) -> np.ndarray:
    """A frame that shows its number."""
    bits = [255 * (number >> bit & 1) for bit in range(BARS)]
    return np.repeat(np.repeat(np.array(bits, np.uint8), size // BARS)[None, :, None], size, 0).repeat(3, 2)


def number_of(frame: np.ndarray) -> int:
    middle = frame[-4, frame.shape[1] // BARS // 2 :: frame.shape[1] // BARS].mean(-1) > 127
    return int(sum(1 << bit for bit, on in enumerate(middle) if on))


def video(path, frames: int, fps: Fraction | float = 25):
    with VideoWriter(path, fps) as writer:
        for number in range(frames):
            writer.write(numbered(number))
    return path


def shown(source, length: int, **how: str) -> list[int]:
    """The numbers of the frames that are shown; the box of every one tells the same number."""
    find = known([(n, 0, 8, 8) for n in range(min(length, 256))])
    frames = list(play(source, find, length, **how))
    assert [one.number for one in frames] == list(range(len(frames)))
    numbers = [number_of(one.frame) for one in frames]
    assert [one.targets[0].box[0] for one in frames[:length]] == numbers[:length]
    assert not any(one.targets for one in frames[length:])
    return numbers


@pytest.mark.parametrize(("fit", "expected"), [
    ("loop", [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]),
    ("pingpong", [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2]),
    ("freeze", [0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3]),
    ("trim", [0, 1, 2, 3]),
])  # fmt: skip
def test_sound_longer_than_the_video_is_fitted_as_asked(fit, expected):
    assert shown(Memory([numbered(n) for n in range(4)]), 11, fit=fit) == expected


@pytest.mark.parametrize("fit", ["loop", "pingpong", "freeze"])
def test_a_video_of_one_frame_is_held_however_the_sound_is_fitted(fit):
    assert shown(Memory([numbered(0)]), 5, fit=fit) == [0] * 5


@pytest.mark.parametrize(("short", "expected"), [("trim", [0, 1, 2]), ("keep", [0, 1, 2, 3, 4, 5])])
@pytest.mark.parametrize("fit", timeline.FITS)
def test_video_longer_than_the_sound_ends_with_it_or_goes_on_without_new_lips(fit, short, expected):
    assert shown(Memory([numbered(n) for n in range(6)]), 3, fit=fit, short=short) == expected


def test_a_held_frame_is_painted_anew_each_time():
    frames = [painted(numbered(n), (MAGENTA, (0, 0, 30, 30))) for n in range(2)]
    windows = InferenceWindows(np.full((80, 16), -4, np.float32), np.zeros(5, np.int64))
    made = by_colour().shown(Memory(frames), windows, Options(fit="freeze", blend="box"))
    last = [shown.frame for shown in made][1:]
    for frame in last[1:]:
        np.testing.assert_allclose(frame.astype(int), last[0], atol=2)


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_video_runs_backwards_in_blocks_whether_it_can_be_jumped_in_or_not(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(timeline, "BLOCK", 7 * 64 * 64 * 3)  # 7 frames
    source = FaceSource(video(tmp_path / f"face{suffix}", 100))
    expected = [*range(100), *range(98, -1, -1), *range(1, 31)]
    assert shown(source, len(expected), fit="pingpong") == expected


def test_going_backwards_holds_a_block_of_frames_whatever_the_length(monkeypatch):
    monkeypatch.setattr(timeline, "BLOCK", 10 * 64 * 64 * 3)
    asked: list[int] = []

    class Watched(Memory):
        def frames(self, first=0, last=None):
            asked.append((last or len(self._frames)) - first)
            return super().frames(first, last)

    shown(Watched([numbered(n) for n in range(200)]), 399, fit="pingpong")
    assert asked[:21] == [200, *[10] * 19, 9]  # forwards once, then blocks


@pytest.mark.parametrize("rate", ["24000/1001", "25", "30000/1001", "50", "60"])
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (1.31, 2.11), (2.91, None), (3.21, 3.22)])
def test_a_part_holds_the_frames_of_its_times(tmp_path, rate, start, end):
    fps = Fraction(rate)
    path = video(tmp_path / "face.mp4", 240, fps)
    first, last = round(start * float(fps)), 240 if end is None else round(end * float(fps))
    source = FaceSource(path, part=Part(start, end))
    assert source.fps == fps
    assert [number_of(frame) for frame in source.frames()] == list(range(first, max(last, first + 1)))
    assert source.stated_frames == pytest.approx(max(last, first + 1) - first, abs=1)
    if last - first > 8:
        assert [number_of(frame) for frame in source.frames(3, 8)] == list(range(first + 3, first + 8))


def test_a_part_of_a_variable_rate_is_that_of_its_times(tmp_path):
    times = [0.0, 0.04, 0.08, 0.6, 0.64, 1.0]
    path = timed_video(tmp_path / "phone.mp4", times, [20, 60, 100, 140, 180, 220])
    levels = [int(frame[8, 8, 0]) for frame in FaceSource(path, part=Part(0.56, 0.68)).frames()]
    assert levels == pytest.approx([140, 140, 180], abs=2)  # of 0.56 the nearest is that of 0.6


def test_a_frame_that_is_shown_several_times_is_painted_on_by_itself_each_time(tmp_path):
    path = timed_video(tmp_path / "phone.mp4", [0.0, 0.04, 0.16, 0.2, 0.24], [20, 60, 100, 140, 180])
    levels = []
    for frame in FaceSource(path).frames():
        levels.append(int(frame[8, 8, 0]))
        frame += 50  # before the next one is asked for
    assert levels == pytest.approx([20, 60, 60, 100, 100, 140, 180], abs=2)  # at 0.1 s both are as near


def test_public_frames_are_counted_from_the_start_as_they_are(tmp_path):
    source = FaceSource(video(tmp_path / "face.mp4", 40), part=Part(0.4, 0.8), compat="public")
    assert [number_of(frame) for frame in source.frames()] == list(range(10, 20))


def test_static_holds_the_first_frame_of_the_part(tmp_path):
    source = FaceSource(video(tmp_path / "face.mp4", 40), part=Part(0.4, 0.8), static=True)
    assert shown_static(source) == [10, 10, 10]


def shown_static(source) -> list[int]:
    return [number_of(one.frame) for one in play(source, known([BOX]), 3, "pingpong", "keep")]


def test_a_part_past_the_end_is_refused_and_an_end_past_it_is_said(tmp_path, caplog):
    path = video(tmp_path / "face.mp4", 25)
    with pytest.raises(InputError, match=r"face\.mp4: has no frame at --start 20 s or later; it lasts 1\.00 s"):
        next(FaceSource(path, part=Part(20)).frames())
    assert len(list(FaceSource(path, part=Part(0.2, 9)).frames())) == 20
    assert "face.mp4: ends before --end, at 1.00 s" in caplog.text


def test_a_picture_has_no_part(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "face.png")
    with pytest.raises(InputError, match=r"face\.png: is a picture, of which --start and --end take no part"):
        FaceSource(tmp_path / "face.png", part=Part(1.0))


@pytest.mark.parametrize(("start", "end", "says"), [
    (5.0, 3.0, "--end is 3 s, which is not after --start at 5 s"), (2.0, 2.0, "--end is 2 s, which is not after"),
    (-1.0, None, "--start is -1.0; give"), (float("nan"), None, "--start is nan; give"),
    (0.0, float("nan"), "--end is nan"),
])  # fmt: skip
def test_times_that_cannot_be_are_refused_by_their_flag(start, end, says):
    with pytest.raises(InputError, match=says):
        Part(start, end)


@pytest.mark.parametrize(("typed", "meant"), [
    ("83.5", 83.5), ("0", 0.0), (".5", 0.5), ("1:23.5", 83.5), ("01:02:03.004", 3723.004), ("90:00", 5400.0),
])  # fmt: skip
def test_a_time_is_typed_in_seconds_or_by_the_clock(typed, meant):
    assert seconds(typed) == pytest.approx(meant)


@pytest.mark.parametrize("typed", ["", "-3", "1:2:3:4", "one", "1,5", "nan", "inf"])
def test_what_is_no_time_is_refused_by_its_flag(typed, capsys):
    with pytest.raises(SystemExit, match="2"):
        infer.build_parser().parse_args(["--start", typed])
    assert "argument --start" in capsys.readouterr().err


@pytest.mark.parametrize(("flag", "value"), [("fit", "stretch"), ("short", "cut")])
def test_an_unknown_way_to_fit_is_refused_by_its_flag(flag, value):
    with pytest.raises(InputError, match=f"--{flag} is {value}; choose one of "):
        Options(**{flag: value})


@pytest.mark.parametrize(("length", "stated", "how", "expected"), [
    (50, 25, ("loop", "trim"), 50), (50, 25, ("trim", "keep"), 25), (25, 50, ("trim", "trim"), 25),
    (25, 50, ("loop", "keep"), 50), (25, 0, ("trim", "keep"), 25),
])  # fmt: skip
def test_progress_counts_to_the_frames_that_will_be(length, stated, how, expected):
    assert expected_frames(length, stated, *how) == expected


def test_the_flags_reach_the_result(tmp_path):
    """0.2 s of sound, frames 10 to 29: all of them stay, and only those under the sound are painted."""
    argv = ["--checkpoint_path", "g", "--face", "f", "--audio", "a", "--start", "0.4", "--end", "0:01.2"]
    options = infer.options_of(
        infer.build_parser().parse_args([*argv, "--short", "keep", "--blend", "box", "--box", *["0", "32", "0", "64"]])
    )
    made = lipsync([])(video(tmp_path / "face.mp4", 50), write_wav(tmp_path / "a.wav", tone(0.2)),
                               tmp_path / "out.mp4", options)  # fmt: skip
    frames = Frames(tmp_path / "out.mp4")
    assert [number_of(frame) for frame in frames.pictures] == list(range(10, 30))
    assert (made.frames, made.without_face) == (20, [])
    heads = [np.abs(frame[:32].astype(int) - numbered(n)[:32]).mean() for n, frame in enumerate(frames.pictures, 10)]
    assert min(heads[:5]) > 20 > 8 > max(heads[5:])
