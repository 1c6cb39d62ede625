"""SyncNet v2 gives the numbers of the published network, and takes its weights."""

import pytest
import torch

from models import SyncNetV2
from tests.reference import golden, state_dict_shapes, tensor, weights


@pytest.fixture(scope="module")
def expert():
    network = SyncNetV2()
    network.load_state_dict(weights("syncnet_v2"))
    return network.eval()


def close(ours, expected):
    """Within 1e-4 of the largest value, the golden's tolerance."""
    torch.testing.assert_close(ours, torch.from_numpy(expected), atol=1e-4 * abs(expected).max(), rtol=0)


def test_keys_shapes_and_registration_order_are_those_of_the_published_file():
    ours = {key: list(value.shape) for key, value in SyncNetV2().state_dict().items()}
    assert list(ours.items()) == list(state_dict_shapes("syncnet_v2").items())


def test_deterministic_weights_are_those_the_goldens_were_made_with():
    probe, made = golden("weights_probe"), weights("syncnet_v2")
    assert list(probe["syncnet_v2_keys"]) == sorted(made)
    sums = [made[key].double().abs().sum().item() for key in sorted(made)]
    assert sums == pytest.approx(probe["syncnet_v2_abs_sum"], rel=1e-6)


@torch.inference_mode()
def test_embeddings_are_the_golden_ones(expert):
    expected = golden("lse")
    frames = tensor(100040, (2, 3, 5, 224, 224), 0, 255)
    close(expert.netcnnlip(frames).flatten(1), expected["lip_feat512"])
    close(expert.embed_lips(frames)[:, 0], expected["lip"])
    close(expert.embed_sound(tensor(100041, (2, 1, 13, 20), -20, 20)), expected["aud"])


@torch.inference_mode()
def test_a_stretch_of_frames_gives_what_its_windows_give_one_by_one(expert):
    frames = tensor(1, (1, 3, 7, 224, 224), 0, 255)
    stretch = expert.embed_lips(frames)
    assert stretch.shape == (1, 3, 1024)
    for v in range(3):
        alone = expert.embed_lips(frames[:, :, v : v + 5])
        torch.testing.assert_close(stretch[:, v : v + 1], alone, atol=1e-4 * alone.abs().max().item(), rtol=0)
