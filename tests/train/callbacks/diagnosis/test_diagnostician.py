"""Times of diagnoses and their log lines, also across a resume."""

import pytest

from tests.helpers.trainers import is_equal, load_step, open_log, run_trainer
from train.callbacks.diagnosis.diagnostician import Diagnostician
from train.callbacks.diagnosis.rules import Diagnosis, Kind
from train.steps.generator import GeneratorStep
from wav2lip.errors import InputError

LOGGER = "train.callbacks.diagnosis.diagnostician"


@pytest.fixture(autouse=True)
def log_at_info(caplog):
    caplog.set_level("INFO", logger="train")


def read_log(caplog):
    return "\n".join(record.getMessage() for record in caplog.records if record.name == LOGGER)


class EchoRules:
    """Rules whose diagnosis repeats the training losses."""

    metrics = ("loss",)

    def __init__(self):
        self.measured = 0

    def measure_baselines(self, batches):
        self.measured += 1
        return {"baseline": 1.0}

    def diagnose(self, history):
        losses = [each.train.get("loss") for each in history.evaluations]
        return [Diagnosis(Kind.LEARNING, f"{losses}"), Diagnosis(Kind.LITTLE_DATA, "little")]


def build(after, rules=None, last_step=None):
    return Diagnostician(rules or EchoRules(), after, lambda step: [], None, last_step)


def test_first_diagnosis_has_three_evaluations_and_one_baseline():
    rules = EchoRules()
    diagnostician = build(8, rules)
    assert diagnostician.evaluation_steps == {4, 6, 8}
    diagnostician.on_log(None, {"loss": 1.0, "other": 7.0})
    diagnostician.on_log(None, {"loss": 3.0})
    assert diagnostician.evaluate(4, {"loss": 0.0}) == []
    assert diagnostician.evaluate(6, {"loss": 0.0}) == []
    assert diagnostician.evaluate(8, {"loss": 0.0})[0].figures == "[2.0, None, None]"
    diagnostician.evaluate(20, {"loss": 0.0})
    assert rules.measured == 1
    assert build(0).evaluation_steps == set()
    assert build(2000, last_step=1496).evaluation_steps == set()  # they would serve a diagnosis that never comes


def test_short_run_is_diagnosed_at_its_last_of_three_validations():
    for after, steps, expected in ((2000, (10, 20, 30), True), (2000, (20, 30), False), (0, (10, 20, 30), False)):
        diagnostician = build(after, last_step=30)
        *earlier, last = [diagnostician.evaluate(step, {"loss": 0.0}) for step in steps]
        assert not any(earlier) and bool(last) == expected


def test_run_with_fewer_steps_reports_its_diagnosis(noise_data, expert, tmp_path, caplog):
    options = ["eval_interval=2", "eval_windows=4", "max_steps=7"]
    run_trainer("syncnet", noise_data, tmp_path, expert, *options)
    assert {line.split(" | ")[0] for line in read_log(caplog).splitlines() if line.startswith("step ")} == {"step 6"}


def test_run_that_reaches_diagnose_after_is_not_diagnosed_before(noise_data, expert, tmp_path, caplog):
    options = ["eval_interval=1", "eval_windows=4", "max_steps=5", "diagnose_after=5"]
    run_trainer("syncnet", noise_data, tmp_path, expert, *options)
    assert {line.split(" | ")[0] for line in read_log(caplog).splitlines() if line.startswith("step ")} == {"step 5"}


def test_repeated_diagnosis_is_logged_in_one_line(caplog):
    diagnostician, problem = build(1), Diagnosis(Kind.NOT_LEARNING, "bad", "a cause", [("look", "a command")])
    little = Diagnosis(Kind.LITTLE_DATA, "little", "a cause")
    diagnostician.report([problem], 1)
    assert "likely cause: a cause" in read_log(caplog)
    assert "a command" in read_log(caplog)
    caplog.clear()
    full = diagnostician.report([problem], 2)
    assert read_log(caplog) == "step 2 | not learning yet: bad"
    assert "a command" in full
    diagnostician.report([Diagnosis(Kind.LEARNING, "good"), little], 3)
    caplog.clear()
    diagnostician.report([Diagnosis(Kind.LEARNING, "good"), little], 4)  # facts about the data are not repeated
    assert read_log(caplog) == "step 4 | learning: good"


def load_diagnosis(folder, step):
    return load_step(folder, step).extras["callbacks"]["diagnosis"]


@pytest.mark.parametrize("trainer", ["syncnet", pytest.param("wav2lip_gan", marks=pytest.mark.slow)])
def test_diagnoses_are_the_same_after_a_resume(trainer, noise_data, expert, tmp_path, caplog):
    options = ["diagnose_after=2", "eval_interval=3", "eval_windows=4"]
    uninterrupted = run_trainer(trainer, noise_data, tmp_path / "whole", expert, *options)
    text = read_log(caplog)
    assert "step 2 | " in text
    assert "step 6 | " in text
    assert f"python -m preprocess.doctor {noise_data}" in text
    assert "4.0 s in 2 clips of 2 folders" in text
    curves = open_log(uninterrupted)
    assert [event.step for event in curves.Scalars(f"diagnosis/{Kind.LITTLE_DATA}")] == [2, 3, 6]
    assert {event.value for event in curves.Scalars(f"diagnosis/{Kind.LITTLE_DATA}")} == {1.0}
    assert "diagnosis/text_summary" in curves.Tags()["tensors"]
    if trainer == "wav2lip_gan":
        assert Kind.WEAK_EXPERT in text
    first = run_trainer(trainer, noise_data, tmp_path / "first", expert, *options, "max_steps=3")
    files = [f"checkpoint_path={first}/checkpoint_step000000003.pth"]
    if trainer == "wav2lip_gan":
        files.append(f"disc_checkpoint_path={first}/disc_checkpoint_step000000003.pth")
    second = run_trainer(trainer, noise_data, tmp_path / "second", expert, *options, *files)
    assert load_diagnosis(uninterrupted, 6) == load_diagnosis(second, 6)


def test_fine_tuning_and_its_resume_may_have_little_data(noise_data, expert, tmp_path, caplog):
    options = ["diagnose_after=2", "eval_windows=4"]
    finetuned = run_trainer("syncnet", noise_data, tmp_path / "a", expert, f"checkpoint_path={expert}",
                        "reset_optimizer=true", "max_steps=3", *options)  # fmt: skip
    run_trainer("syncnet", noise_data, tmp_path / "b", expert,
                f"checkpoint_path={finetuned}/checkpoint_step000000003.pth", *options)  # fmt: skip
    assert "step 6 | " in read_log(caplog)
    assert Kind.LITTLE_DATA not in read_log(caplog)


def test_diagnosis_changes_nothing_in_the_run(noise_data, expert, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(GeneratorStep, "on_validation", lambda *_: calls.append(1))
    folders = [
        run_trainer("wav2lip", noise_data, tmp_path / str(after), expert, f"diagnose_after={after}",
                    "eval_interval=3", "eval_windows=4", "batch_size=2", "max_steps=3", "compat=public")
        for after in (2, 0)
    ]  # fmt: skip
    assert is_equal(*(load_step(folder, 3).state_dict for folder in folders))
    assert len(calls) == 2 * 2  # after step 1, as upstream, and step 3


def test_negative_diagnose_after_is_rejected(noise_data, expert, tmp_path):
    with pytest.raises(InputError, match="diagnose_after=-1"):
        run_trainer("syncnet", noise_data, tmp_path, expert, "diagnose_after=-1")
