"""The networks give the public release's numbers, and take and make its checkpoints."""

from collections import Counter
from math import prod

import pytest
import torch

from models import SyncNet, VisualQualityDiscriminator, Wav2Lip
from tests.reference import golden, masked, state_dict_shapes, tensor, weights

NETWORKS = {"syncnet": SyncNet, "generator": Wav2Lip, "quality_disc": VisualQualityDiscriminator}
RESOLUTIONS = [96, 192, 288, 384]


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
def test_a_thin_network_has_the_same_keys(network):
    thin = NETWORKS[network](width=0.125)
    assert list(thin.state_dict()) == list(state_dict_shapes(network))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_width_and_resolution_are_read_from_the_weights(network, resolution):
    thin = NETWORKS[network](width=0.125, resolution=resolution)
    assert NETWORKS[network].shape_of(thin.state_dict()) == (0.125, resolution)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_a_larger_network_holds_the_published_one_behind_few_more_layers(network, resolution):
    published = Counter(map(tuple, state_dict_shapes(network).values()))
    larger = NETWORKS[network](resolution=resolution).state_dict().values()
    missing = published - Counter(tuple(value.shape) for value in larger)
    # the generator's last convolution but one takes the enlarged map instead
    assert missing == (Counter({(32, 80, 3, 3): 1}) if network == "generator" and resolution > 96 else Counter())
    assert sum(value.numel() for value in larger) < 1.01 * sum(prod(shape) for shape in published.elements())


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_networks_of_a_resolution_take_and_make_its_faces(resolution):
    mel, faces = torch.zeros(2, 1, 80, 16), torch.rand(2, 6, resolution, resolution)
    painted = Wav2Lip(width=0.0625, resolution=resolution)(mel, faces)
    assert painted.shape == (2, 3, resolution, resolution)
    verdicts = VisualQualityDiscriminator(width=0.0625, resolution=resolution)(painted[:, :, None])
    assert verdicts.shape == (2, 1)
    mouths = torch.rand(2, 15, resolution // 2, resolution)
    audio, face = SyncNet(width=0.0625, resolution=resolution)(mel, mouths)
    assert audio.shape == face.shape == (2, 32)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_every_pixel_of_a_face_reaches_the_bottleneck(resolution):
    encoder = Wav2Lip(width=0.0625, resolution=resolution).eval().face_encoder_blocks
    for parameter in encoder.parameters():
        parameter.data.abs_()  # no ReLU closes a way
    faces = torch.rand(1, 6, resolution, resolution, requires_grad=True)
    code = torch.nn.Sequential(*encoder)(faces)
    assert code.shape == (1, 32, 1, 1)
    assert (torch.autograd.grad(code.sum(), faces)[0] > 0).all()


def test_a_resolution_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="one of 96, 192, 288, 384, got 100"):
        Wav2Lip(resolution=100)


def test_a_width_that_would_break_a_channel_is_refused():
    with pytest.raises(ValueError, match="1/16"):
        Wav2Lip(width=0.3)
