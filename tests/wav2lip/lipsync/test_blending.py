"""A generated face goes back without a seam: the lower face alone, in the colours of the frame, softly."""

import cv2
import numpy as np
import pytest
import torch

from models import Wav2Lip
from tests.wav2lip.test_lipsync import Frames, lipsync, silent
from wav2lip.crops import cut, paste, resize
from wav2lip.errors import InputError
from wav2lip.lipsync import Options
from wav2lip.lipsync.blending import Feather, build_blend, lower_face_mask, place_of
from wav2lip.lipsync.shown import Shown, Target

BOX = (60, 40, 156, 136)  # the size of a crop: nothing is resized on the way
MOUTH = (108, 111)  # x and y of where it usually is in that box


@pytest.fixture
def smooth_picture():
    noise = np.random.default_rng(3).integers(0, 255, (12, 13, 3), np.uint8)
    return cv2.resize(noise, (208, 192), interpolation=cv2.INTER_CUBIC) // 2 + 60


def put(blend, frame, face, box=BOX, number=0, **target):
    """The frame with the face in it, and the frame untouched."""
    shown, crop = Shown(number, frame.copy(), []), resize(cut(frame, box), *face.shape[1::-1])
    blend(shown, Target(box, **target), crop, face)
    return shown.frame.astype(int), frame.astype(int)


def inverted(frame):
    return 255 - cut(frame, BOX)


def test_only_the_lower_half_of_the_box_changes_and_nothing_at_its_edge(smooth_picture):
    made, given = put(Feather(), smooth_picture, inverted(smooth_picture))
    changed = np.abs(made - given).max(axis=2)
    assert changed[MOUTH[1], MOUTH[0]] > 20
    left, top, right, bottom = BOX
    inside = np.zeros(changed.shape, bool)
    inside[(top + bottom) // 2 + 1 : bottom - 1, left + 1 : right - 1] = True
    assert changed[~inside].max() <= 1


def test_a_face_that_the_generator_left_alone_leaves_the_frame_as_it_was(smooth_picture):
    made, given = put(Feather(), smooth_picture, cut(smooth_picture, BOX).copy())
    np.testing.assert_array_equal(made, given)


@pytest.mark.parametrize("colour", [(14, 14, 14), (-9, 4, 12)])
def test_colours_that_a_generator_gets_wrong_are_those_of_the_frame(smooth_picture, colour):
    face = (cut(smooth_picture, BOX).astype(int) + colour).astype(np.uint8)
    made, given = put(Feather(), smooth_picture, face)
    assert np.abs(made - given).max() <= 1


def test_new_lips_go_in_whole(smooth_picture):
    face = cut(smooth_picture, BOX).copy()
    x, y = MOUTH[0] - BOX[0], MOUTH[1] - BOX[1]
    face[y - 5 : y + 6, x - 12 : x + 13] = (20, 0, 200)
    made, _ = put(Feather(), smooth_picture, face)
    lips = made[MOUTH[1] - 4 : MOUTH[1] + 5, MOUTH[0] - 11 : MOUTH[0] + 12]
    assert np.abs(lips - (20, 0, 200)).max() <= 5


def test_colours_that_jump_from_frame_to_frame_do_not_flicker(smooth_picture):
    rng, feather, results = np.random.default_rng(0), Feather(), {"box": [], "feather": []}
    for number in range(20):
        face = (cut(smooth_picture, BOX) + rng.normal(0, 6, 3)).astype(np.uint8)
        results["feather"].append(put(feather, smooth_picture, face, number=number)[0])
        results["box"].append(put(build_blend("box"), smooth_picture, face)[0])
    flicker = {name: np.std(made, axis=0)[90:130, 70:146].mean() for name, made in results.items()}
    assert flicker["feather"] < flicker["box"] / 2


def test_colour_is_not_carried_over_a_cut_nor_from_one_person_to_another(smooth_picture):
    dark, bright = smooth_picture // 2, smooth_picture // 2 + 120
    feather = Feather()
    put(feather, bright, cut(bright - 30, BOX).copy(), number=0)  # 30 levels too dark
    made, given = put(feather, dark, cut(dark, BOX).copy(), number=1)  # another shot: right
    assert np.abs(made - given).max() <= 1
    put(feather, bright, cut(bright - 30, BOX).copy(), number=7)
    made, given = put(feather, bright, cut(bright, BOX).copy(), number=8, person=1)
    assert np.abs(made - given).max() <= 1


def test_the_mask_follows_the_landmarks_of_a_face():
    upright = np.array([[40, 40], [60, 40], [50, 50], [42, 75], [58, 75]], np.float32)
    box, middles = (0, 0, 100, 100), {}
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    for shift in (-15, 0, 15):  # pixels that the mouth lies to the side of the eyes' middle: a head that tilts
        points = upright + np.float32([[-shift / 2, 0]] * 2 + [[0, 0]] + [[shift / 2, 0]] * 2)
        mask = lower_face_mask(place_of(Target(box, points)))
        middles[shift] = (mask * x).sum() / mask.sum(), (mask * y).sum() / mask.sum()
    assert middles[-15][0] < middles[0][0] - 3
    assert middles[15][0] > middles[0][0] + 3
    assert middles[0][0] == pytest.approx(31.5, abs=0.01)


def test_landmarks_that_belong_to_something_else_are_not_followed():
    far = np.array([[0, 0], [5, 0], [2, 2], [0, 5], [5, 5]], np.float32)
    np.testing.assert_array_equal(
        lower_face_mask(place_of(Target((0, 0, 100, 100), far))), lower_face_mask(place_of(Target((0, 0, 100, 100))))
    )


@pytest.mark.parametrize("box", [
    (180, 170, 200, 190), (188, 172, 208, 192), (0, 172, 20, 192), (0, 0, 208, 192), (5, 5, 6, 6), (5, 5, 6, 9),
])  # fmt: skip
def test_tiny_faces_and_faces_cut_by_the_frame_are_blended(smooth_picture, box):
    made, given = put(Feather(), smooth_picture, np.full((96, 96, 3), 128, np.uint8), box)
    left, top, right, bottom = box
    made[top:bottom, left:right] = given[top:bottom, left:right]
    np.testing.assert_array_equal(made, given)


def test_a_face_cut_by_the_lower_edge_of_the_frame_is_new_down_to_that_edge(smooth_picture):
    box = (60, 96, 156, 192)
    face = cut(smooth_picture, box).copy()
    face[72:, 38:58] = 0
    made, _ = put(Feather(), smooth_picture, face, box)
    assert made[191, 108].max() < 30


def test_box_is_the_public_paste(smooth_picture):
    face = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    expected = smooth_picture.copy()
    paste(expected, face, (20, 30, 90, 150))
    np.testing.assert_array_equal(put(build_blend("box"), smooth_picture, face, (20, 30, 90, 150))[0], expected)


def test_compat_public_pastes_the_box_and_a_warm_generator_remembers_no_request(smooth_picture):
    frames = [smooth_picture, np.roll(smooth_picture, 2, axis=1)]
    torch.manual_seed(1)
    ours = lipsync([BOX], Wav2Lip(width=0.125))

    def made(**options):
        box = (BOX[1], BOX[3], BOX[0], BOX[2])
        return np.stack(
            [one.frame for one in ours.shown(Frames(frames), silent(2), Options(box=box, precision="fp32", **options))]
        )

    feather, public = made(), made(compat="public")
    np.testing.assert_array_equal(public, made(blend="box"))
    assert np.abs(public.astype(int) - feather)[:, 42:80, 62:154].mean() > 5  # the upper half of the box
    np.testing.assert_array_equal(feather, made())


def test_an_unknown_blend_is_refused_by_its_flag():
    with pytest.raises(InputError, match="--blend is fuzzy; choose one of feather, box"):
        Options(blend="fuzzy")
