"""The framing of checkpoints, and the pads of a request."""

from __future__ import annotations

import pytest

from wav2lip.faces.boxes import Pads
from wav2lip.faces.framing import FaceFraming, read_framing, resolve_pads

OWN = FaceFraming(Pads(1, 2, 3, 4), "haar", smooth_window_frames=13, stride_frames=2, scan_frames=25, scan_side=480)


def test_framing_round_trip_and_absence():
    assert read_framing({"framing": OWN.to_json(), "samples": 5}) == OWN
    assert read_framing({}) is None  # upstream's checkpoint
    assert read_framing({"samples": 5}) == FaceFraming(Pads(0, 0, 0, 0))  # of this project, before framings


@pytest.mark.parametrize("values", [
    3, {"pads": [0, 10, 0, 0]}, {"pads": {"top": "1"}}, {"pads": {"top": 1.5}}, {"detector": 3},
    {"smooth_window_frames": 0}, {"stride_frames": True},
])  # fmt: skip
def test_corrupt_framing_is_rejected(values):
    with pytest.raises(ValueError, match="^framing: "):
        FaceFraming.from_json(values)


@pytest.mark.parametrize(("pads", "framing", "compat", "expected"), [
    (None, None, "none", (0, 10, 0, 0)), (None, OWN, "none", (1, 2, 3, 4)), (None, OWN, "public", (0, 10, 0, 0)),
    ((5, 6, 7, 8), OWN, "none", (5, 6, 7, 8)), ((0, 0, 0, 0), None, "public", (0, 0, 0, 0)),
])  # fmt: skip
def test_pads_of_request_else_checkpoint_else_upstream(pads, framing, compat, expected):
    assert resolve_pads(pads, framing, compat) == Pads(*expected)
