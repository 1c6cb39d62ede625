"""Timeline: the source frame of each result frame, for longer and shorter audio."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.infer import DecodedVideo
from tests.helpers.lipsync import MAGENTA, MemorySource, color_lipsync, paint_faces, play, scripted_lipsync
from tests.helpers.media import tone, write_wav
from tests.helpers.numbered_video import decode_number, encode_number, write_numbered_video
from wav2lip import infer
from wav2lip.audio.windows import InferenceWindows
from wav2lip.engine import timeline
from wav2lip.engine.face_selection import select_faces
from wav2lip.engine.option_parsing import option_specs, parse_options
from wav2lip.engine.timeline import expected_frames
from wav2lip.errors import InputError
from wav2lip.faces.boxes import Pads
from wav2lip.lipsync import FileSource, LipSyncOptions, TimeRange

BOX = (0, 0, 8, 8)


def play_numbers(source, length: int, **policies: str) -> list[int]:
    """Return the frame numbers of a timeline, and check that the boxes carry the same numbers."""
    boxes = [(n, 0, 8, 8) for n in range(min(length, 256))]
    frames = list(play(source, boxes, length, **policies))
    assert [item.index for item in frames] == list(range(len(frames)))
    numbers = [decode_number(item.frame) for item in frames]
    assert [item.targets[0].box[0] for item in frames[:length]] == numbers[:length]
    assert not any(item.targets for item in frames[length:])
    return numbers


@pytest.mark.parametrize(("fit", "expected"), [
    ("loop", [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]),
    ("pingpong", [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2]),
    ("freeze", [0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3]),
    ("trim", [0, 1, 2, 3]),
])  # fmt: skip
def test_fill_timeline_fits_longer_audio(fit, expected):
    assert play_numbers(MemorySource([encode_number(n) for n in range(4)]), 11, fit=fit) == expected


@pytest.mark.parametrize("fit", ["loop", "pingpong", "freeze"])
def test_fill_timeline_repeats_single_frame(fit):
    assert play_numbers(MemorySource([encode_number(0)]), 5, fit=fit) == [0] * 5


@pytest.mark.parametrize(("short", "expected"), [("trim", [0, 1, 2]), ("keep", [0, 1, 2, 3, 4, 5])])
@pytest.mark.parametrize("fit", option_specs(LipSyncOptions)["fit"].enum)
def test_fill_timeline_trims_or_keeps_longer_video(fit, short, expected):
    assert play_numbers(MemorySource([encode_number(n) for n in range(6)]), 3, fit=fit, short=short) == expected


def test_frozen_frame_is_generated_from_original():
    frames = [paint_faces(encode_number(n), (MAGENTA, (0, 0, 30, 30))) for n in range(2)]
    windows = InferenceWindows(np.full((80, 16), -4, np.float32), np.zeros(5, np.int64))
    items = color_lipsync().run(MemorySource(frames), [windows], LipSyncOptions(fit="freeze", blend="box"))
    last = [item.frame for item in items][1:]
    for frame in last[1:]:
        np.testing.assert_allclose(frame.astype(int), last[0], atol=2)


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_pingpong_reads_backwards_in_blocks(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(timeline, "MAX_REVERSE_BYTES", 7 * 64 * 64 * 3)  # 7 frames
    source = FileSource(write_numbered_video(tmp_path / f"face{suffix}", 100))
    expected = [*range(100), *range(98, -1, -1), *range(1, 31)]
    assert play_numbers(source, len(expected), fit="pingpong") == expected


def test_pingpong_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(timeline, "MAX_REVERSE_BYTES", 10 * 64 * 64 * 3)
    range_lengths: list[int] = []

    class CountingSource(MemorySource):
        def frames(self, first=0, last=None):
            range_lengths.append((last or len(self._frames)) - first)
            return super().frames(first, last)

    play_numbers(CountingSource([encode_number(n) for n in range(200)]), 399, fit="pingpong")
    assert range_lengths[:21] == [200, *[10] * 19, 9]  # forwards once, then blocks


def test_static_uses_first_frame_of_time_range(tmp_path):
    source = FileSource(write_numbered_video(tmp_path / "face.mp4", 40), time_range=TimeRange(0.4, 0.8), static=True)
    assert play_static(source) == [10, 10, 10]


def play_static(source) -> list[int]:
    return [decode_number(item.frame) for item in play(source, [BOX], 3, "pingpong", "keep")]


@pytest.mark.parametrize(("flag", "value"), [("fit", "stretch"), ("short", "cut")])
def test_options_reject_unknown_fit_and_short(flag, value):
    with pytest.raises(InputError, match=f"--{flag}={value}: must be one of "):
        LipSyncOptions(**{flag: value})


@pytest.mark.parametrize(("length", "stated", "policies", "expected"), [
    (50, 25, ("loop", "trim"), 50), (50, 25, ("trim", "keep"), 25), (25, 50, ("trim", "trim"), 25),
    (25, 50, ("loop", "keep"), 50), (25, 0, ("trim", "keep"), 25),
])  # fmt: skip
def test_expected_frames(length, stated, policies, expected):
    assert expected_frames(length, stated, *policies) == expected


def test_time_and_short_flags_reach_result(tmp_path):
    """Frames 10 to 29 are in the result; only the 5 of the 0.2 s of audio change, apart from loss of the encoder."""
    argv = ["--checkpoint_path", "g", "--face", "f", "--audio", "a", "--start", "0.4", "--end", "0:01.2"]
    argv += ["--short", "keep", "--blend", "box", "--box", "0", "32", "0", "64"]
    options = parse_options(LipSyncOptions, infer.build_parser().parse_args(argv))
    face, audio = write_numbered_video(tmp_path / "face.mp4", 50), write_wav(tmp_path / "a.wav", tone(0.2))
    result = scripted_lipsync([])(face, audio, tmp_path / "out.mp4", options)
    frames = DecodedVideo(tmp_path / "out.mp4")
    assert [decode_number(frame) for frame in frames.images] == list(range(10, 30))
    assert (result.frames, result.without_face) == (20, [])
    differences = [
        np.abs(frame[:32].astype(int) - encode_number(n)[:32]).mean() for n, frame in enumerate(frames.images, 10)
    ]
    assert min(differences[:5]) > 20 > 8 > max(differences[5:])


@pytest.mark.parametrize(("count", "length", "expected"), [  # at 25 fps; 0.5 s are 12.5 frames
    (30, 34, [29] * 4), (30, 42, [29] * 12), (30, 43, list(range(13))),
    (3, 8, [0, 1, 2, 0, 1]),  # a short animation is repeated
])  # fmt: skip
def test_video_that_is_a_little_shorter_holds_its_last_frame(count, length, expected):
    source = MemorySource([encode_number(n) for n in range(count)])
    assert source.fps == 25
    numbers = play_numbers(source, length)
    assert numbers == [*range(count), *expected]
    items = timeline.read_range(
        source, [()] * count, 0, length, timeline.extension("loop", count, length, source.fps)
    )  # fmt: skip
    assert [decode_number(item.frame) for item in items] == numbers  # segments of the same result


def test_static_video_without_face_at_its_start_names_start():
    source = MemorySource([encode_number(0)])
    source.is_static_video = True
    with pytest.raises(InputError, match=r"no face found in the one frame that --static uses; .*--start"):
        list(select_faces([(encode_number(0), ())], lambda faces: {}, source, Pads(0, 0, 0, 0), False))
