"""Operators on boxes are torchvision's, without the seconds that its import takes."""

import subprocess
import sys

import pytest
import torch

from face_detection import box_ops


def boxes_of(count):
    rng = torch.Generator().manual_seed(count)
    corners = 60 * torch.rand(count, 2, generator=rng) - 10
    return torch.cat([corners, corners + 5 + 25 * torch.rand(count, 2, generator=rng)], 1), torch.rand(
        count, generator=rng
    )


@pytest.mark.parametrize("count", [0, 1, 80])
def test_the_same_boxes_stay_and_regions_have_the_same_pixels_as_with_torchvision(count):
    from torchvision import ops

    boxes, scores = boxes_of(count)
    owners = torch.arange(count) % 3
    pictures = torch.rand(3, 2, 64, 64)
    regions = torch.cat([owners[:, None].to(boxes), boxes], dim=1)
    assert torch.equal(box_ops.nms(boxes, scores, 0.3), ops.nms(boxes, scores, 0.3))
    assert torch.equal(box_ops.batched_nms(boxes, scores, owners, 0.3), ops.batched_nms(boxes, scores, owners, 0.3))
    expected = ops.roi_align(pictures, regions, 12, sampling_ratio=2, aligned=True)
    assert torch.equal(box_ops.roi_align(pictures, regions, 12, 2), expected)


def test_detectors_do_without_the_import_of_torchvision():
    code = "import sys, face_detection.mtcnn, face_detection.s3fd; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
