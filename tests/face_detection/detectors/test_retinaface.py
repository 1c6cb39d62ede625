"""RetinaFace against facexlib 0.3.0 with deterministic weights, and priors worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from face_detection.detectors import retinaface
from face_detection.detectors.retinaface import RetinaFace, decode_boxes, decode_landmarks, prior_boxes
from tests.helpers.goldens import tensor
from tests.helpers.sadtalker import golden, load

CPU = torch.device("cpu")


class FixedHeads(torch.nn.Module):
    """Return one face at the larger prior of the central cell of 32 pixels, and record the inputs."""

    def __init__(self, score):
        super().__init__()
        self.score, self.inputs = score, []

    def forward(self, images):
        self.inputs.append(images)
        rows, columns = images.shape[2:]
        count = 2 * sum(-(-rows // stride) * -(-columns // stride) for stride in (8, 16, 32))
        classes = torch.tensor([1.0, 0.0]).repeat(len(images), count, 1)
        classes[:, -10] = torch.tensor([1 - self.score, self.score])  # 3 x 3 cells of two: cell 4, box 0
        return torch.zeros(len(images), count, 4), classes, torch.zeros(len(images), count, 10)


@pytest.fixture(scope="module")
def network():
    return load("retinaface_resnet50", gain=1.0)


@pytest.mark.parametrize(("compat", "name"), [("none", "faces"), ("public", "faces_rgb")])
def test_faces_equal_golden(network, compat, name):
    frame = np.floor(tensor(200070, (100, 83, 3), 0, 256).numpy()).astype(np.uint8)
    ((*faces,),) = RetinaFace(network, compat=compat).detect([frame])
    found = [[*face.box, face.score, *np.ravel(face.landmarks)] for face in faces]
    np.testing.assert_allclose(found, golden("retinaface")[name], rtol=1e-4, atol=2e-3)


def test_prior_boxes_by_hand():
    priors = prior_boxes(17, 40, CPU)
    assert len(priors) == 2 * (3 * 5 + 2 * 3 + 1 * 2)
    assert priors[:3].tolist() == [[4, 4, 16], [4, 4, 32], [12, 4, 16]]  # both boxes of a cell, then the next column
    assert priors[10].tolist() == [4, 12, 16]  # the second row
    assert priors[30].tolist() == [8, 8, 64]
    assert priors[-1].tolist() == [48, 16, 512]  # its center is outside of the image


def test_decoding_by_hand():
    prior = torch.tensor([[20.0, 30.0, 16.0]])
    offsets = torch.tensor([[[5.0, -10.0, 5 * np.log(2), 0.0]]])  # center (20 + 8, 30 - 16), size 32 x 16
    np.testing.assert_allclose(decode_boxes(offsets, prior)[0, 0], [12, 6, 44, 22], rtol=1e-6)
    points = torch.arange(10.0).reshape(1, 1, 10)
    expected = [[20 + 1.6 * x, 30 + 1.6 * (x + 1)] for x in range(0, 10, 2)]
    np.testing.assert_allclose(decode_landmarks(points, prior)[0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(("score", "count"), [(0.98, 1), (0.96, 0)])
def test_faces_below_the_threshold_are_dropped(score, count):
    (faces,) = RetinaFace(FixedHeads(score)).detect([np.zeros((96, 96, 3), np.uint8)])
    assert len(faces) == count
    for face in faces:
        assert face.box == (48 - 128, 48 - 128, 48 + 128, 48 + 128)
        assert face.landmarks == ((48, 48),) * 5


def test_large_images_are_downscaled_unless_public(monkeypatch):
    monkeypatch.setattr(retinaface, "MAX_SIDE", 96)
    heads = FixedHeads(0.98)
    (faces,) = RetinaFace(heads).detect([np.zeros((192, 192, 3), np.uint8)])
    assert heads.inputs[0].shape == (1, 3, 96, 96)
    assert faces[0].box == (96 - 256, 96 - 256, 96 + 256, 96 + 256)
    RetinaFace(heads, compat="public").detect([np.zeros((192, 192, 3), np.uint8)])
    assert heads.inputs[1].shape == (1, 3, 192, 192)


def test_channels_are_bgr_minus_their_means():
    heads = FixedHeads(0)
    RetinaFace(heads).detect([np.full((96, 96, 3), (123, 117, 104), np.uint8)])
    assert heads.inputs[0].abs().max() == 0
