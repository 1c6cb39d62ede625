"""FAN with 68 landmarks against the network of the package face-alignment 1.5.0, with deterministic weights.

The 98-point network is tested with the other networks of its engine.
"""

import numpy as np
import pytest
import torch

from models.fan import FAN
from tests.helpers.goldens import deterministic_weights, golden, tensor

FACE_ID, GAIN = 100070, 0.7


@pytest.fixture(scope="module")
def heatmaps():
    network = FAN()
    shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
    network.load_state_dict(deterministic_weights(shapes, GAIN))
    with torch.inference_mode():
        return network.eval()(tensor(FACE_ID, (1, 3, 256, 256)))


def test_state_dict_keys_match_published_file():
    with torch.device("meta"):
        assert list(FAN().state_dict()) == list(golden("fan68")["keys"])


def test_heatmaps_equal_golden(heatmaps):
    expected = golden("fan68")
    assert [maps.abs().mean().item() for maps in heatmaps] == pytest.approx(expected["heatmap_abs_mean"], rel=1e-4)
    np.testing.assert_allclose(heatmaps[-1][0, [0, 33, 67]], expected["heatmaps_0_33_67"], atol=1e-4)
