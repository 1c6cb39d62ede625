"""Composition of result frames."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wav2lip.engine.interface import FaceTarget, FrameItem
from wav2lip.sadtalker.compositing import build_composition
from wav2lip.sadtalker.source.cropping import Region

REGION = Region((40, 30, 140, 110), (100, 80))
PHOTO = np.random.default_rng(0).integers(60, 180, (16, 20, 3), np.uint8).repeat(10, axis=0).repeat(10, axis=1)
SIDE = 64


def compose(mode, frame, region=REGION, compat="none", composition=None):
    target = FaceTarget((16, 16, 48, 48), np.full((5, 2), 32, np.float32))
    item = FrameItem(0, frame.copy(), [target])
    (composition or build_composition(mode, PHOTO, region, SIDE, compat))(item)
    return item


def test_crop_keeps_its_aspect_ratio():
    item = compose("crop", np.full((SIDE, SIDE, 3), 90, np.uint8))
    assert item.frame.shape == (51, 64, 3)  # int(64 * 80 / 100)
    (target,) = item.targets
    assert target.box == (16, 13, 48, 38)
    np.testing.assert_allclose(target.landmarks, [[32, 25.5]] * 5)


def test_whole_photo_is_cut_out_of_its_square():
    frame = np.zeros((SIDE, SIDE, 3), np.uint8)
    frame[6:58] = 200  # the photo of 200 x 160 in a square of 200 x 200
    item = compose("resize", frame, Region((0, -20, 200, 180), (200, 160)))
    assert item.frame.shape == (51, 64, 3)
    assert (item.frame == 200).mean() > 0.95


def test_paste_leaves_the_photo_outside_unchanged():
    item = compose("full", np.full((SIDE, SIDE, 3), 90, np.uint8))
    outside = np.ones(PHOTO.shape[:2], bool)
    outside[30:110, 40:140] = False
    np.testing.assert_array_equal(item.frame[outside], PHOTO[outside])
    assert item.targets[0].box == (65, 50, 115, 90)
    np.testing.assert_allclose(item.targets[0].landmarks, [[90, 70]] * 5)


@pytest.mark.parametrize("levels", [-20, 15])
def test_paste_removes_a_color_cast(levels):
    original = REGION.cut(PHOTO, SIDE)
    moved = np.clip(original.astype(int) + levels, 0, 255).astype(np.uint8)
    pasted = compose("full", moved).frame[30:110, 40:140].astype(float)
    plain = compose("full", original).frame[30:110, 40:140].astype(float)
    assert abs((pasted - plain).mean()) < 0.1 * abs(levels)


def test_paste_enlarges_by_cubic_convolution():
    frame = REGION.cut(PHOTO, SIDE)
    center = np.s_[25:55, 30:70]
    pasted = compose("full", frame).frame[30:110, 40:140][center].astype(float)
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    errors = {
        mode: np.abs(F.interpolate(image, (80, 100), mode=mode)[0].permute(1, 2, 0).numpy()[center] - pasted).mean()
        for mode in ("bicubic", "bilinear")
    }
    assert errors["bicubic"] < 0.5 * errors["bilinear"], errors


def test_paste_has_no_step_at_its_edge():
    frame = np.full((SIDE, SIDE, 3), 250, np.uint8)
    pasted = compose("full", frame).frame.astype(float)
    edge = np.abs(pasted[30:110, 40] - pasted[30:110, 39]).mean()
    photo_edge = np.abs(PHOTO[30:110, 40].astype(float) - PHOTO[30:110, 39]).mean()
    assert edge == pytest.approx(photo_edge, abs=1.5)


def test_color_offset_is_smooth_in_time():
    composition = build_composition("full", PHOTO, REGION, SIDE)
    original = REGION.cut(PHOTO, SIDE)
    first = compose("full", original, composition=composition).frame.astype(float)
    brighter = np.clip(original.astype(int) + 10, 0, 255).astype(np.uint8)
    second = compose("full", brighter, composition=composition).frame.astype(float)
    change = (second - first)[50:90, 70:110].mean()
    assert 6 < change < 9.5  # 10 without color matching; a fifth is corrected at once


def test_paste_at_the_edges_of_the_photo_reaches_them():
    region = Region((0, 0, 100, 80), (100, 80))
    frame = np.random.default_rng(1).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    item = compose("full", frame, region)
    assert np.abs(item.frame[0, :60].astype(int) - PHOTO[0, :60]).mean() > 20


@pytest.mark.parametrize("region", [REGION, Region((0, 0, 100, 80), (100, 80)), Region((0, 0, 200, 160), (200, 160))])
def test_public_paste_clones_by_poisson_blending(region):
    same = compose("full", region.cut(PHOTO, SIDE), region, "public").frame
    assert same.shape == PHOTO.shape
    brighter = np.clip(region.cut(PHOTO, SIDE).astype(int) + 20, 0, 255).astype(np.uint8)
    cloned = compose("full", brighter, region, "public").frame
    assert np.abs(cloned.astype(int) - same).mean() < 2  # a constant has no gradient
