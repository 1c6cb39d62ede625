"""The Haar cascade on real pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from face_detection.haar import Haar

# Forehead to chin and cheek to cheek, drawn by hand: left, top, right, bottom in pixels.
DRAWN = {
    "astronaut": (178, 70, 272, 189),
    "photo_person.png": (153, 54, 306, 265),
    "photo_painting.png": (203, 215, 501, 662),
}


@pytest.fixture(scope="module")
def haar():
    return Haar()


def read(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(0, width) * max(0, height)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def test_one_face_is_found_where_it_is(haar, astronaut):
    ((face,),) = haar.detect([astronaut])
    assert overlap(face.box, DRAWN["astronaut"]) > 0.6
    assert 0.5 < face.score <= 1


def test_boxes_are_as_much_higher_than_wide_as_those_of_s3fd(haar, astronaut):
    left, top, right, bottom = haar.detect([astronaut])[0][0].box
    assert (right - left) / (bottom - top) == pytest.approx(173 / 235, abs=0.03)  # a typical public crop


def test_a_blank_picture_and_noise_have_no_face(haar):
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert haar.detect([np.full((240, 320, 3), 128, np.uint8), noise]) == [[], []]


def test_a_picture_smaller_than_the_smallest_face_has_none(haar):
    assert haar.detect([np.zeros((5, 7, 3), np.uint8)]) == [[]]


def test_no_pictures_give_no_faces(haar):
    assert haar.detect([]) == []


def test_every_picture_has_its_own_answer(haar, astronaut):
    blank = np.zeros_like(astronaut)
    assert [len(faces) for faces in haar.detect([blank, astronaut, blank])] == [0, 1, 0]


def test_a_picture_three_times_as_large_has_the_face_three_times_as_far(haar, astronaut):
    (small,) = haar.detect([astronaut])[0]
    (large,) = haar.detect([cv2.resize(astronaut, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)])[0]
    assert overlap(np.array(small.box) * 3, large.box) > 0.85


def test_a_box_does_not_start_outside_the_picture(haar, astronaut):
    faces = haar.detect([astronaut[72:, 170:]])[0]
    assert len(faces) <= 1 and all(min(face.box) >= 0 for face in faces)


@pytest.mark.parametrize("name", ["photo_person.png", "photo_painting.png"])
def test_a_still_face_is_framed_from_forehead_to_chin(haar, shared_media, name):
    faces = haar.detect([read(shared_media / name)])[0]
    assert overlap(faces[0].box, DRAWN[name]) > 0.7


def test_nine_faces_are_nine(haar, shared_media):
    assert len(haar.detect([read(shared_media / "photo_nine_faces.jpg")])[0]) == 9


def test_grass_has_no_face(haar, shared_media):
    assert haar.detect([read(shared_media / "photo_no_face.jpg")]) == [[]]


def test_frames_of_a_portrait_clip_have_exactly_one_face(haar, shared_media):
    av = pytest.importorskip("av")
    with av.open(str(shared_media / "portrait_1080x1920_hevc.mp4")) as clip:
        frames = [f.to_ndarray(format="rgb24") for i, f in enumerate(clip.decode(video=0)) if i % 50 == 0]
    assert len(frames) == 5
    found = haar.detect(frames)
    assert [len(faces) for faces in found] == [1] * 5
    assert overlap(found[0][0].box, (512, 592, 684, 839)) > 0.7  # drawn by hand
