"""Diagnoses as functions of the recorded scores."""

from dataclasses import replace

import numpy as np
import pytest

from train.callbacks.diagnosis.context import Commands, DataVolume, RunContext
from train.callbacks.diagnosis.generator_rules import GeneratorRules
from train.callbacks.diagnosis.rules import (
    Evaluation,
    History,
    Kind,
    diagnose_data,
    max_chance_accuracy,
    max_chance_auc,
)
from train.callbacks.diagnosis.syncnet_rules import SyncNetRules
from wav2lip.sync.roc import roc_auc

PLENTY = DataVolume(seconds=36_000, clips=5000, groups=500, independent_windows=1000)
COMMANDS = Commands("train.syncnet", ["data_root=my data", "learning_rate=1e-3"], "my data", "out")
CONTEXT = RunContext(PLENTY, COMMANDS, batch_size=16, learning_rate=1e-3)
BASELINES = {"expert_accuracy": 0.9, "expert_auc": 0.95, "l1_of_mean": 0.08, "l1_of_copy": 0.05}


def evaluations(**terms):
    """Return evaluations from series of scores, named train_TERM or TERM."""
    length = max(map(len, terms.values()))
    records = [Evaluation(1000 * (n + 1), {}, {}) for n in range(length)]
    for name, series in terms.items():
        for record, value in zip(records, series, strict=True):
            side = record.train if name.startswith("train_") else record.val
            if value is not None:
                side[name.removeprefix("train_")] = value
    return records


def diagnose_expert(context=CONTEXT, from_weights=False, **terms):
    return SyncNetRules(context).diagnose(History(evaluations(**terms), {}, from_weights))


def diagnose_generator(context=CONTEXT, baselines=BASELINES, **terms):
    length = len(terms["l1"])
    defaults = {"sync_of_truth": [0.3] * length, "sync_of_input": [1.2] * length, "sync": [1.0] * length}
    rules = GeneratorRules(context, fabric=None, expert=None, expert_path="expert.pth", sync_threshold=0.75,
                           sync_weight=0.03)  # fmt: skip
    return rules.diagnose(History(evaluations(**defaults | terms), baselines))


def kinds(diagnoses):
    return [diagnosis.kind for diagnosis in diagnoses]


def list_commands(diagnosis):
    return [command for _, command in diagnosis.remedies]


def test_guessing_exceeds_chance_limits_once_in_a_hundred():
    assert max_chance_accuracy(100) == 0.62  # P(X >= 62) = 0.0105 and P(X >= 63) = 0.0060 of 100 fair coins
    rng, labels = np.random.default_rng(0), np.arange(100) < 50
    guesses = rng.uniform(size=(4000, 100))
    accuracy = np.mean(((guesses > 0.5) == labels).mean(axis=1) > max_chance_accuracy(100))
    auc = np.mean([roc_auc(guess, labels) > max_chance_auc(100) for guess in guesses])
    assert 0.002 < accuracy < 0.01
    assert 0.006 < auc < 0.015


def test_expert_at_chance_is_not_learning():
    (diagnosis,) = diagnose_expert(
        accuracy=[0.5, 0.51, 0.49], auc=[0.5, 0.51, 0.52], loss=[0.7, 0.69, 0.69], train_loss=[0.7, 0.69, 0.69]
    )
    assert diagnosis.kind == Kind.NOT_LEARNING
    assert "0.693" in diagnosis.figures  # ln 2, the loss of a constant guess
    assert "python -m preprocess.doctor 'my data'" in list_commands(diagnosis)
    assert any("grad_accum_steps=4" in command for command in list_commands(diagnosis))  # of 16 samples, for 64


def test_one_lucky_evaluation_of_three_is_not_learning():
    assert kinds(diagnose_expert(accuracy=[0.5, 0.9, 0.5], auc=[0.5, 0.9, 0.5], loss=[0.69] * 3)) == [Kind.NOT_LEARNING]


def test_expert_that_ranks_pairs_is_learning():
    assert kinds(diagnose_expert(accuracy=[0.5] * 3, auc=[0.6, 0.61, 0.62], loss=[0.7] * 3)) == [Kind.LEARNING]


def test_chance_depends_on_the_number_of_disjoint_windows():
    scores = {"accuracy": [0.56] * 3, "auc": [0.56] * 3, "loss": [0.68] * 3}
    assert kinds(diagnose_expert(**scores)) == [Kind.LEARNING]
    small_context = replace(CONTEXT, data=replace(PLENTY, independent_windows=100))
    assert kinds(diagnose_expert(small_context, **scores)) == [Kind.NOT_LEARNING]


GOOD = {"accuracy": [0.8] * 6, "auc": [0.9] * 6}


def test_diverging_validation_and_training_loss_is_overfitting():
    (diagnosis,) = diagnose_expert(
        **GOOD, loss=[0.6, 0.5, 0.4, 0.45, 0.5, 0.6], train_loss=[0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    )
    assert diagnosis.kind == Kind.OVERFITTING
    assert "0.4000 at step 3000" in diagnosis.figures


def test_an_overfitting_generator_is_offered_augmentation():
    train_l1 = [0.06, 0.05, 0.04, 0.03, 0.025, 0.02]
    diagnosis = diagnose_generator(l1=[0.06, 0.05, 0.04, 0.045, 0.05, 0.06], train_l1=train_l1)[0]
    assert diagnosis.kind == Kind.OVERFITTING
    assert any("flip=0.5 color_jitter=0.2 resume=true" in command for command in list_commands(diagnosis))
    augmented = replace(CONTEXT, commands=replace(COMMANDS, overrides=[*COMMANDS.overrides, "color_jitter=0.1"]))
    diagnosis = diagnose_generator(augmented, l1=[0.06, 0.05, 0.04, 0.045, 0.05, 0.06], train_l1=train_l1)[0]
    assert diagnosis.kind == Kind.OVERFITTING
    assert not any("flip" in command for command in list_commands(diagnosis))


def test_one_swing_of_the_validation_loss_is_not_overfitting():
    falling_losses = [0.6, 0.5, 0.4, 0.38, 0.36, 0.34]
    assert kinds(diagnose_expert(**GOOD, loss=[0.6, 0.5, 0.4, 0.39, 0.38, 0.8], train_loss=falling_losses)) == [
        Kind.LEARNING
    ]


def test_rise_of_both_losses_is_not_overfitting():
    rising_losses = [0.4, 0.5, 0.5, 0.6, 0.6, 0.7]
    assert Kind.OVERFITTING not in kinds(diagnose_expert(**GOOD, loss=rising_losses, train_loss=rising_losses))


def test_memorized_clips_at_chance_are_overfitting():
    (diagnosis,) = diagnose_expert(accuracy=[0.5] * 3, auc=[0.5] * 3, loss=[0.9] * 3, train_loss=[0.6, 0.4, 0.2])
    assert diagnosis.kind == Kind.OVERFITTING
    assert "memorizes" in diagnosis.cause


def test_stall_of_five_evaluations_suggests_a_lower_rate():
    (diagnosis,) = diagnose_expert(**GOOD, loss=[0.4, 0.41, 0.41, 0.41, 0.41, 0.41], train_loss=[0.4] * 6)
    assert diagnosis.kind == Kind.STALLED
    assert "learning_rate=0.0002" in list_commands(diagnosis)[0]
    assert "learning_rate=1e-3" not in list_commands(diagnosis)[0]


def test_little_data_is_reported_unless_fine_tuning():
    data = replace(PLENTY, seconds=599.0, groups=9)
    scores = {"accuracy": [0.9] * 3, "auc": [0.9] * 3, "loss": [0.3] * 3}
    context = replace(CONTEXT, data=data)
    assert kinds(diagnose_expert(context, **scores)) == [Kind.LEARNING, Kind.LITTLE_DATA, Kind.FEW_SPEAKERS]
    assert kinds(diagnose_expert(context, from_weights=True, **scores)) == [Kind.LEARNING]
    sufficient_context = replace(CONTEXT, data=replace(PLENTY, seconds=600.0, groups=10))
    assert diagnose_data(sufficient_context, History([])) == []


def test_generator_worse_than_the_mean_mouth_must_improve():
    assert kinds(diagnose_generator(l1=[0.2, 0.2, 0.2])) == [Kind.NOT_LEARNING]
    assert kinds(diagnose_generator(l1=[0.2, 0.15, 0.12])) == [Kind.LEARNING]
    assert kinds(diagnose_generator(l1=[0.06, 0.06, 0.06])) == [Kind.LEARNING]


@pytest.mark.parametrize("auc", [0.5, 0.7])
def test_weak_expert_is_reported_with_commands(auc):
    weak_baselines = BASELINES | {"expert_auc": auc, "expert_accuracy": auc}
    diagnoses = diagnose_generator(baselines=weak_baselines, l1=[0.03] * 3)
    diagnosis = next(each for each in diagnoses if each.kind == Kind.WEAK_EXPERT)
    assert f"AUC {auc:.3f}" in diagnosis.figures
    assert any(command.startswith("python -m preprocess.sync") for command in list_commands(diagnosis))
    trainer = next(command for command in list_commands(diagnosis) if "train.syncnet" in command)
    assert ("checkpoint_path=expert.pth" in trainer) == (auc > 0.6)  # weights at chance are no start


def test_weak_expert_reports_an_unreachable_sync_threshold():
    weak_baselines = BASELINES | {"expert_auc": 0.5}
    figures = diagnose_generator(baselines=weak_baselines, l1=[0.03] * 3, sync_of_truth=[0.8] * 3)[1].figures
    assert "below 0.75" in figures


def test_stuck_sync_loss_is_reported_once_it_counts():
    terms = {"l1": [0.03] * 4, "train_sync": [1.0] * 4, "sync": [1.0, 1.0, 1.01, 0.99]}
    assert kinds(diagnose_generator(**terms)) == [Kind.LEARNING, Kind.SYNC_STUCK]
    diagnoses = diagnose_generator(baselines=BASELINES | {"expert_auc": 0.5}, **terms)
    assert kinds(diagnoses) == [Kind.LEARNING, Kind.WEAK_EXPERT, Kind.SYNC_STUCK]
    assert "expert is weak" in diagnoses[-1].cause
    assert Kind.SYNC_STUCK not in kinds(diagnose_generator(**terms | {"train_sync": [None] * 4}))  # has no weight yet
    assert Kind.SYNC_STUCK not in kinds(diagnose_generator(**terms | {"sync": [1.0, 0.8, 0.7, 0.6]}))
    assert Kind.SYNC_STUCK not in kinds(diagnose_generator(**terms | {"sync": [0.31] * 4}))  # as good as the truth


@pytest.mark.parametrize(("gains", "expected"), [
    ([0.0, 0.001, 0.004], [Kind.AUDIO_UNUSED]),
    ([0.0, 0.001, 0.004, 0.05, 0.14, 0.01], []),  # median of the last three
    ([0.0, 0.001], []),  # too early
])  # fmt: skip
def test_a_generator_that_ignores_the_audio_is_diagnosed_without_an_expert(gains, expected):
    others = diagnose_generator(l1=[0.03] * len(gains), audio_sensitivity=gains)[1:]
    assert kinds(others) == expected
    if expected:
        assert "wrong audio raises the error of the mouth by 0.1%" in others[0].figures
        assert "preprocess.sync" in list_commands(others[0])[0]


@pytest.mark.parametrize(("second", "expected"), [(0.4, []), (0.9, [Kind.ONE_EXPERT])])
def test_gap_between_training_expert_and_a_second_one_is_diagnosed(second, expected):
    scores = {"l1": [0.03], "sync": [0.35], "second_sync": [second], "second_sync_of_truth": [0.3]}
    others = diagnose_generator(**scores)[1:]
    assert kinds(others) == expected
    if expected:
        assert "not a second one: sync loss 0.350 and 0.900, on true frames 0.300 and 0.300" in others[0].figures
        assert "syncnet_wt_on=0.01" in list_commands(others[0])[0]
