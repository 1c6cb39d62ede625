"""Distillation: a thin generator learns from the frames of a trained one, which stays as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models import SyncNet, Wav2Lip
from tests.helpers.generator import build_generator
from tests.helpers.trainers import is_equal, load_step, open_log, run_trainer
from tests.helpers.training import cpu_fabric, generator_batch, loss_weights
from train.data.samples import GeneratorInputs
from train.losses.distillation import attention_distance, load_teacher
from train.losses.weights import PiecewiseLinear
from train.steps.generator import GeneratorStep
from wav2lip.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from wav2lip.errors import InputError
from wav2lip.faces.boxes import Pads
from wav2lip.faces.framing import KEY, FaceFraming

TEACHER_WT = PiecewiseLinear.from_config("teacher_wt", 0.25)


class Painter(nn.Module):
    """Generator that paints all upper halves in one level and all lower halves in another."""

    def __init__(self, upper: float, lower: float):
        super().__init__()
        self.levels = nn.Parameter(torch.tensor([upper, upper, lower, lower]))

    def forward(self, mels, faces):
        return self.levels[:, None].expand(len(faces), 3, faces.shape[2], 4, 4)


def build_step(student, teacher, **options):
    weights = loss_weights(0.0, teacher=TEACHER_WT)
    return GeneratorStep(cpu_fabric(), student, SyncNet(0.0625), weights, teacher=teacher, **options)


def test_loss_is_the_weighted_distance_to_truth_and_teacher():
    student, teacher = Painter(0.5, 0.5), Painter(0.25, 1.0)
    batch = GeneratorInputs(torch.zeros(2, 6, 1, 4, 4), torch.zeros(2, 1, 1, 80, 16), torch.zeros(2, 1, 80, 16),
                            torch.zeros(2, 3, 1, 4, 4))  # fmt: skip
    losses = build_step(student, teacher, mouth_weight=4.0).backward(batch)
    assert losses["weighted_l1"].item() == pytest.approx(0.5)
    assert losses["teacher"].item() == pytest.approx((0.25 + 4 * 0.5) / 5)
    assert losses["loss"].item() == pytest.approx(0.75 * 0.5 + 0.25 * 0.45)
    assert losses["teacher_wt"].item() == 0.25
    # Both halves are too bright for the truth, the lower one too dark for the teacher.
    upper, lower = student.levels.grad[0].item(), student.levels.grad[2].item()
    assert (upper, lower) == pytest.approx((0.5 / 5 * (0.75 + 0.25), 0.5 * 4 / 5 * (0.75 - 0.25)))
    assert teacher.levels.grad is None


def test_attention_distance_equals_hand_calculation():
    # Mean squares over two channels: 1, 0 and 4.5, 8 of the student; of the teacher's single channel 9 and 16.
    student = torch.tensor([[[[1.0, 0.0]], [[1.0, 0.0]]], [[[3.0, 4.0]], [[0.0, 0.0]]]], requires_grad=True)
    teacher = torch.tensor([[[[3.0, 4.0]]], [[[3.0, 4.0]]]])
    norm = (9**2 + 16**2) ** 0.5
    expected = ((1 - 9 / norm) ** 2 + (16 / norm) ** 2) / 2  # the maps of the second frame are equal
    distance = attention_distance([student], [teacher])
    assert distance.item() == pytest.approx(expected, rel=1e-5)
    assert attention_distance([student, student], [teacher, 2 * student]).item() == pytest.approx(
        expected / 2, rel=1e-5
    )
    distance.backward()
    assert student.grad is not None and student.grad.isfinite().all()


def test_loss_has_the_distance_to_the_attention_of_the_teacher():
    student, teacher = Wav2Lip(0.0625).train(), build_generator(0.125)
    losses = build_step(student, teacher, teacher_attention=0.5).backward(generator_batch(torch.float32))
    expected = 0.75 * losses["l1"] + 0.25 * (losses["teacher"] + 0.5 * losses["teacher_attention"])
    assert losses["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses["teacher_attention"] > 0
    plain = build_step(Wav2Lip(0.0625).train(), teacher).backward(generator_batch(torch.float32))
    assert "teacher_attention" not in plain


def test_generator_returns_the_features_of_its_decoder():
    network, (mel, faces) = build_generator(0.0625).eval(), (torch.zeros(2, 5, 1, 80, 16), torch.rand(2, 6, 5, 96, 96))
    with torch.no_grad():
        frames, features = network(mel, faces, True)
        assert torch.equal(frames, network(mel, faces))
    assert [feature.shape[-1] for feature in features] == [1, 3, 6, 12, 24, 48, 96]
    assert all(len(feature) == 10 for feature in features)


@pytest.mark.parametrize("attention", [0.0, 1.0])
def test_step_changes_the_student_alone(attention):
    student, teacher = Wav2Lip(0.0625).train(), build_generator(0.125).train()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    build_step(student, teacher, teacher_attention=attention).backward(generator_batch(torch.float32))
    assert is_equal(before, teacher.state_dict())  # its batch statistics too
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for parameter in student.parameters())


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "teacher.pth"
    save_checkpoint(path, Checkpoint(build_generator(0.1875).state_dict()))
    return path


def test_recipe_trains_a_student_of_another_width(noise_data, expert, teacher, tmp_path):
    options = ["max_steps=3", "ema_decay=0.9"]
    plain = open_log(run_trainer("wav2lip", noise_data, tmp_path / "plain", expert, *options))
    folder = run_trainer("wav2lip", noise_data, tmp_path / "taught", expert, "recipe=distill",
                         f"teacher_checkpoint_path={teacher}", *options)  # fmt: skip
    log = open_log(folder)
    loss, l1, distance = (log.Scalars(f"train/{name}")[0].value for name in ("loss", "weighted_l1", "teacher"))
    assert loss == pytest.approx(0.5 * l1 + 0.5 * distance, rel=1e-5)
    assert l1 == pytest.approx(plain.Scalars("train/weighted_l1")[0].value, rel=1e-6)  # from the same random weights
    assert log.Scalars("val/teacher")[0].value > 0
    assert Wav2Lip.infer_shape(load_step(folder, 3).state_dict).width == 0.125


def test_resumed_distillation_ends_bit_for_bit_the_same(noise_data, expert, teacher, tmp_path):
    options = ["recipe=distill", f"teacher_checkpoint_path={teacher}", "teacher_wt=[[0,0.9],[2,0.1]]",
               "teacher_attention=1", "eval_interval=9", "checkpoint_interval=1"]  # fmt: skip
    whole = run_trainer("wav2lip", noise_data, tmp_path / "whole", expert, *options, "max_steps=2")
    run_trainer("wav2lip", noise_data, tmp_path / "parts", expert, *options, "max_steps=1")
    parts = run_trainer("wav2lip", noise_data, tmp_path / "parts", expert, *options, "max_steps=2", "resume=true")
    assert is_equal(load_step(whole, 2).state_dict, load_step(parts, 2).state_dict)
    assert load_step(whole, 2).extras["train_step"]["weight_schedules"]["teacher_wt"] == [[0, 0.9], [2, 0.1]]


def run_taught(data, folder, expert, teacher, *options):
    run_trainer("wav2lip", data, folder, expert, "recipe=distill", f"teacher_checkpoint_path={teacher}", *options)


def test_unusable_teachers_are_one_sentence(noise_data, expert, teacher, tmp_path):
    with pytest.raises(InputError, match=r"expert\.pth: must contain a Wav2Lip, but contains a SyncNet expert"):
        run_taught(noise_data, tmp_path, expert, expert)
    with pytest.raises(
        InputError, match=r"teacher_checkpoint_path=.*: generates faces of 96 pixels, the student of 192"
    ):
        run_taught(noise_data, tmp_path, expert, teacher, "model=wav2lip_192")
    with pytest.raises(InputError, match=r"teacher_wt=0.5, teacher_checkpoint_path=None: must be set together"):
        run_trainer("wav2lip", noise_data, tmp_path, expert, "recipe=distill")
    with pytest.raises(InputError, match=r"teacher_wt=0.0, teacher_checkpoint_path=.*: must be set together"):
        run_trainer("wav2lip", noise_data, tmp_path, expert, f"teacher_checkpoint_path={teacher}")
    with pytest.raises(InputError, match=r"teacher_attention=1: needs a teacher; add recipe=distill"):
        run_trainer("wav2lip", noise_data, tmp_path, expert, "teacher_attention=1")
    with pytest.raises(InputError, match=r"teacher_wt.*: must sum to at most 1, got 1.2"):
        run_taught(noise_data, tmp_path, expert, teacher, "syncnet_wt=0.7")


def test_teacher_of_other_crops_is_used_with_a_warning(noise_data, expert, teacher, tmp_path, caplog):
    load_teacher(teacher, 96, FaceFraming(Pads(bottom=4)))  # states no framing, as upstream's files
    assert not caplog.records
    framing = FaceFraming(Pads(bottom=10), "s3fd")
    content = load_checkpoint(teacher).state_dict
    save_checkpoint(tmp_path / "padded.pth", Checkpoint(content, extras={KEY: framing.to_json()}))
    run_taught(noise_data, tmp_path / "padded", expert, tmp_path / "padded.pth", "max_steps=1")
    assert (
        "padded.pth: was trained on crops with boxes of s3fd and pads of 0 10 0 0, but the data has boxes of an "
        "unknown detector and pads of 0 0 0 0"
    ) in caplog.text
