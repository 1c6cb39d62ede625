"""Losses, gradients and three optimizer steps equal upstream's."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from models import SyncNet, VisualQualityDiscriminator, Wav2Lip
from tests.helpers.goldens import golden, tensor, weights
from tests.helpers.training import cpu_fabric, generator_batch, loss_weights, sync_batch
from train.data.samples import GeneratorInputs
from train.losses.sync import binary_cross_entropy, match_probability, sync_loss
from train.steps.adversary import Adversary
from train.steps.generator import GeneratorStep
from train.steps.syncnet import SyncNetStep
from train.trainable import TrainableModel
from train.validation.syncnet import sync_scores
from wav2lip.faces.tensors import crop_mouths

NETWORKS = {"syncnet": SyncNet, "generator": Wav2Lip, "quality_disc": VisualQualityDiscriminator}
exact = partial(pytest.approx, rel=1e-5)


def load(network, dtype=torch.float32):
    model = NETWORKS[network]()
    model.load_state_dict(weights(network))
    return model.to(dtype)


def build_trainable(fabric, network, betas):
    """Build a trainable model with the golden weights."""
    model = load(network, torch.float64 if "64" in fabric._precision.precision else torch.float32)
    return TrainableModel(*fabric.setup(model, torch.optim.Adam(model.parameters(), lr=1e-4, betas=betas)))


def run_step(fabric, step, batch, *models):
    """Take one optimizer step of each model, as the loop does; return the losses."""
    losses = step.backward(batch)
    for model in models:
        model.optimizer_step(fabric)
    return losses


@pytest.fixture
def float64():
    """Set the default dtype, which Fabric converts outputs to."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def record_first_gradients(module, optimizer):
    """L2 norms per parameter, sorted by name, of the gradients of the first optimizer step."""
    norms: list[float] = []

    def record(*_):
        if not norms:
            named = sorted(getattr(module, "module", module).named_parameters())
            norms.extend(p.grad.norm().item() for _, p in named)

    optimizer.register_step_pre_hook(record)
    return norms


def assert_gradient_norms(norms, expected):
    # Biases before a batch-norm have a gradient of zero up to rounding.
    nonzero = [i for i, value in enumerate(expected) if value > 1e-6]
    assert len(nonzero) > len(expected) / 3
    assert [norms[i] for i in nonzero] == exact([expected[i] for i in nonzero])


def test_sync_loss_equals_golden_in_both_modes():
    expected = golden("losses")
    mel, frames = tensor(100008, (4, 1, 80, 16), -4, 4), tensor(100009, (4, 3, 5, 96, 96))
    expert = load("syncnet").eval()
    with torch.no_grad():
        audio, face = expert(mel, crop_mouths(frames))
        torch.testing.assert_close(
            match_probability(audio, face).flatten().double(),
            torch.from_numpy(expected["sync_cosine_eval"]).double().flatten(), atol=1e-4, rtol=0,
        )  # fmt: skip
        assert sync_loss(audio, face).item() == pytest.approx(expected["sync_eval"].item(), abs=1e-4)
        assert sync_loss(*expert.train()(mel, crop_mouths(frames))).item() == pytest.approx(
            expected["sync_train"].item(), abs=1e-4
        )
    statistics = [key for key in expected if key.startswith("after_train_call.")]
    assert statistics
    for key in statistics:
        actual = expert.state_dict()[key.removeprefix("after_train_call.")]
        torch.testing.assert_close(actual, torch.from_numpy(expected[key]), rtol=1e-4, atol=1e-6)


def test_weighted_sum_equals_upstreams():
    expected, out5 = golden("losses"), torch.from_numpy(golden("generator")["out5"])
    l1 = F.l1_loss(out5, tensor(100007, (2, 3, 5, 96, 96)))
    gan_generator = binary_cross_entropy(load("quality_disc")(out5), 1.0)
    assert l1.item() == pytest.approx(expected["l1"].item(), abs=1e-4)
    assert gan_generator.item() == pytest.approx(expected["perceptual"].item(), abs=1e-4)

    class ConstantExpert(torch.nn.Module):
        """An expert with the golden similarity, so that only the weights are under test."""

        def forward(self, *_):
            return torch.tensor([[1.0, 0.0]]), F.normalize(torch.tensor([[cosine, (1 - cosine**2) ** 0.5]]))

    cosine = float(torch.exp(-torch.tensor(expected["sync_eval"].item(), dtype=torch.float64)))
    batch = GeneratorInputs(out5, None, torch.zeros(2), tensor(100007, (2, 3, 5, 96, 96)))
    step = partial(GeneratorStep, cpu_fabric(), torch.nn.Identity(), ConstantExpert())
    with torch.no_grad():
        assert step(loss_weights(0.0)).losses(out5, batch)["loss"].item() == pytest.approx(
            expected["total_nogan_w0"].item(), abs=1e-4
        )
        assert step(loss_weights(0.01)).losses(out5, batch)["loss"].item() == pytest.approx(
            expected["total_nogan_w001"].item(), abs=1e-4
        )
        adversary = Adversary(cpu_fabric(), load("quality_disc"))
        gan = step(loss_weights(0.03, disc=0.07), adversary=adversary)
        assert gan.losses(out5, batch)["loss"].item() == pytest.approx(expected["total_gan_w003_d007"].item(), abs=1e-4)


@pytest.mark.usefixtures("float64")
def test_three_steps_of_expert_equal_golden():
    expected, fabric, batch = golden("train"), cpu_fabric("64-true"), sync_batch(torch.float64)
    expert = build_trainable(fabric, "syncnet", (0.9, 0.999))
    norms = record_first_gradients(expert.network, expert.optimizer)
    step = SyncNetStep(fabric, expert.network)
    losses = [run_step(fabric, step, batch, expert)["loss"].item()]
    for key in [k for k in expected if k.startswith("syncnet_") and k.endswith("_after1")]:
        name = key.removeprefix("syncnet_").removesuffix("_after1")
        torch.testing.assert_close(
            expert.network.module.state_dict()[name], torch.from_numpy(expected[key]), rtol=1e-5, atol=0
        )
    losses += [run_step(fabric, step, batch, expert)["loss"].item() for _ in range(2)]
    assert losses == exact(expected["syncnet_losses"].tolist())
    assert step.validate([batch])["loss"] == exact(expected["syncnet_eval_loss_after3"].item())
    assert_gradient_norms(norms, expected["syncnet_grad_norms"])


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("mode", "training"), [("train", True), ("eval", False)])
def test_three_steps_of_generator_equal_golden(mode, training):
    expected, fabric, batch = golden("train"), cpu_fabric("64-true"), generator_batch(torch.float64)
    generator = build_trainable(fabric, "generator", (0.9, 0.999))
    norms = record_first_gradients(generator.network, generator.optimizer)
    step = GeneratorStep(
        fabric, generator.network, load("syncnet", torch.float64), loss_weights(0.01),
        expert_training_mode=training,
    )  # fmt: skip
    losses = [run_step(fabric, step, batch, generator) for _ in range(3)]
    actual = [[loss[name].item() for name in ("sync", "l1", "loss")] for loss in losses]
    for row, golden_row in zip(actual, expected[f"gen_{mode}_sync_l1_total"].tolist(), strict=True):
        assert row == exact(golden_row)
    assert_gradient_norms(norms, expected[f"gen_{mode}_grad_norms"])


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_three_gan_steps_equal_golden():
    expected, fabric, batch = golden("train"), cpu_fabric("64-true"), generator_batch(torch.float64)
    generator = build_trainable(fabric, "generator", (0.5, 0.999))
    discriminator = build_trainable(fabric, "quality_disc", (0.5, 0.999))
    generator_norms = record_first_gradients(generator.network, generator.optimizer)
    discriminator_norms = record_first_gradients(discriminator.network, discriminator.optimizer)
    step = GeneratorStep(
        fabric, generator.network, load("syncnet", torch.float64), loss_weights(0.03, disc=0.07),
        adversary=Adversary(fabric, discriminator.network), expert_training_mode=True,
    )  # fmt: skip
    names = ("sync", "gan_generator", "l1", "loss", "disc_real", "disc_fake")
    actual = [
        [loss[name].item() for name in names]
        for loss in (run_step(fabric, step, batch, generator, discriminator) for _ in range(3))
    ]
    for row, golden_row in zip(actual, expected["gan_sync_perc_l1_total_real_fake"].tolist(), strict=True):
        assert row == exact(golden_row)
    assert_gradient_norms(generator_norms, expected["gan_gen_grad_norms"])
    assert_gradient_norms(discriminator_norms, expected["gan_disc_grad_norms"])


def test_similarity_above_one_by_rounding_has_finite_loss():
    vectors = F.normalize(torch.rand(4096, 512), dim=1)
    assert F.cosine_similarity(vectors, vectors).max() > 1  # upstream fails here
    assert torch.isfinite(sync_loss(vectors, vectors))


def test_sync_loss_equals_hand_calculation():
    audio, face = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.6, 0.8], [0.6, 0.8]])
    # cosines 0.6 and 0.8, labels 1 and 0: -(ln 0.6 + ln 0.2) / 2
    assert sync_loss(audio, face, torch.tensor([[1.0], [0.0]])).item() == pytest.approx(1.0601317681)


def test_sync_scores_equal_hand_calculation():
    score, labels = torch.tensor([0.9, 0.8, 0.4, 0.6, 0.2, 0.1]), torch.tensor([1, 1, 1, 0, 0, 0]).bool()
    scores = sync_scores(score, labels)
    assert scores["accuracy_right"] == pytest.approx(2 / 3)
    assert scores["accuracy_wrong"] == pytest.approx(2 / 3)
    assert scores["auc"] == pytest.approx(8 / 9)  # of nine pairs only 0.4 against 0.6 is the wrong way round
