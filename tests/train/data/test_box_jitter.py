"""Jittered boxes: crops that other edges of the box would cut."""

import cv2
import numpy as np
import torch

from tests.helpers.training import open_noise
from train.data.box_jitter import JitteredDataset, move_edges


def test_move_edges_equals_a_crop_of_the_moved_box():
    y, x = np.mgrid[:200, :200].astype(np.float32)
    scene = np.stack([60 + 0.5 * x, 60 + 0.5 * y, 80 + 0.2 * x + 0.2 * y], axis=-1).round().astype(np.uint8)

    def cut(left, top, right, bottom):
        return cv2.resize(scene[top:bottom, left:right], (96, 96), interpolation=cv2.INTER_LINEAR)

    frames = torch.from_numpy(np.stack([cut(40, 40, 140, 140)] * 2))[None]
    moved = move_edges(frames, torch.tensor([[0.05, 0.1, -0.02, -0.08]]))
    difference = moved[0].int() - torch.from_numpy(cut(45, 50, 138, 132)).int()
    assert difference[:, 2:-2, 2:-2].abs().max() <= 2


def test_jitter_depends_on_the_sample_number_alone(noise_root):
    dataset = open_noise(noise_root, "generator", "clips")
    jittered = JitteredDataset(dataset, 0.1, seed=0)
    batch, plain = jittered.__getitems__([4, 5, 6, 7]), dataset.__getitems__([4, 5, 6, 7])
    (single,) = jittered.__getitems__([6]).target
    assert torch.equal(batch.target[2], single)
    assert torch.equal(batch.frame_mels, plain.frame_mels)
    assert not torch.equal(batch.target, plain.target)
    none = JitteredDataset(dataset, 0.0, seed=0).__getitems__([4, 5])
    assert torch.equal(none.target, plain.target[:2]) and torch.equal(none.reference, plain.reference[:2])
