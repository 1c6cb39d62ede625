"""Networks against upstream's outputs and checkpoints."""

from collections import Counter
from math import prod

import pytest
import torch

from models import SyncNet, VisualQualityDiscriminator, Wav2Lip
from models.resolutions import FACTORS
from models.wav2lip import grow_weights
from tests.helpers.goldens import golden, masked, state_dict_shapes, tensor, weights

NETWORKS = {"syncnet": SyncNet, "generator": Wav2Lip, "quality_disc": VisualQualityDiscriminator}
RESOLUTIONS = [96, 192, 288, 384]


def load(network: str) -> torch.nn.Module:
    model = NETWORKS[network]()
    model.load_state_dict(weights(network))
    return model.eval()


@pytest.mark.parametrize("network", NETWORKS)
def test_state_dict_matches_published_checkpoints(network):
    actual = {key: list(value.shape) for key, value in NETWORKS[network]().state_dict().items()}
    assert list(actual.items()) == list(state_dict_shapes(network).items())


@pytest.mark.parametrize("network", ["syncnet", "generator", "quality_disc", "s3fd"])
def test_deterministic_weights_match_golden_probe(network):
    probe, state = golden("weights_probe"), weights(network)
    assert list(probe[f"{network}_keys"]) == sorted(state)
    for i, key in enumerate(sorted(state)):
        values = state[key].double()
        assert values.abs().sum().item() == pytest.approx(probe[f"{network}_abs_sum"][i], rel=1e-6)
        assert values.flatten()[0].item() == pytest.approx(probe[f"{network}_first"][i], rel=2e-7)
        assert values.flatten()[-1].item() == pytest.approx(probe[f"{network}_last"][i], rel=2e-7)


@torch.inference_mode()
def test_syncnet_embeddings_equal_golden():
    expected = golden("syncnet")
    audio, face = load("syncnet")(tensor(100002, (4, 1, 80, 16), -4, 4), tensor(100001, (4, 15, 48, 96)))
    assert audio.shape == face.shape == (4, 512)
    torch.testing.assert_close(audio, torch.from_numpy(expected["audio_embedding"]), atol=1e-5, rtol=0)
    torch.testing.assert_close(face, torch.from_numpy(expected["face_embedding"]), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_generator_output_equals_golden_in_4d_and_5d():
    expected, generator = golden("generator"), load("generator")
    single = generator(tensor(100004, (2, 1, 80, 16), -4, 4), masked(tensor(100003, (2, 6, 96, 96))))
    torch.testing.assert_close(single, torch.from_numpy(expected["out4"]), atol=1e-4, rtol=0)
    sequence = generator(tensor(100006, (2, 5, 1, 80, 16), -4, 4), masked(tensor(100005, (2, 6, 5, 96, 96))))
    torch.testing.assert_close(sequence, torch.from_numpy(expected["out5"]), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_discriminator_scores_equal_golden():
    expected, discriminator = golden("quality_disc"), load("quality_disc")
    scores = discriminator(tensor(100007, (2, 3, 5, 96, 96)))
    torch.testing.assert_close(scores, torch.from_numpy(expected["pred"]), atol=1e-4, rtol=0)
    on_generator = discriminator(torch.from_numpy(golden("generator")["out5"]))
    torch.testing.assert_close(on_generator, torch.from_numpy(expected["pred_on_generator"]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("network", NETWORKS)
def test_narrow_network_has_the_same_keys(network):
    thin = NETWORKS[network](width=0.125)
    assert list(thin.state_dict()) == list(state_dict_shapes(network))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_infer_shape_reads_width_and_resolution(network, resolution):
    thin = NETWORKS[network](width=0.125, resolution=resolution)
    assert NETWORKS[network].infer_shape(thin.state_dict()) == (0.125, resolution)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_larger_network_contains_the_published_layers(network, resolution):
    published = Counter(map(tuple, state_dict_shapes(network).values()))
    larger = NETWORKS[network](resolution=resolution).state_dict().values()
    missing = published - Counter(tuple(value.shape) for value in larger)
    # the generator's last convolution but one has more input channels
    assert missing == (Counter({(32, 80, 3, 3): 1}) if network == "generator" and resolution > 96 else Counter())
    assert sum(value.numel() for value in larger) < 1.01 * sum(prod(shape) for shape in published.elements())


@pytest.mark.parametrize(("resolution", "larger"), [(96, 192), (96, 288), (96, 384), (192, 384)])
def test_grown_generator_has_the_published_stages_of_the_smaller(resolution, larger):
    small, large = (Wav2Lip(width=0.0625, resolution=size).eval() for size in (resolution, larger))
    weights = grow_weights(small.state_dict(), resolution, larger)
    large.load_state_dict(large.state_dict() | weights)
    encoded = torch.rand(1, 1, 96, 96)  # what the first convolution and the added stages make of a face
    stages = (network.face_encoder_blocks[-6:] for network in (small, large))
    assert torch.equal(*(torch.nn.Sequential(*blocks)(encoded) for blocks in stages))
    mel = torch.rand(1, 1, 80, 16)
    codes = [network.face_decoder_blocks[0](network.audio_encoder(mel)) for network in (small, large)]
    assert torch.equal(*codes)
    joined = torch.rand(1, small.face_decoder_blocks[6][0].conv_block[0].in_channels, 48, 48)
    decoded = (network.face_decoder_blocks[6](joined) for network in (small, large))
    assert torch.equal(*decoded)
    missing = large.state_dict().keys() - weights.keys()
    assert {".".join(key.split(".")[:2]) for key in missing} == {
        *(f"face_encoder_blocks.{n + 1}" for n in range(len(FACTORS[larger]))),
        *(f"face_decoder_blocks.{n + 7}" for n in range(len(FACTORS[larger]))),
        "output_block.0",
    }


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_input_and_output_sizes_match_the_resolution(resolution):
    mel, faces = torch.zeros(2, 1, 80, 16), torch.rand(2, 6, resolution, resolution)
    generated = Wav2Lip(width=0.0625, resolution=resolution)(mel, faces)
    assert generated.shape == (2, 3, resolution, resolution)
    scores = VisualQualityDiscriminator(width=0.0625, resolution=resolution)(generated[:, :, None])
    assert scores.shape == (2, 1)
    mouths = torch.rand(2, 15, resolution // 2, resolution)
    audio, face = SyncNet(width=0.0625, resolution=resolution)(mel, mouths)
    assert audio.shape == face.shape == (2, 32)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_bottleneck_depends_on_every_pixel(resolution):
    encoder = Wav2Lip(width=0.0625, resolution=resolution).eval().face_encoder_blocks
    for parameter in encoder.parameters():
        parameter.data.abs_()  # keeps every ReLU active
    faces = torch.rand(1, 6, resolution, resolution, requires_grad=True)
    code = torch.nn.Sequential(*encoder)(faces)
    assert code.shape == (1, 32, 1, 1)
    assert (torch.autograd.grad(code.sum(), faces)[0] > 0).all()


def test_unknown_resolution_is_rejected():
    with pytest.raises(ValueError, match="resolution=100.*96, 192, 288, 384"):
        Wav2Lip(resolution=100)


def test_width_with_fractional_channels_is_rejected():
    with pytest.raises(ValueError, match="1/16"):
        Wav2Lip(width=0.3)


def test_scores_of_a_new_discriminator_depend_on_the_image_with_the_initialization_of_he():
    """Without normalization, He's (2015, equation 15) preserves the second moment; PyTorch's shrinks the signal."""
    torch.manual_seed(0)
    frames, spread = torch.rand(8, 3, 1, 96, 96), {}
    for init in ("he", "pytorch"):
        network = VisualQualityDiscriminator(width=0.25, init=init)
        with torch.no_grad():
            logits, features = network(frames, return_logits=True, return_features=True)
        spread[init] = (logits.std() / logits.abs().mean()).item()
        if init == "he":
            moments = [(feature**2).mean().item() for feature in (frames, *features)]
            assert 0.1 * moments[0] < min(moments) and max(moments) < 10 * moments[0]
    assert spread["he"] > 0.1
    assert spread["pytorch"] < 0.001


def test_spectral_norm_has_the_same_weights_with_any_initialization():
    states = []
    for init in ("he", "pytorch"):
        torch.manual_seed(0)
        states.append(VisualQualityDiscriminator(width=0.0625, spectral_norm=True, init=init).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
