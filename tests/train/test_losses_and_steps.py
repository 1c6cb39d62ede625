"""Losses, gradients and three optimizer steps are the public release's."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from models import SyncNet, VisualQualityDiscriminator, Wav2Lip
from tests.reference import golden, masked, tensor, weights
from train.adversary import Adversary
from train.data.samples import GeneratorInputs, SyncNetInputs
from train.generator_step import GeneratorStep
from train.loss_weights import Line, LossWeights
from train.losses import agreement, cross_entropy, sync_loss
from train.scores.syncnet_scores import sync_scores
from train.syncnet_step import SyncNetStep
from train.trained import Trained
from wav2lip.crops import mouths

NETWORKS = {"syncnet": SyncNet, "generator": Wav2Lip, "quality_disc": VisualQualityDiscriminator}
exact = partial(pytest.approx, rel=1e-5)


def load(network, dtype=torch.float32):
    model = NETWORKS[network]()
    model.load_state_dict(weights(network))
    return model.to(dtype)


def trainable(fabric, network, betas):
    """As train.setup makes it, with the deterministic weights."""
    model = load(network, torch.float64 if "64" in fabric._precision.precision else torch.float32)
    return Trained(*fabric.setup(model, torch.optim.Adam(model.parameters(), lr=1e-4, betas=betas)))


def loss_weights(sync, sync_on=None, threshold=0.75, critic=0.0, **more):
    """Constant weights."""
    lines = [Line.of("a weight", number) for number in (sync, sync if sync_on is None else sync_on, critic)]
    return LossWeights(sync=lines[0], sync_on=lines[1], sync_threshold=threshold, critic=lines[2], **more)


def train(fabric, step, batch, *trained):
    """One optimizer step of each network, as the loop takes it; returns the losses."""
    losses = step.backward(batch)
    for each in trained:
        each.update(fabric)
    return losses


@pytest.fixture
def float64():
    """Fabric hands what a network returns back in the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def fabric_of(precision):
    return Fabric(accelerator="cpu", devices=1, precision=precision)


def sync_batch(dtype):
    labels = torch.tensor([[1.0], [0], [1], [0]], dtype=dtype)
    mel, faces = tensor(100002, (4, 1, 80, 16), -4, 4), tensor(100001, (4, 15, 48, 96))
    heard, shown = torch.tensor([0, 100, 200, 300]), torch.tensor([0, 150, 200, 350])  # the second and fourth are wrong
    return SyncNetInputs(mel.to(dtype), faces.to(dtype), labels, heard, shown)


def generator_batch(dtype):
    tensors = (
        masked(tensor(100010, (4, 6, 5, 96, 96))),
        tensor(100011, (4, 5, 1, 80, 16), -4, 4),
        tensor(100008, (4, 1, 80, 16), -4, 4),
        tensor(100009, (4, 3, 5, 96, 96)),
    )
    return GeneratorInputs(*(t.to(dtype) for t in tensors))


def record_first_gradients(module, optimizer):
    """L2 norms per parameter, sorted by name, of the gradients that the first optimizer step is given."""
    norms: list[float] = []

    def note(*_):
        if not norms:
            named = sorted(getattr(module, "module", module).named_parameters())
            norms.extend(p.grad.norm().item() for _, p in named)

    optimizer.register_step_pre_hook(note)
    return norms


def same_gradients(norms, expected):
    # Biases in front of a batch-norm have no true gradient: what is there is rounding.
    counted = [i for i, value in enumerate(expected) if value > 1e-6]
    assert len(counted) > len(expected) / 3
    assert [norms[i] for i in counted] == exact([expected[i] for i in counted])


def test_losses_are_the_golden_ones_with_the_expert_in_either_mode():
    expected = golden("losses")
    mel, frames = tensor(100008, (4, 1, 80, 16), -4, 4), tensor(100009, (4, 3, 5, 96, 96))
    expert = load("syncnet").eval()
    with torch.no_grad():
        audio, face = expert(mel, mouths(frames))
        torch.testing.assert_close(
            agreement(audio, face).flatten().double(),
            torch.from_numpy(expected["sync_cosine_eval"]).double().flatten(), atol=1e-4, rtol=0,
        )  # fmt: skip
        assert sync_loss(audio, face).item() == pytest.approx(expected["sync_eval"].item(), abs=1e-4)
        assert sync_loss(*expert.train()(mel, mouths(frames))).item() == pytest.approx(
            expected["sync_train"].item(), abs=1e-4
        )
    statistics = [key for key in expected if key.startswith("after_train_call.")]
    assert statistics
    for key in statistics:
        ours = expert.state_dict()[key.removeprefix("after_train_call.")]
        torch.testing.assert_close(ours, torch.from_numpy(expected[key]), rtol=1e-4, atol=1e-6)


def test_sums_of_the_losses_are_weighted_as_in_the_release():
    expected, out5 = golden("losses"), torch.from_numpy(golden("generator")["out5"])
    l1 = F.l1_loss(out5, tensor(100007, (2, 3, 5, 96, 96)))
    perceptual = cross_entropy(load("quality_disc")(out5), 1.0)
    assert l1.item() == pytest.approx(expected["l1"].item(), abs=1e-4)
    assert perceptual.item() == pytest.approx(expected["perceptual"].item(), abs=1e-4)

    class Said(torch.nn.Module):
        """An expert and a critic that say the golden values, so that only the weights are under test."""

        def forward(self, *_):
            return torch.tensor([[1.0, 0.0]]), F.normalize(torch.tensor([[cosine, (1 - cosine**2) ** 0.5]]))

    cosine = float(torch.exp(-torch.tensor(expected["sync_eval"].item(), dtype=torch.float64)))
    batch = GeneratorInputs(out5, None, torch.zeros(2), tensor(100007, (2, 3, 5, 96, 96)))
    step = partial(GeneratorStep, fabric_of("32-true"), torch.nn.Identity(), Said())
    with torch.no_grad():
        assert step(loss_weights(0.0)).losses(out5, batch, {})["loss"].item() == pytest.approx(
            expected["total_nogan_w0"].item(), abs=1e-4
        )
        assert step(loss_weights(0.01)).losses(out5, batch, {})["loss"].item() == pytest.approx(
            expected["total_nogan_w001"].item(), abs=1e-4
        )
        critic = Adversary(fabric_of("32-true"), load("quality_disc"))
        gan = step(loss_weights(0.03, critic=0.07), adversary=critic)
        verdicts = critic.losses(out5, batch.target)
        assert gan.losses(out5, batch, verdicts)["loss"].item() == pytest.approx(
            expected["total_gan_w003_d007"].item(), abs=1e-4
        )


@pytest.mark.usefixtures("float64")
def test_three_float64_steps_of_the_expert_are_the_golden_ones():
    expected, fabric, batch = golden("train"), fabric_of("64-true"), sync_batch(torch.float64)
    expert = trainable(fabric, "syncnet", (0.9, 0.999))
    norms = record_first_gradients(expert.network, expert.optimizer)
    step = SyncNetStep(fabric, expert.network)
    losses = [train(fabric, step, batch, expert)["loss"].item()]
    for key in [k for k in expected if k.startswith("syncnet_") and k.endswith("_after1")]:
        name = key.removeprefix("syncnet_").removesuffix("_after1")
        torch.testing.assert_close(
            expert.network.module.state_dict()[name], torch.from_numpy(expected[key]), rtol=1e-5, atol=0
        )
    losses += [train(fabric, step, batch, expert)["loss"].item() for _ in range(2)]
    assert losses == exact(expected["syncnet_losses"].tolist())
    assert step.validate([batch])["loss"] == exact(expected["syncnet_eval_loss_after3"].item())
    same_gradients(norms, expected["syncnet_grad_norms"])


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("mode", "training"), [("train", True), ("eval", False)])
def test_three_float64_steps_of_the_generator_are_the_golden_ones_in_either_mode_of_the_expert(mode, training):
    expected, fabric, batch = golden("train"), fabric_of("64-true"), generator_batch(torch.float64)
    generator = trainable(fabric, "generator", (0.9, 0.999))
    norms = record_first_gradients(generator.network, generator.optimizer)
    step = GeneratorStep(
        fabric, generator.network, load("syncnet", torch.float64), loss_weights(0.01),
        expert_training_mode=training,
    )  # fmt: skip
    losses = [train(fabric, step, batch, generator) for _ in range(3)]
    ours = [[loss[name].item() for name in ("sync", "l1", "loss")] for loss in losses]
    for row, golden_row in zip(ours, expected[f"gen_{mode}_sync_l1_total"].tolist(), strict=True):
        assert row == exact(golden_row)
    same_gradients(norms, expected[f"gen_{mode}_grad_norms"])


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_three_float64_steps_of_gan_training_are_the_golden_ones():
    expected, fabric, batch = golden("train"), fabric_of("64-true"), generator_batch(torch.float64)
    generator = trainable(fabric, "generator", (0.5, 0.999))
    critic = trainable(fabric, "quality_disc", (0.5, 0.999))
    generator_norms = record_first_gradients(generator.network, generator.optimizer)
    critic_norms = record_first_gradients(critic.network, critic.optimizer)
    step = GeneratorStep(
        fabric, generator.network, load("syncnet", torch.float64), loss_weights(0.03, critic=0.07),
        adversary=Adversary(fabric, critic.network), expert_training_mode=True,
    )  # fmt: skip
    names = ("sync", "perceptual", "l1", "loss", "critic_real", "critic_fake")
    ours = [
        [loss[name].item() for name in names]
        for loss in (train(fabric, step, batch, generator, critic) for _ in range(3))
    ]
    for row, golden_row in zip(ours, expected["gan_sync_perc_l1_total_real_fake"].tolist(), strict=True):
        assert row == exact(golden_row)
    same_gradients(generator_norms, expected["gan_gen_grad_norms"])
    same_gradients(critic_norms, expected["gan_disc_grad_norms"])


def test_an_agreement_that_rounding_takes_above_one_still_has_a_loss():
    vectors = F.normalize(torch.rand(4096, 512), dim=1)
    assert F.cosine_similarity(vectors, vectors).max() > 1  # the release stops here
    assert torch.isfinite(sync_loss(vectors, vectors))


def test_sync_loss_by_hand():
    audio, face = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.6, 0.8], [0.6, 0.8]])
    # cosines 0.6 and 0.8, labels 1 and 0: -(ln 0.6 + ln 0.2) / 2
    assert sync_loss(audio, face, torch.tensor([[1.0], [0.0]])).item() == pytest.approx(1.0601317681)


def test_scores_by_hand():
    score, right = torch.tensor([0.9, 0.8, 0.4, 0.6, 0.2, 0.1]), torch.tensor([1, 1, 1, 0, 0, 0]).bool()
    scores = sync_scores(score, right)
    assert scores["accuracy_right"] == pytest.approx(2 / 3)
    assert scores["accuracy_wrong"] == pytest.approx(2 / 3)
    assert scores["auc"] == pytest.approx(8 / 9)  # of nine pairs only 0.4 against 0.6 is the wrong way round
