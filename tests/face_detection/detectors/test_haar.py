"""Haar cascade on real images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from face_detection.detectors.haar import Haar
from tests.helpers.faces import FACE_BOXES, box_iou, read_rgb


@pytest.fixture(scope="module")
def haar():
    return Haar()


def test_detects_one_face(haar, astronaut):
    ((face,),) = haar.detect([astronaut])
    assert box_iou(face.box, FACE_BOXES["astronaut"]) > 0.6
    assert 0.5 < face.score <= 1


def test_boxes_have_the_aspect_ratio_of_s3fd(haar, astronaut):
    left, top, right, bottom = haar.detect([astronaut])[0][0].box
    assert (right - left) / (bottom - top) == pytest.approx(173 / 235, abs=0.03)  # a typical upstream crop


def test_blank_and_noise_have_no_face(haar):
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert haar.detect([np.full((240, 320, 3), 128, np.uint8), noise]) == [[], []]


def test_tiny_image_has_no_face(haar):
    assert haar.detect([np.zeros((5, 7, 3), np.uint8)]) == [[]]


def test_empty_batch(haar):
    assert haar.detect([]) == []


def test_results_are_in_batch_order(haar, astronaut):
    blank = np.zeros_like(astronaut)
    assert [len(faces) for faces in haar.detect([blank, astronaut, blank])] == [0, 1, 0]


def test_boxes_scale_with_the_image(haar, astronaut):
    (small,) = haar.detect([astronaut])[0]
    (large,) = haar.detect([cv2.resize(astronaut, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)])[0]
    assert box_iou(np.array(small.box) * 3, large.box) > 0.85


def test_boxes_do_not_start_outside_the_image(haar, astronaut):
    faces = haar.detect([astronaut[72:, 170:]])[0]
    assert len(faces) <= 1 and all(min(face.box) >= 0 for face in faces)


@pytest.mark.parametrize("name", ["photo_person.png", "photo_painting.png"])
def test_box_spans_forehead_to_chin(haar, shared_media, name):
    faces = haar.detect([read_rgb(shared_media / name)])[0]
    assert box_iou(faces[0].box, FACE_BOXES[name]) > 0.7


def test_detects_nine_faces(haar, shared_media):
    assert len(haar.detect([read_rgb(shared_media / "photo_nine_faces.jpg")])[0]) == 9


def test_no_false_positive_in_grass(haar, shared_media):
    assert haar.detect([read_rgb(shared_media / "photo_no_face.jpg")]) == [[]]


def test_portrait_clip_has_one_face_per_frame(haar, shared_media):
    av = pytest.importorskip("av")
    with av.open(str(shared_media / "portrait_1080x1920_hevc.mp4")) as clip:
        frames = [f.to_ndarray(format="rgb24") for i, f in enumerate(clip.decode(video=0)) if i % 50 == 0]
    assert len(frames) == 5
    detections = haar.detect(frames)
    assert [len(faces) for faces in detections] == [1] * 5
    assert box_iou(detections[0][0].box, (512, 592, 684, 839)) > 0.7  # annotated by hand
