"""Whose lips are painted: the faces that are asked for, in every frame, at once or from an earlier run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from face_detection.haar import Haar
from models import Wav2Lip
from tests.conftest import tone, write_video
from tests.wav2lip.lipsync.painted import CYAN, MAGENTA, ByColour, painted
from wav2lip.crops import Pads, cut, whole_pixels
from wav2lip.errors import InputError
from wav2lip.lipsync import FaceSource, Framing, LipSync, Options
from wav2lip.lipsync.likeness import ALIKE, appearance
from wav2lip.lipsync.person import Person
from wav2lip.media import read_frames

EXACT = Options(pads=Pads(0, 0, 0, 0), smooth=False, cache=False)
SMALL, LARGE = (20, 60, 60, 110), (160, 50, 230, 130)
GREY = np.full((160, 260, 3), 128, np.uint8)


class Memory:
    """Frames that can be read again."""

    path, static, fps = "frames in memory", False, 25

    def __init__(self, frames):
        self._frames = frames

    def frames(self, first=0, last=None):
        return (frame.copy() for frame in self._frames[first:last])


def targets(frames, options, detector=None, source=None):
    """Boxes of the faces that get new lips, for each frame."""
    ours = LipSync(Wav2Lip(width=0.0625), torch.device("cpu"), lambda batch_size, compat: detector or ByColour())
    source = source or Memory(frames)
    find = ours.finder(source, len(frames), options)
    return [[target.box for target in found] for _, found in find(itertools.islice(source.frames(), len(frames)))]


def near(box, expected):
    return np.abs(np.array(box) - expected).max() <= 3


def two_people(frames=40):
    return [painted(GREY, (MAGENTA, SMALL), (CYAN, LARGE))] * frames


@pytest.mark.parametrize(("faces", "expected"), [
    ("largest", [LARGE]), ("leftmost", [SMALL]), ("0", [SMALL]), ("1", [LARGE]), ("all", [SMALL, LARGE]),
])  # fmt: skip
def test_of_two_people_those_who_are_asked_for_are_painted_in_every_frame(faces, expected):
    for boxes in targets(two_people(), Options(faces=faces, pads=EXACT.pads, cache=False)):
        assert len(boxes) == len(expected)
        assert all(any(near(box, wanted) for box in boxes) for wanted in expected)


NINE, SIDE = "photo_nine_faces.jpg", 450  # three rows of three, each face in a square of so many pixels


def squares(boxes):
    """Which row and column each box lies in."""
    return sorted(((top + bottom) // 2 // SIDE, (left + right) // 2 // SIDE) for left, top, right, bottom in boxes)


@pytest.mark.parametrize(("faces", "column"), [("leftmost", 0), ("0", 0), ("4", 1), ("8", 2)])
def test_of_nine_faces_the_one_at_the_place_that_is_asked_for_is_taken(shared_media, faces, column):
    source = FaceSource(shared_media / NINE)
    ((box,),) = targets([None], Options(faces=faces, cache=False), Haar(), source)
    assert squares([box])[0][1] == column


def test_of_nine_faces_all_are_repainted_and_nothing_else(shared_media):
    source, options = FaceSource(shared_media / NINE), Options(faces="all", cache=False)
    (boxes,) = targets([None], options, Haar(), source)
    assert squares(boxes) == [(row, column) for row in range(3) for column in range(3)]
    ours = LipSync(Wav2Lip(width=0.0625), torch.device("cpu"), lambda batch_size, compat: Haar())
    (photo,) = source.frames()
    with ours.stream(source.path, (tone(0.3), 16_000), options) as made:
        changed = (next(iter(made)) != photo).any(axis=-1)
    for left, top, right, bottom in boxes:
        assert changed[top:bottom, left:right].mean() > 0.2
        changed[top:bottom, left:right] = False
    assert not changed.any()


def test_who_is_followed_is_stayed_with_when_another_face_grows_larger_and_is_given_up_when_gone():
    frames = [painted(GREY, (MAGENTA, SMALL))] * 30
    for left in range(257, 160, -2):  # comes in, to be larger than the one who is followed
        frames.append(painted(GREY, (MAGENTA, SMALL), (CYAN, (left, 50, left + 70, 130))))
    for right in range(60, 21, -2):  # goes out
        frames.append(painted(GREY, (MAGENTA, (20, 60, right, 110)), (CYAN, LARGE)))
    frames += [painted(GREY, (CYAN, LARGE))] * 20
    lefts = [box[0] for (box,) in targets(frames, EXACT)]
    assert max(lefts[:85]) < 30
    assert min(lefts[100:]) > 150


def test_a_place_may_be_given_as_a_number():
    boxes = targets(two_people(), Options(faces=0, pads=EXACT.pads, cache=False))
    assert all(near(box, SMALL) for (box,) in boxes)


def test_a_number_beyond_the_faces_is_refused_in_a_sentence():
    with pytest.raises(InputError, match="frames in memory: the face that is asked for is in none of its 40 frames"):
        targets(two_people(), Options(faces="2", cache=False))


def test_a_point_at_a_time_means_the_person_who_is_there_then():
    late = [painted(GREY, (CYAN, LARGE))] * 20 + two_people(40)
    boxes = targets(late, Options(face_at=(1.2, 40, 80), pads=EXACT.pads, cache=False))
    assert all(near(box, SMALL) for frame in boxes for box in frame)
    assert [bool(frame) for frame in boxes] == [False] * 20 + [True] * 40
    with pytest.raises(
        InputError, match=r"--face_at 0\.2,40,80: no face at this point; the faces there are 1[56]\d to "
    ):
        targets(late, Options(face_at=(0.2, 40, 80), cache=False))
    with pytest.raises(InputError, match=r"--face_at 9,40,80: the time is past the 2\.40 s of the video that are used"):
        targets(late, Options(face_at=(9, 40, 80), cache=False))


def test_the_person_most_like_a_picture_is_painted(tmp_path):
    Image.fromarray(painted(np.zeros((90, 90, 3), np.uint8), (MAGENTA, (20, 20, 60, 70)))).save(tmp_path / "who.png")
    boxes = targets(two_people(), Options(face_like=tmp_path / "who.png", pads=EXACT.pads, cache=False))
    assert all(near(box, SMALL) for (box,) in boxes)
    Image.fromarray(GREY).save(tmp_path / "nobody.png")
    with pytest.raises(InputError, match=r"--face_like .*nobody\.png: no face found"):
        targets(two_people(), Options(face_like=tmp_path / "nobody.png", cache=False))
    with pytest.raises(InputError, match=r"absent\.png: no such file; check the path"):
        targets(two_people(), Options(face_like=tmp_path / "absent.png", cache=False))


def test_no_box_is_drawn_across_a_cut():
    rng = np.random.default_rng(0)
    a, b = (np.repeat(np.repeat(rng.integers(0, 120, (16, 26, 3), np.uint8), 10, 0), 10, 1) for _ in range(2))
    frames = [painted(a, (MAGENTA, SMALL))] * 33 + [painted(b, (CYAN, (40, 70, 80, 120)))] * 30
    boxes = [box for (box,) in targets(frames, Options(pads=EXACT.pads, cache=False))]
    assert all(near(box, SMALL) for box in boxes[:33])
    assert all(near(box, (40, 70, 80, 120)) for box in boxes[33:])


def test_pads_widen_the_box_within_the_frame():
    (frame,) = targets(two_people(1), Options(pads=Pads(5, 10, 30, 3), smooth=False, faces="leftmost", cache=False))
    assert near(frame[0], (0, 55, 63, 120))


@pytest.mark.parametrize(("options", "sentence"), [
    ({"faces": "tallest"}, "--faces is tallest; choose one of largest, leftmost, all, or 0, 1, 2"),
    ({"faces": "-1"}, "--faces is -1"),
    ({"alike": 1.1}, "--alike is 1.1; give a likeness between -1"),
    ({"alike": 0.5}, "--alike tells the person of --face_at or --face_like; give one"),
    ({"alike": float("nan")}, "--alike is nan; give a likeness"),
    ({"face_at": (float("nan"), 1, 1)}, "--face_at is nan,1,1; give SECONDS,X,Y from 0 up"),
    ({"faces": "all", "face_at": (0, 1, 1)}, "--faces and --face_at each say whose lips are painted"),
    ({"faces": "all", "box": (0, 1, 0, 1)}, "--faces does not go with --box"),
    ({"faces": "all", "compat": "public"}, "--faces does not go with --compat public"),
])  # fmt: skip
def test_a_choice_that_cannot_be_is_refused_by_its_flags(options, sentence):
    with pytest.raises(InputError, match=sentence):
        Options(**options)


def test_a_second_run_shows_the_same_boxes_and_asks_the_detector_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    video = write_video(tmp_path / "face.mp4", [painted(GREY, (MAGENTA, (20 + n, 60, 60 + n, 110))) for n in range(40)])
    first, again, other, without = ByColour(), ByColour(), ByColour(), ByColour()
    frames = [None] * 50
    boxes = targets(frames, Options(), first, FaceSource(video))
    assert first.pictures > 0 and len(boxes) == 40
    moved = video.rename(tmp_path / "the same by another name.mp4")
    assert targets(frames, Options(), again, FaceSource(moved)) == boxes
    assert again.pictures == 0
    targets(frames, Options(), other, FaceSource(moved, framing=Framing(crop=(10, -1, 0, -1))))
    assert other.pictures > 0
    assert targets(frames, Options(cache=False), without, FaceSource(moved)) == boxes
    assert without.pictures > 0


def test_of_a_video_of_which_a_part_was_needed_the_rest_is_looked_at_when_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    video = write_video(tmp_path / "face.mp4", [painted(GREY, (MAGENTA, SMALL))] * 40)
    asked = []
    for frames in (10, 40, 20, 60):
        detector = ByColour()
        assert len(targets([None] * frames, Options(), detector, FaceSource(video))) == min(frames, 40)
        asked.append(detector.pictures > 0)
    assert asked == [True, True, False, True]  # 40 of 40 do not tell that the video ends there


def test_another_description_of_faces_can_be_given(tmp_path):
    Image.fromarray(painted(np.zeros((90, 90, 3), np.uint8), (MAGENTA, (20, 20, 60, 70)))).save(tmp_path / "who.png")
    by_green = LipSync(
        Wav2Lip(width=0.0625), torch.device("cpu"), lambda batch_size, compat: ByColour(),
        describe=lambda crop: np.array([crop[..., 1].mean() < 200, crop[..., 1].mean() >= 200], float),
    )  # fmt: skip
    source = Memory(two_people())
    find = by_green.finder(source, 40, Options(face_like=tmp_path / "who.png", pads=EXACT.pads, cache=False))
    assert all(near(target.box, SMALL) for _, (target,) in find(source.frames()))


def test_a_face_is_more_like_itself_in_other_light_than_like_another(portrait):
    face, darker = portrait[40:190, 70:180], (portrait[44:186, 66:184] * 0.8).astype(np.uint8)
    other = np.ascontiguousarray(portrait[::-1])[40:190, 70:180]
    assert appearance(face) @ appearance(darker) > appearance(face) @ appearance(other) + 0.2


def looks_in(video, frames=(0, 40, 80)):
    """How the largest face of some frames looks."""
    pictures = [frame for number, frame in enumerate(itertools.islice(read_frames(video, 25), 81)) if number in frames]
    faces = [max(found, key=lambda face: face.area).box for found in Haar().detect(pictures)]
    boxes = whole_pixels(np.array(faces), *pictures[0].shape[:2])
    return [appearance(cut(picture, box)) for picture, box in zip(pictures, boxes, strict=True)]


def test_a_person_in_two_recordings_is_taken_for_one_and_others_are_not(shared_media):
    one, again, *others = (
        Person(looks_in(shared_media / name))
        for name in ("speaker_a_512_25fps.mp4", "speaker_c_590_25fps.mp4", "speaker_b_700_vfr.mp4",
                     "speaker_d_524_25fps.mp4")
    )  # fmt: skip
    assert one.likeness(again.looks) > ALIKE + 0.05
    assert all(person.likeness(one.looks) < ALIKE - 0.05 for person in others)
    assert others[0].likeness(others[1].looks) < ALIKE - 0.05
