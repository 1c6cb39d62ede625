"""The networks give the public release's numbers, and take and make its checkpoints."""

import pytest
import torch

from models import SyncNet, VisualQualityDiscriminator, Wav2Lip
from tests.reference import golden, masked, state_dict_shapes, tensor, weights

NETWORKS = {"syncnet": SyncNet, "generator": Wav2Lip, "quality_disc": VisualQualityDiscriminator}


def load(network: str) -> torch.nn.Module:
    model = NETWORKS[network]()
    model.load_state_dict(weights(network))
    return model.eval()


@pytest.mark.parametrize("network", NETWORKS)
def test_keys_shapes_and_registration_order_are_those_of_the_public_checkpoints(network):
    ours = {key: list(value.shape) for key, value in NETWORKS[network]().state_dict().items()}
    assert list(ours.items()) == list(state_dict_shapes(network).items())


@pytest.mark.parametrize("network", ["syncnet", "generator", "quality_disc", "s3fd"])
def test_deterministic_weights_are_those_the_goldens_were_made_with(network):
    probe, made = golden("weights_probe"), weights(network)
    assert list(probe[f"{network}_keys"]) == sorted(made)
    for i, key in enumerate(sorted(made)):
        values = made[key].double()
        assert values.abs().sum().item() == pytest.approx(probe[f"{network}_abs_sum"][i], rel=1e-6)
        assert values.flatten()[0].item() == pytest.approx(probe[f"{network}_first"][i], rel=2e-7)
        assert values.flatten()[-1].item() == pytest.approx(probe[f"{network}_last"][i], rel=2e-7)


@torch.inference_mode()
def test_syncnet_embeddings_are_the_golden_ones():
    expected = golden("syncnet")
    audio, face = load("syncnet")(tensor(100002, (4, 1, 80, 16), -4, 4), tensor(100001, (4, 15, 48, 96)))
    assert audio.shape == face.shape == (4, 512)
    torch.testing.assert_close(audio, torch.from_numpy(expected["audio_embedding"]), atol=1e-5, rtol=0)
    torch.testing.assert_close(face, torch.from_numpy(expected["face_embedding"]), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_generator_frames_are_the_golden_ones_in_both_forms():
    expected, generator = golden("generator"), load("generator")
    single = generator(tensor(100004, (2, 1, 80, 16), -4, 4), masked(tensor(100003, (2, 6, 96, 96))))
    torch.testing.assert_close(single, torch.from_numpy(expected["out4"]), atol=1e-4, rtol=0)
    sequence = generator(tensor(100006, (2, 5, 1, 80, 16), -4, 4), masked(tensor(100005, (2, 6, 5, 96, 96))))
    torch.testing.assert_close(sequence, torch.from_numpy(expected["out5"]), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_discriminator_verdicts_are_the_golden_ones():
    expected, critic = golden("quality_disc"), load("quality_disc")
    verdicts = critic(tensor(100007, (2, 3, 5, 96, 96)))
    torch.testing.assert_close(verdicts, torch.from_numpy(expected["pred"]), atol=1e-4, rtol=0)
    on_generator = critic(torch.from_numpy(golden("generator")["out5"]))
    torch.testing.assert_close(on_generator, torch.from_numpy(expected["pred_on_generator"]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_thin_network_has_the_same_keys_and_its_width_is_read_from_its_weights(network):
    thin = NETWORKS[network](width=0.125)
    assert list(thin.state_dict()) == list(state_dict_shapes(network))
    assert NETWORKS[network].width_of(thin.state_dict()) == 0.125


def test_a_width_that_would_break_a_channel_is_refused():
    with pytest.raises(ValueError, match="1/16"):
        Wav2Lip(width=0.3)
