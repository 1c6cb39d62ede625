"""Selection of faces: by size, position, point or reference image, tracked now or cached by an earlier run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from face_detection.detectors.haar import Haar
from models import Wav2Lip
from tests.helpers.lipsync import CYAN, MAGENTA, ColorDetector, MemorySource, locate, paint_faces
from tests.helpers.media import tone, write_video
from wav2lip.engine.identity_matching import Track, join_tracks
from wav2lip.errors import InputError
from wav2lip.lipsync import FileSource, Framing, LipSync, LipSyncOptions

EXACT = LipSyncOptions(pads=(0, 0, 0, 0), smooth=False, cache=False)
SMALL, LARGE = (20, 60, 60, 110), (160, 50, 230, 130)
GRAY = np.full((160, 260, 3), 128, np.uint8)


def select_boxes(frames, options, detector=None, source=None):
    """Return the boxes of the selected faces of each frame."""
    lipsync = LipSync(
        Wav2Lip(width=0.0625), torch.device("cpu"), lambda batch_size, compat: detector or ColorDetector()
    )
    source = source or MemorySource(frames)
    locator = lipsync.face_locator(source, len(frames), options)
    located = locate(locator, itertools.islice(source.frames(), len(frames)))
    return [[target.box for target in faces] for _, faces in located]


def is_near(box, expected):
    return np.abs(np.array(box) - expected).max() <= 3


def paint_two_people(frames=40):
    return [paint_faces(GRAY, (MAGENTA, SMALL), (CYAN, LARGE))] * frames


@pytest.mark.parametrize(("faces", "expected"), [
    ("largest", [LARGE]), ("leftmost", [SMALL]), ("0", [SMALL]), ("1", [LARGE]), ("all", [SMALL, LARGE]),
])  # fmt: skip
def test_faces_option_selects_of_two_people(faces, expected):
    for boxes in select_boxes(paint_two_people(), LipSyncOptions(faces=faces, pads=EXACT.pads, cache=False)):
        assert len(boxes) == len(expected)
        assert all(any(is_near(box, expected_box) for box in boxes) for expected_box in expected)


NINE, SIDE = "photo_nine_faces.jpg", 450  # three rows of three faces, each in a square of SIDE pixels


def grid_cells(boxes):
    """Return row and column of each box in the grid."""
    return sorted(((top + bottom) // 2 // SIDE, (left + right) // 2 // SIDE) for left, top, right, bottom in boxes)


@pytest.mark.parametrize(("faces", "column"), [("leftmost", 0), ("0", 0), ("4", 1), ("8", 2)])
def test_faces_index_selects_of_nine_faces(shared_media, faces, column):
    source = FileSource(shared_media / NINE)
    ((box,),) = select_boxes([None], LipSyncOptions(faces=faces, cache=False), Haar(), source)
    assert grid_cells([box])[0][1] == column


def test_faces_all_changes_nine_faces_only(shared_media):
    source, options = FileSource(shared_media / NINE), LipSyncOptions(faces="all", cache=False)
    (boxes,) = select_boxes([None], options, Haar(), source)
    assert grid_cells(boxes) == [(row, column) for row in range(3) for column in range(3)]
    lipsync = LipSync(Wav2Lip(width=0.0625), torch.device("cpu"), lambda batch_size, compat: Haar())
    (photo,) = source.frames()
    with lipsync.stream(source.path, (tone(0.3), 16_000), options) as stream:
        changed = (next(iter(stream)) != photo).any(axis=-1)
    for left, top, right, bottom in boxes:
        assert changed[top:bottom, left:right].mean() > 0.2  # part of the lower half
        changed[top:bottom, left:right] = False
    assert not changed.any()


def test_selection_follows_person_until_gone():
    frames = [paint_faces(GRAY, (MAGENTA, SMALL))] * 30
    for left in range(257, 160, -2):  # a larger face enters
        frames.append(paint_faces(GRAY, (MAGENTA, SMALL), (CYAN, (left, 50, left + 70, 130))))
    for right in range(60, 21, -2):  # the selected face leaves
        frames.append(paint_faces(GRAY, (MAGENTA, (20, 60, right, 110)), (CYAN, LARGE)))
    frames += [paint_faces(GRAY, (CYAN, LARGE))] * 20
    lefts = [box[0] for (box,) in select_boxes(frames, EXACT)]
    assert max(lefts[:85]) < 30
    assert min(lefts[100:]) > 150


def test_faces_index_zero_selects_leftmost():
    boxes = select_boxes(paint_two_people(), LipSyncOptions(faces="0", pads=EXACT.pads, cache=False))
    assert all(is_near(box, SMALL) for (box,) in boxes)


def test_faces_index_out_of_range_is_rejected():
    with pytest.raises(InputError, match="frames in memory: .* none of its 40 frames"):
        select_boxes(paint_two_people(), LipSyncOptions(faces="2", cache=False))


def test_face_at_selects_person_at_point():
    frames = [paint_faces(GRAY, (CYAN, LARGE))] * 20 + paint_two_people(40)
    boxes = select_boxes(frames, LipSyncOptions(face_at=(1.2, 40, 80), pads=EXACT.pads, cache=False))
    assert all(is_near(box, SMALL) for frame in boxes for box in frame)
    assert [bool(frame) for frame in boxes] == [False] * 20 + [True] * 40
    with pytest.raises(InputError, match=r"--face_at=0\.2,40,80: no face .*: x 1[56]\d to "):
        select_boxes(frames, LipSyncOptions(face_at=(0.2, 40, 80), cache=False))
    with pytest.raises(InputError, match=r"--face_at=9,40,80: .*2\.40 s"):
        select_boxes(frames, LipSyncOptions(face_at=(9, 40, 80), cache=False))


def test_face_like_selects_most_similar_person(tmp_path):
    Image.fromarray(paint_faces(np.zeros((90, 90, 3), np.uint8), (MAGENTA, (20, 20, 60, 70)))).save(
        tmp_path / "person.png"
    )
    boxes = select_boxes(
        paint_two_people(), LipSyncOptions(face_like=(tmp_path / "person.png",), pads=EXACT.pads, cache=False)
    )
    assert all(is_near(box, SMALL) for (box,) in boxes)
    Image.fromarray(GRAY).save(tmp_path / "nobody.png")
    with pytest.raises(InputError, match=r"--face_like=.*nobody\.png: no face found"):
        select_boxes(paint_two_people(), LipSyncOptions(face_like=(tmp_path / "nobody.png",), cache=False))
    with pytest.raises(InputError, match=r"absent\.png: no such file; check the path"):
        select_boxes(paint_two_people(), LipSyncOptions(face_like=(tmp_path / "absent.png",), cache=False))


def test_boxes_are_not_smoothed_across_a_cut():
    rng = np.random.default_rng(0)
    a, b = (np.repeat(np.repeat(rng.integers(0, 120, (16, 26, 3), np.uint8), 10, 0), 10, 1) for _ in range(2))
    frames = [paint_faces(a, (MAGENTA, SMALL))] * 33 + [paint_faces(b, (CYAN, (40, 70, 80, 120)))] * 30
    boxes = [box for (box,) in select_boxes(frames, LipSyncOptions(pads=EXACT.pads, cache=False))]
    assert all(is_near(box, SMALL) for box in boxes[:33])
    assert all(is_near(box, (40, 70, 80, 120)) for box in boxes[33:])


def test_pads_expand_box_within_frame():
    (frame,) = select_boxes(
        paint_two_people(1), LipSyncOptions(pads=(5, 10, 30, 3), smooth=False, faces="leftmost", cache=False)
    )
    assert is_near(frame[0], (0, 55, 63, 120))


def track(angle, *frames):
    """Return a track whose descriptor has an angle in degrees; the similarity is the cosine of a difference."""
    radians = np.deg2rad(angle)
    return Track([np.array([np.cos(radians), np.sin(radians)])], set(frames))


def test_tracks_of_a_person_are_joined_across_cuts():
    tracks = {0: track(0, 0, 1), 1: track(60, 0, 1), 2: track(50, 2, 3), 3: track(20, 2, 3)}
    tracks |= {4: track(90, 5), 5: track(180, 1)}
    # 2 is 10 degrees from 1, and 3 is 20 from 0; the similarity of 4 to 1 and 2 is 0.82; 5 is opposite to 0.
    assert join_tracks(tracks, 0.9) == [[0, 3], [1, 2], [5], [4]]
    assert join_tracks(tracks, 0.8) == [[0, 3], [1, 2, 4], [5]]
    # Both are most similar to person 0 (35 and 25 degrees), but only one can be it.
    rivals = {0: track(0, 0), 1: track(75, 0), 2: track(35, 1), 3: track(25, 1)}
    assert join_tracks(rivals, 0.7) == [[0, 3], [1, 2]]
    assert join_tracks({7: track(0, 3)}, -1) == [[7]]
    assert join_tracks({}, 0.7) == []


@pytest.mark.parametrize(("options", "message"), [
    ({"faces": "tallest"}, "--faces=tallest: must be largest, leftmost, all"),
    ({"faces": "-1"}, "--faces=-1"),
    ({"alike": 1.1}, "--alike=1.1: must be between -1"),
    ({"alike": 0.5}, "--alike=0.5: requires --face_at, --face_like or --faces speaking"),
    ({"alike": float("nan")}, "--alike=nan"),
    ({"face_at": (float("nan"), 1, 1)}, "--face_at=nan,1,1"),
    ({"faces": "all", "face_at": (0, 1, 1)}, "--faces and --face_at"),
    ({"faces": "all", "box": (0, 1, 0, 1)}, "--faces: cannot be combined with --box"),
    ({"faces": "all", "compat": "public"}, "--faces: cannot be combined with --compat public"),
])  # fmt: skip
def test_face_options_reject_invalid_selection(options, message):
    with pytest.raises(InputError, match=message):
        LipSyncOptions(**options)


def test_second_run_uses_cached_tracks(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    video = write_video(
        tmp_path / "face.mp4", [paint_faces(GRAY, (MAGENTA, (20 + n, 60, 60 + n, 110))) for n in range(40)]
    )
    first, renamed, cropped, uncached = ColorDetector(), ColorDetector(), ColorDetector(), ColorDetector()
    frames = [None] * 50
    boxes = select_boxes(frames, LipSyncOptions(), first, FileSource(video))
    assert first.num_images > 0 and len(boxes) == 40
    moved = video.rename(tmp_path / "the same by another name.mp4")
    assert select_boxes(frames, LipSyncOptions(), renamed, FileSource(moved)) == boxes
    assert renamed.num_images == 0
    select_boxes(frames, LipSyncOptions(), cropped, FileSource(moved, framing=Framing(crop=(10, -1, 0, -1))))
    assert cropped.num_images > 0
    assert select_boxes(frames, LipSyncOptions(cache=False), uncached, FileSource(moved)) == boxes
    assert uncached.num_images > 0


def test_partial_cache_is_extended_when_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    video = write_video(tmp_path / "face.mp4", [paint_faces(GRAY, (MAGENTA, SMALL))] * 40)
    has_detected = []
    for frames in (10, 40, 20, 60):
        detector = ColorDetector()
        assert len(select_boxes([None] * frames, LipSyncOptions(), detector, FileSource(video))) == min(frames, 40)
        has_detected.append(detector.num_images > 0)
    assert has_detected == [True, True, False, True]  # 40 cached frames do not imply that the video ends there


def test_custom_descriptor_selects_person(tmp_path):
    Image.fromarray(paint_faces(np.zeros((90, 90, 3), np.uint8), (MAGENTA, (20, 20, 60, 70)))).save(
        tmp_path / "person.png"
    )
    lipsync = LipSync(
        Wav2Lip(width=0.0625), torch.device("cpu"), lambda batch_size, compat: ColorDetector(),
        describe=lambda crop: np.array([crop[..., 1].mean() < 200, crop[..., 1].mean() >= 200], float),
    )  # fmt: skip
    source = MemorySource(paint_two_people())
    locator = lipsync.face_locator(
        source, 40, LipSyncOptions(face_like=(tmp_path / "person.png",), pads=EXACT.pads, cache=False)
    )
    assert all(is_near(target.box, SMALL) for _, (target,) in locate(locator, source.frames()))
