"""Sharpness of the mouth relative to the source, against SciPy."""

import cv2
import pytest
import scipy.ndimage

from tests.helpers.metrics import add_noise, blur, compute_scores
from wav2lip.evaluation.metrics.sharpness import Sharpness


def test_sharpness_falls_with_blur_and_rises_with_noise(faces):
    def sharpness(degraded):
        return compute_scores(Sharpness(), degraded, source=faces).values["sharpness"]

    assert sharpness(faces) == 1
    assert sharpness([blur(f, 2) for f in faces]) < sharpness([blur(f, 1) for f in faces]) < 0.6
    assert sharpness([add_noise(f, 8) for f in faces]) > 1.2


def test_sharpness_equals_scipys_laplacian(faces):
    def edges(face):
        return scipy.ndimage.laplace(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[50:].astype(float), mode="mirror").var()

    degraded = [blur(face, 1) for face in faces]
    expected = sum(map(edges, degraded)) / sum(map(edges, faces))
    assert compute_scores(Sharpness(), degraded, source=faces).values["sharpness"] == pytest.approx(expected, rel=1e-5)
