"""SyncNet v2 against the published network's outputs and weights."""

import pytest
import torch

from models import SyncNetV2
from tests.helpers.goldens import golden, state_dict_shapes, tensor, weights


@pytest.fixture(scope="module")
def expert():
    network = SyncNetV2()
    network.load_state_dict(weights("syncnet_v2"))
    return network.eval()


def assert_close(actual, expected):
    """Compare with a tolerance of 1e-4 of the largest value."""
    torch.testing.assert_close(actual, torch.from_numpy(expected), atol=1e-4 * abs(expected).max(), rtol=0)


def test_state_dict_matches_published_file():
    actual = {key: list(value.shape) for key, value in SyncNetV2().state_dict().items()}
    assert list(actual.items()) == list(state_dict_shapes("syncnet_v2").items())


def test_deterministic_weights_match_golden_probe():
    probe, state = golden("weights_probe"), weights("syncnet_v2")
    assert list(probe["syncnet_v2_keys"]) == sorted(state)
    sums = [state[key].double().abs().sum().item() for key in sorted(state)]
    assert sums == pytest.approx(probe["syncnet_v2_abs_sum"], rel=1e-6)


@torch.inference_mode()
def test_embeddings_equal_golden(expert):
    expected = golden("lse")
    frames = tensor(100040, (2, 3, 5, 224, 224), 0, 255)
    assert_close(expert.netcnnlip(frames).flatten(1), expected["lip_feat512"])
    assert_close(expert.embed_lips(frames)[:, 0], expected["lip"])
    assert_close(expert.embed_audio(tensor(100041, (2, 1, 13, 20), -20, 20)), expected["aud"])


@torch.inference_mode()
def test_sequence_embedding_equals_single_windows(expert):
    frames = tensor(1, (1, 3, 7, 224, 224), 0, 255)
    sequence = expert.embed_lips(frames)
    assert sequence.shape == (1, 3, 1024)
    for v in range(3):
        window = expert.embed_lips(frames[:, :, v : v + 5])
        torch.testing.assert_close(sequence[:, v : v + 1], window, atol=1e-4 * window.abs().max().item(), rtol=0)
