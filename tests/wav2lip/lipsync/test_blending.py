"""Blending without visible seams: lower face only, soft mask, colors of the frame."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models import Wav2Lip
from tests.helpers.lipsync import MemorySource, scripted_lipsync, silent_windows
from wav2lip.engine.interface import FaceTarget, FrameItem
from wav2lip.errors import InputError
from wav2lip.faces.crops import crop_box, paste, resize
from wav2lip.lipsync import LipSyncOptions
from wav2lip.lipsync.blending import FeatherBlend, MouthGeometry, build_blend, lower_face_mask

BOX = (60, 40, 156, 136)  # the size of a crop, so that nothing is resized
MOUTH = (108, 111)  # x and y of its usual position in that box


@pytest.fixture
def smooth_frame():
    noise = np.random.default_rng(3).integers(0, 255, (12, 13, 3), np.uint8)
    return cv2.resize(noise, (208, 192), interpolation=cv2.INTER_CUBIC) // 2 + 60


def blend_into(blend, frame, face, box=BOX, number=0, **target):
    """Blend a face; return the result and the original frame."""
    item, crop = FrameItem(number, frame.copy(), []), resize(crop_box(frame, box), *face.shape[1::-1])
    blend(item, FaceTarget(box, **target), crop, face)
    return item.frame.astype(int), frame.astype(int)


def inverted(frame):
    return 255 - crop_box(frame, BOX)


def test_feather_changes_only_the_lower_half_inside_the_box(smooth_frame):
    result, original = blend_into(FeatherBlend(), smooth_frame, inverted(smooth_frame))
    changed = np.abs(result - original).max(axis=2)
    assert changed[MOUTH[1], MOUTH[0]] > 20
    left, top, right, bottom = BOX
    inside = np.zeros(changed.shape, bool)
    inside[(top + bottom) // 2 + 1 : bottom - 1, left + 1 : right - 1] = True
    assert changed[~inside].max() <= 1


def test_feather_of_the_original_face_is_identity(smooth_frame):
    result, original = blend_into(FeatherBlend(), smooth_frame, crop_box(smooth_frame, BOX).copy())
    np.testing.assert_array_equal(result, original)


def test_feather_enlarges_by_cubic_convolution(smooth_frame):
    face = resize(crop_box(smooth_frame, BOX), 24, 24)
    result, _ = blend_into(FeatherBlend(), smooth_frame, face)
    image = torch.from_numpy(face).permute(2, 0, 1)[None].float()
    x, y = MOUTH[0] - BOX[0], MOUTH[1] - BOX[1]
    lips = np.s_[y - 6 : y + 7, x - 12 : x + 13]
    cubic, linear = (
        F.interpolate(image, (96, 96), mode=mode, align_corners=False)[0].permute(1, 2, 0).numpy()[lips]
        for mode in ("bicubic", "bilinear")
    )
    np.testing.assert_allclose(crop_box(result, BOX)[lips], cubic, atol=1.01)
    assert np.abs(linear - cubic).max() > 4


@pytest.mark.parametrize("color", [(14, 14, 14), (-9, 4, 12)])
def test_feather_corrects_color_offset(smooth_frame, color):
    face = (crop_box(smooth_frame, BOX).astype(int) + color).astype(np.uint8)
    result, original = blend_into(FeatherBlend(), smooth_frame, face)
    assert np.abs(result - original).max() <= 1


def test_feather_keeps_generated_lips(smooth_frame):
    face = crop_box(smooth_frame, BOX).copy()
    x, y = MOUTH[0] - BOX[0], MOUTH[1] - BOX[1]
    face[y - 5 : y + 6, x - 12 : x + 13] = (20, 0, 200)
    result, _ = blend_into(FeatherBlend(), smooth_frame, face)
    lips = result[MOUTH[1] - 4 : MOUTH[1] + 5, MOUTH[0] - 11 : MOUTH[0] + 12]
    assert np.abs(lips - (20, 0, 200)).max() <= 5


def test_feather_reduces_color_flicker(smooth_frame):
    rng, feather, results = np.random.default_rng(0), FeatherBlend(), {"box": [], "feather": []}
    for number in range(20):
        face = (crop_box(smooth_frame, BOX) + rng.normal(0, 6, 3)).astype(np.uint8)
        results["feather"].append(blend_into(feather, smooth_frame, face, number=number)[0])
        results["box"].append(blend_into(build_blend("box"), smooth_frame, face)[0])
    flicker = {name: np.std(result, axis=0)[90:130, 70:146].mean() for name, result in results.items()}
    assert flicker["feather"] < flicker["box"] / 2


def test_feather_resets_color_at_cuts_and_per_person(smooth_frame):
    dark, bright = smooth_frame // 2, smooth_frame // 2 + 120
    feather = FeatherBlend()
    blend_into(feather, bright, crop_box(bright - 30, BOX).copy(), number=0)  # 30 levels too dark
    result, original = blend_into(feather, dark, crop_box(dark, BOX).copy(), number=1)  # a correct next shot
    assert np.abs(result - original).max() <= 1
    blend_into(feather, bright, crop_box(bright - 30, BOX).copy(), number=7)
    result, original = blend_into(feather, bright, crop_box(bright, BOX).copy(), number=8, person=1)
    assert np.abs(result - original).max() <= 1


def test_mask_follows_landmarks():
    upright = np.array([[40, 40], [60, 40], [50, 50], [42, 75], [58, 75]], np.float32)
    box, centroids = (0, 0, 100, 100), {}
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    for shift in (-15, 0, 15):  # pixels from the midpoint of the eyes to that of the mouth, in x: a tilted head
        points = upright + np.float32([[-shift / 2, 0]] * 2 + [[0, 0]] + [[shift / 2, 0]] * 2)
        mask = lower_face_mask(MouthGeometry.from_target(FaceTarget(box, points)))
        centroids[shift] = (mask * x).sum() / mask.sum(), (mask * y).sum() / mask.sum()
    # The mouth moves by 7.5 of 100 pixels, or 4.8 of the mask's 64.
    assert centroids[-15][0] < centroids[0][0] - 3
    assert centroids[15][0] > centroids[0][0] + 3
    assert centroids[0][0] == pytest.approx(31.5, abs=0.01)


def test_mask_ignores_implausible_landmarks():
    implausible = np.array([[0, 0], [5, 0], [2, 2], [0, 5], [5, 5]], np.float32)
    masks = [
        lower_face_mask(MouthGeometry.from_target(FaceTarget((0, 0, 100, 100), points)))
        for points in (implausible, None)
    ]
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize("box", [
    (180, 170, 200, 190), (188, 172, 208, 192), (0, 172, 20, 192), (0, 0, 208, 192), (5, 5, 6, 6), (5, 5, 6, 9),
])  # fmt: skip
def test_feather_blends_tiny_and_cropped_faces(smooth_frame, box):
    result, original = blend_into(FeatherBlend(), smooth_frame, np.full((96, 96, 3), 128, np.uint8), box)
    left, top, right, bottom = box
    result[top:bottom, left:right] = original[top:bottom, left:right]
    np.testing.assert_array_equal(result, original)


def test_feather_reaches_open_lower_edge(smooth_frame):
    box = (60, 96, 156, 192)
    face = crop_box(smooth_frame, box).copy()
    face[72:, 38:58] = 0
    result, _ = blend_into(FeatherBlend(), smooth_frame, face, box)
    assert result[191, 108].max() < 30  # the black of the face, without feathering at the edge of the frame


def test_box_blend_equals_upstream_paste(smooth_frame):
    face = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    expected = smooth_frame.copy()
    paste(expected, face, (20, 30, 90, 150))
    np.testing.assert_array_equal(blend_into(build_blend("box"), smooth_frame, face, (20, 30, 90, 150))[0], expected)


def test_blend_of_compat_public_and_between_requests(smooth_frame):
    frames = [smooth_frame, np.roll(smooth_frame, 2, axis=1)]
    torch.manual_seed(1)
    lipsync = scripted_lipsync([BOX], Wav2Lip(width=0.125))

    def generate(**options):
        box = (BOX[1], BOX[3], BOX[0], BOX[2])
        items = lipsync.run(
            MemorySource(frames), [silent_windows(2)], LipSyncOptions(box=box, precision="fp32", **options)
        )
        return np.stack([item.frame for item in items])

    feather, public = generate(), generate(compat="public")
    np.testing.assert_array_equal(public, generate(blend="box"))
    # Only the blend `box` replaces the upper half of the box.
    assert np.abs(public.astype(int) - feather)[:, 42:80, 62:154].mean() > 5
    np.testing.assert_array_equal(feather, generate())


def test_options_reject_unknown_blend():
    with pytest.raises(InputError, match="--blend=fuzzy: must be one of"):
        LipSyncOptions(blend="fuzzy")
