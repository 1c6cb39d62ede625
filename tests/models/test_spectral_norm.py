"""Spectral norm of the discriminator: singular values of 1, and files that load into both forms."""

import numpy as np
import pytest
import torch

from models import VisualQualityDiscriminator
from wav2lip.checkpoints import Checkpoint, load_network, save_checkpoint

FRAMES = torch.rand(1, 3, 2, 96, 96, generator=torch.Generator().manual_seed(0))


def build(spectral_norm, seed=0):
    torch.manual_seed(seed)
    network = VisualQualityDiscriminator(width=0.0625, spectral_norm=spectral_norm)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)  # so that the normalization has an effect
    return network


def convolutions(network):
    return [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]


def largest_singular_values(network):
    weights = [conv.weight.detach().flatten(1).numpy() for conv in convolutions(network)]
    return [np.linalg.svd(weight, compute_uv=False)[0] for weight in weights]


def logits(network):
    with torch.no_grad():
        return network.eval()(FRAMES, return_logits=True)


def test_plain_weights_load_divided_by_their_largest_singular_value():
    plain, network = build(spectral_norm=False, seed=1), build(spectral_norm=True)
    network.load_state_dict(plain.state_dict())
    values = largest_singular_values(plain)
    assert len(values) == 14
    assert max(abs(value - 1) for value in values) > 0.1
    for conv, normalized, value in zip(convolutions(plain), convolutions(network.eval()), values, strict=True):
        torch.testing.assert_close(normalized.weight, conv.weight / value, rtol=1e-4, atol=1e-6)
    assert largest_singular_values(network) == pytest.approx([1.0] * 14, rel=1e-4)


def test_training_follows_the_largest_singular_value():
    network = build(spectral_norm=True)  # starts from random vectors
    for _ in range(30):  # one power iteration each
        network(FRAMES)
    assert largest_singular_values(network.eval()) == pytest.approx([1.0] * 14, rel=5e-2)


def test_file_of_a_normalized_network_loads_into_both_forms(tmp_path):
    network = build(spectral_norm=True)
    network(FRAMES)
    state = network.state_dict()
    plain_keys = VisualQualityDiscriminator(width=0.0625).state_dict().keys()
    assert plain_keys < state.keys()
    assert len(state) == len(plain_keys) + 2 * 14
    again = build(spectral_norm=True, seed=2)
    again.load_state_dict(state)
    assert torch.equal(logits(again), logits(network))
    assert all(torch.equal(again.state_dict()[key], value) for key, value in state.items())
    save_checkpoint(tmp_path / "disc.pth", Checkpoint(state))
    plain = load_network(tmp_path / "disc.pth", VisualQualityDiscriminator)
    assert plain.state_dict().keys() == plain_keys
    torch.testing.assert_close(logits(plain), logits(network))


def test_normalized_weights_of_another_width_are_rejected():
    network = VisualQualityDiscriminator(width=0.125, spectral_norm=True)
    with pytest.raises(RuntimeError, match="size mismatch"):
        network.load_state_dict(build(spectral_norm=True).state_dict())
