"""Box operators equal torchvision's, without its import."""

import subprocess
import sys

import pytest
import torch

from face_detection import box_ops


def random_boxes(count):
    rng = torch.Generator().manual_seed(count)
    corners = 60 * torch.rand(count, 2, generator=rng) - 10
    return torch.cat([corners, corners + 5 + 25 * torch.rand(count, 2, generator=rng)], 1), torch.rand(
        count, generator=rng
    )


@pytest.mark.parametrize("count", [0, 1, 80])
def test_operators_equal_torchvision(count):
    from torchvision import ops

    boxes, scores = random_boxes(count)
    groups = torch.arange(count) % 3
    images = torch.rand(3, 2, 64, 64)
    rois = torch.cat([groups[:, None].to(boxes), boxes], dim=1)
    assert torch.equal(box_ops.nms(boxes, scores, 0.3), ops.nms(boxes, scores, 0.3))
    assert torch.equal(box_ops.batched_nms(boxes, scores, groups, 0.3), ops.batched_nms(boxes, scores, groups, 0.3))
    expected = ops.roi_align(images, rois, 12, sampling_ratio=2, aligned=True)
    assert torch.equal(box_ops.roi_align(images, rois, 12, 2), expected)


def test_detectors_do_not_import_torchvision():
    code = (
        "import sys, face_detection.detectors.mtcnn, face_detection.detectors.s3fd; "
        "sys.exit('torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
