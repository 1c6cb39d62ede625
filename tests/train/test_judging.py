"""Trainers judge themselves while they run, go on judging after a resume, and test themselves on fixed batches."""

import pytest
import torch
from lightning_fabric import Fabric
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train.syncnet
import train.wav2lip
import train.wav2lip_gan
from models import SyncNet
from tests.train.conftest import config
from train.data.samples import GeneratorInputs
from train.generator_step import GeneratorStep
from train.verdicts.generator_marks import measure_marks
from train.verdicts.judge import Judge
from train.verdicts.rules import Kind, Record, Verdict
from wav2lip.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from wav2lip.errors import InputError

TRAINERS = {"syncnet": train.syncnet, "wav2lip": train.wav2lip, "wav2lip_gan": train.wav2lip_gan}


@pytest.fixture(scope="session")
def expert(tmp_path_factory):
    """An expert that knows nothing."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("expert") / "expert.pth"
    save_checkpoint(path, Checkpoint(SyncNet(width=0.125).state_dict()))
    return path


@pytest.fixture(autouse=True)
def log_of_training(caplog):
    caplog.set_level("INFO", logger="train")


def run(trainer, data, folder, expert, *overrides):
    """Run a trainer small; returns its exit code."""
    more = [] if trainer == "syncnet" else [f"syncnet_checkpoint_path={expert}", "preview_seconds=0"]
    settings = [f"data_root={data}", f"checkpoint_dir={folder}", "debug=tiny", *more, *overrides]
    return TRAINERS[trainer].train(config(trainer, *settings))


def judge_of(path):
    return load_checkpoint(path).extras["step_state"]["judge"]


def said(caplog):
    return "\n".join(record.getMessage() for record in caplog.records if record.name == "train.verdicts.judge")


class Count:
    """Rules that say how much they were given."""

    watched = ("loss",)

    def __init__(self):
        self.measured = 0

    def measure(self, batches):
        self.measured += 1
        return {"mark": 1.0}

    def verdicts(self, record: Record):
        heard = [each.train.get("loss") for each in record.evaluations]
        return [Verdict(Kind.LEARNING, f"{heard}"), Verdict(Kind.LITTLE_DATA, "little")]


def test_the_judge_asks_for_three_evaluations_until_its_time_and_measures_its_marks_once():
    rules = Count()
    judge = Judge(rules, after=8)
    assert [step for step in range(1, 20) if judge.due(step)] == [4, 6, 8]
    judge.hear({"loss": 1.0, "other": 7.0})
    judge.hear({"loss": 3.0})
    assert judge.evaluated(4, {"loss": 0.0}, list) == []
    assert judge.evaluated(6, {"loss": 0.0}, list) == []
    assert judge.evaluated(8, {"loss": 0.0}, list)[0].seen == "[2.0, None, None]"
    judge.evaluated(20, {"loss": 0.0}, list)
    assert rules.measured == 1
    assert not any(Judge(rules, after=0).due(step) for step in range(20))


def test_what_was_said_before_is_said_in_a_line_and_facts_about_the_data_once(caplog):
    judge, trouble = Judge(Count(), 1), Verdict(Kind.NOT_LEARNING, "bad", "a cause", [("look", "a command")])
    little = Verdict(Kind.LITTLE_DATA, "little", "a cause")
    judge.say([trouble], 1)
    assert "likely cause: a cause" in said(caplog)
    assert "a command" in said(caplog)
    caplog.clear()
    whole = judge.say([trouble], 2)
    assert said(caplog) == "step 2 | not learning yet: bad"
    assert "a command" in whole
    judge.say([Verdict(Kind.LEARNING, "good"), little], 3)
    caplog.clear()
    judge.say([Verdict(Kind.LEARNING, "good"), little], 4)
    assert said(caplog) == "step 4 | learning: good"


@pytest.mark.parametrize("trainer", ["syncnet", pytest.param("wav2lip_gan", marks=pytest.mark.slow)])
def test_a_trainer_judges_itself_in_words_and_curves_the_same_after_a_resume(
    trainer, noise_data, expert, tmp_path, caplog
):
    options = ["judge_after=2", "eval_interval=3", "eval_windows=4"]
    run(trainer, noise_data, tmp_path / "whole", expert, *options)
    words = said(caplog)
    assert "step 2 | " in words
    assert "step 6 | " in words
    assert f"python -m preprocess.doctor {noise_data}" in words
    assert "4.0 s in 2 clips of 2 folders to train on" in words
    curves = EventAccumulator(str(tmp_path / "whole" / "tensorboard")).Reload()
    assert [event.step for event in curves.Scalars(f"verdict/{Kind.LITTLE_DATA}")] == [2, 3, 6]
    assert {event.value for event in curves.Scalars(f"verdict/{Kind.LITTLE_DATA}")} == {1.0}
    assert "verdict/text_summary" in curves.Tags()["tensors"]
    if trainer == "wav2lip_gan":
        assert "weak expert" in words
    run(trainer, noise_data, tmp_path / "first", expert, *options, "max_steps=3")
    name = "checkpoint_step000000003.pth"
    go_on = [f"checkpoint_path={tmp_path}/first/{name}"]
    if trainer == "wav2lip_gan":
        go_on.append(f"disc_checkpoint_path={tmp_path}/first/disc_{name}")
    run(trainer, noise_data, tmp_path / "second", expert, *options, *go_on)
    last = "checkpoint_step000000006.pth"
    assert judge_of(tmp_path / "whole" / last) == judge_of(tmp_path / "second" / last)


def test_a_fine_tuning_and_what_goes_on_from_it_are_not_told_that_their_data_is_little(
    noise_data, expert, tmp_path, caplog
):
    options = ["judge_after=2", "eval_windows=4"]
    run("syncnet", noise_data, tmp_path / "a", expert, f"checkpoint_path={expert}", "reset_optimizer=true",
        "max_steps=3", *options)  # fmt: skip
    run("syncnet", noise_data, tmp_path / "b", expert, f"checkpoint_path={tmp_path}/a/checkpoint_step000000003.pth",
        *options)  # fmt: skip
    assert "step 6 | " in said(caplog)
    assert str(Kind.LITTLE_DATA) not in said(caplog)


def test_evaluations_that_the_judge_asks_for_change_nothing_in_training(noise_data, expert, tmp_path, monkeypatch):
    acted = []
    monkeypatch.setattr(GeneratorStep, "after_validation", lambda *_: acted.append(1))
    for name, judge in (("with", 2), ("without", 0)):
        run("wav2lip", noise_data, tmp_path / name, expert, f"judge_after={judge}", "eval_interval=3",
            "eval_windows=4", "batch_size=2", "max_steps=3", "compat=public")  # fmt: skip
    with_judge, without = (
        load_checkpoint(tmp_path / name / "checkpoint_step000000003.pth") for name in ("with", "without")
    )
    assert all(torch.equal(value, without.state_dict[key]) for key, value in with_judge.state_dict.items())
    assert len(acted) == 2 * 2  # after step 1, as in the release, and step 3


class Sees(torch.nn.Module):
    """An expert by construction: sound and faces agree where their first values are equal."""

    def forward(self, mel, faces):
        codes = torch.stack([mel[:, 0, 0, 0], faces[:, 0, 0, 0]])
        return torch.nn.functional.one_hot(codes.long(), 10).float()


def test_marks_are_the_experts_answers_and_the_l1_of_two_guesses():
    size, codes = 96, torch.arange(4.0)
    target, reference = torch.zeros(4, 3, 5, size, size), torch.zeros(4, 3, 5, size, size)
    target[..., size // 2 :, :] = codes.view(4, 1, 1, 1, 1)  # mouths 0, 1, 2, 3: their mean is 1.5
    reference[..., size // 2 :, :] = torch.tensor([1.0, 1.0, 3.0, 4.0]).view(4, 1, 1, 1, 1)  # the second one agrees too
    mel = codes.view(4, 1, 1, 1).expand(4, 1, 80, 16)
    faces = torch.cat([target, reference], dim=1)
    rows = [slice(0, 3), slice(3, 4)]  # batches of unequal size
    batches = [GeneratorInputs(faces[r], torch.zeros(0), mel[r], target[r]) for r in rows]
    fabric, expert = Fabric(accelerator="cpu", devices=1), Sees().train()
    marks = measure_marks(fabric, expert, lambda: batches)
    assert expert.training  # as it was
    assert marks["expert_accuracy"] == (4 / 4 + 3 / 4) / 2
    assert marks["expert_auc"] == (3 + 1 / 2) / 4  # against three of four wrong pairs it wins, with one it ties
    assert marks["l1_of_mean"] == pytest.approx((1.5 + 0.5 + 0.5 + 1.5) / 4 / 2)  # half of the picture is given
    assert marks["l1_of_copy"] == pytest.approx((1 + 0 + 1 + 1) / 4 / 2)


def test_the_expert_learns_four_batches_by_heart_without_a_file_left(noise_data, expert, tmp_path, caplog):
    assert run("syncnet", noise_data, tmp_path, expert, "overfit=2", "batch_size=8", "learning_rate=1e-3") == 0
    assert "overfit test PASSED: loss went from" in caplog.text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_self_test_that_cannot_learn_fails_with_exit_code_1(trainer, noise_data, expert, tmp_path, caplog):
    options = ["overfit=2", "overfit_steps=4", "learning_rate=0"]
    assert run(trainer, noise_data, tmp_path, expert, *options) == 1
    assert "overfit test FAILED" in caplog.text
    assert "in 4 steps on 2 fixed batches" in caplog.text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("recipe", ["public", "default"])
def test_batches_of_the_experts_self_test_have_both_kinds_of_pairs(recipe, noise_data, expert, tmp_path, monkeypatch):
    seen = []
    learn = train.loop.Loop.learn
    monkeypatch.setattr(train.loop.Loop, "learn",
                        lambda loop, batches, means: learn(loop, seen_through(batches, seen), means))  # fmt: skip
    run("syncnet", noise_data, tmp_path, expert, f"recipe={recipe}", "overfit=3", "overfit_steps=6",
        "batch_size=2")  # fmt: skip
    if recipe == "public":
        assert [sorted(batch.label.flatten().tolist()) for batch in seen] == [[0, 1]] * 6
    else:  # all are right; the wrong pairs are between the two of a clip
        assert [batch.label.flatten().tolist() for batch in seen] == [[1, 1]] * 6
        assert all(5 <= abs(batch.heard[0] - batch.shown[1]) < 100 for batch in seen)
    assert all(torch.equal(a.faces, b.faces) for a, b in zip(seen[:3], seen[3:], strict=True))


def seen_through(batches, seen):
    for batch in batches:
        seen.append(batch)
        yield batch


@pytest.mark.parametrize(("override", "sentence"), [
    ("overfit=-1", "overfit=-1: give a number of batches, or 0 for no self-test"),
    ("overfit_steps=0", "overfit_steps=0: give a whole number from 1 up"),
    ("judge_after=-1", "judge_after=-1: give a number of steps, or 0 to judge never"),
])  # fmt: skip
def test_impossible_settings_are_one_sentence(override, sentence, noise_data, expert, tmp_path):
    with pytest.raises(InputError) as error:
        run("syncnet", noise_data, tmp_path, expert, override)
    assert str(error.value) == sentence
