"""Crop of a face: the reference's boxes, the corrected ones, and the modes."""

import numpy as np
import pytest

from tests.helpers.sadtalker import golden
from wav2lip.sadtalker.source.cropping import Region, choose_region, locate_face_square

FIVE = np.array([[40, 40], [60, 40], [50, 52], [43, 62], [57, 62]], np.float32)  # x, y


@pytest.mark.parametrize("row", range(7))
def test_public_face_square_matches_golden(row):
    cases = golden("geometry")
    case, points = cases["crop_cases"][row], cases["crop_case_points"][row]
    face = locate_face_square(points, int(case[0]), int(case[1]), "public")
    np.testing.assert_allclose([*face.photo_size, *face.outer, *face.square], case[5:], atol=1e-9)


def test_face_square_of_level_eyes():
    # Eyes 20 apart, mouth 22 below: half side max(2 * 20, 1.8 * 22) = 40, center 2.2 below the eyes.
    face = locate_face_square(FIVE, 200, 200)
    assert face.side == pytest.approx(80)
    assert face.inner == (10, 2, 90, 82)  # 50 +- 40 and 42.2 +- 40, plus 0.5, truncated
    assert face.outer == (2, 0, 98, 91)  # 8 pixels of border


def test_square_is_limited_by_its_box_and_not_by_the_width():
    # A face taller than the photo is wide: the reference cuts its bottom at the width, 100 pixels below its top.
    points = FIVE * 2
    public = locate_face_square(points, 100, 400, "public")
    correct = locate_face_square(points, 100, 400)
    assert public.square[3] == 100
    assert correct.square[3] == pytest.approx(2 * 42.2 + 80 + 0.5, abs=1e-3)


def test_region_at_the_right_edge_is_the_part_that_exists():
    points = FIVE + np.float32([60, 0])  # the square reaches x = 150 in a photo of 130 pixels
    photo = np.zeros((200, 130, 3), np.uint8)
    for compat in ("none", "public"):
        _, region = choose_region("crop", photo, points, compat)
        assert region.box[2] == 130
    assert region.aspect_size == (128 - 60 + 12, 80)  # as recorded by the reference: the limit is 130 from the box


def test_public_downscales_photos_with_large_faces():
    photo = np.zeros((3000, 3000, 3), np.uint8)
    points = FIVE * 30  # side 2400: shrunk by 2
    small, region = choose_region("crop", photo, points, "public")
    assert small.shape == (1500, 1500, 3)
    same, full = choose_region("crop", photo, points)
    assert same is photo
    assert full.size[0] == pytest.approx(2 * region.size[0], abs=2)


def test_resize_mode_keeps_the_proportions_of_a_wide_photo():
    photo = np.zeros((50, 100, 3), np.uint8)
    photo[:, 40:60] = 255
    _, region = choose_region("resize", photo, FIVE)
    assert region.box == (0, -25, 100, 75)
    assert region.aspect_size == (100, 50)
    image = region.cut(photo, 64)
    assert image[32, 32, 0] == 255 and image[2, 32, 0] == 255  # the edge is repeated
    _, squashed = choose_region("resize", photo, FIVE, "public")
    assert squashed.box == (0, 0, 100, 50)


def test_outer_modes_use_the_box_with_a_border():
    photo = np.zeros((200, 200, 3), np.uint8)
    _, region = choose_region("extcrop", photo, FIVE)
    assert region.box == (2, 0, 98, 91)
    assert region.aspect_size == region.size
    assert choose_region("extcrop", photo, FIVE, "public")[1].aspect_size == (80, 80)


def test_points_are_converted_to_the_region():
    region = Region((10, 20, 110, 220), (100, 200))
    inside = region.to_region(np.array([[60.0, 120.0]]), 50)
    np.testing.assert_allclose(inside, [[25, 25]])
