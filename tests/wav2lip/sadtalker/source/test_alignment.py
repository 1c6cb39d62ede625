"""Alignment of a head to the 3DMM network."""

import numpy as np

from tests.helpers.sadtalker import golden
from wav2lip.sadtalker.source.alignment import HEAD_PIXELS, STANDARD_POINTS, align_head, fit_head


def test_alignment_matches_golden():
    cases = golden("geometry")
    y, x = np.mgrid[:256, :256]
    image = np.stack([(2 * x + y) // 3, (x + 2 * y) // 3, x // 2 + y // 2 + 40], axis=-1) % 256
    transform = fit_head(cases["lm68_image"], 256, 256)
    np.testing.assert_allclose(transform.params, cases["trans_params"], atol=1e-4)
    aligned = align_head(image.astype(np.uint8), transform)
    assert np.abs(aligned.astype(int) - cases["aligned_u8"]).max() <= 1


def test_head_of_known_scale_and_position():
    # The standard points, 80 pixels per unit, at (90, 120) from the lower left of a photo of 200 x 240.
    points = STANDARD_POINTS[:, :2] * 80 + (90, 120)
    points[:, 1] = 239 - points[:, 1]
    transform = fit_head(points.astype(np.float32), 200, 240)
    np.testing.assert_allclose(transform.params, (200, 240, HEAD_PIXELS / 80, 90, 120), rtol=1e-5)


def test_aligned_head_is_centered_and_black_outside():
    image = np.full((240, 200, 3), 200, np.uint8)
    image[117:122, 88:93] = 0  # at the origin of the standard points
    points = STANDARD_POINTS[:, :2] * 80 + (90, 120)
    points[:, 1] = 239 - points[:, 1]
    aligned = align_head(image, fit_head(points, 200, 240))
    rows, columns = np.nonzero(aligned[20:-20, 20:-20, 0] < 100)
    assert abs(rows.mean() + 20 - 112) < 2 and abs(columns.mean() + 20 - 112) < 2
    assert (aligned[:, 0] == 200).all()
    far = align_head(image, fit_head(points - (80, 0), 200, 240))
    assert (far[:, 0] == 0).all()
