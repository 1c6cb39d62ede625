"""What is said of a training follows from its recorded scores."""

import shlex
from dataclasses import replace

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from train.verdicts.amount import Amount, groups
from train.verdicts.commands import Commands
from train.verdicts.generator_rules import GeneratorRules
from train.verdicts.rules import Evaluation, Given, Kind, Record, accuracy_by_chance, auc_by_chance, of_data
from train.verdicts.syncnet_rules import SyncNetRules
from wav2lip.metrics import roc_auc

PLENTY = Amount(seconds=36_000, clips=5000, groups=500, independent=1000)
COMMANDS = Commands("train.syncnet", ["data_root=my data", "learning_rate=1e-3"], "my data", "out")
GIVEN = Given(PLENTY, COMMANDS, batch_size=16, learning_rate=1e-3)
MARKS = {"expert_accuracy": 0.9, "expert_auc": 0.95, "l1_of_mean": 0.08, "l1_of_copy": 0.05}


def evaluations(**terms):
    """Evaluations from series of scores, named train_TERM or TERM."""
    length = max(map(len, terms.values()))
    records = [Evaluation(1000 * (n + 1), {}, {}) for n in range(length)]
    for name, series in terms.items():
        for record, value in zip(records, series, strict=True):
            side = record.train if name.startswith("train_") else record.val
            if value is not None:
                side[name.removeprefix("train_")] = value
    return records


def of_expert(given=GIVEN, from_weights=False, **terms):
    return SyncNetRules(given).verdicts(Record(evaluations(**terms), {}, from_weights))


def of_generator(given=GIVEN, marks=MARKS, **terms):
    given_terms = {"sync_of_truth": [0.3] * 9, "sync_of_input": [1.2] * 9}
    length = len(terms["l1"])
    terms = {name: series[:length] for name, series in given_terms.items()} | {"sync": [1.0] * length} | terms
    rules = GeneratorRules(given, fabric=None, expert=None, expert_path="expert.pth", sync_threshold=0.75,
                           sync_weight=0.03)  # fmt: skip
    return rules.verdicts(Record(evaluations(**terms), marks))


def kinds(verdicts):
    return [verdict.kind for verdict in verdicts]


def test_guessing_passes_the_limits_of_chance_once_in_a_hundred_validations():
    assert accuracy_by_chance(100) == 0.62  # P(X >= 62) = 0.0105 and P(X >= 63) = 0.0060 of 100 fair coins
    rng, right = np.random.default_rng(0), np.arange(100) < 50
    guesses = rng.uniform(size=(4000, 100))
    accuracy = np.mean(((guesses > 0.5) == right).mean(axis=1) > accuracy_by_chance(100))
    auc = np.mean([roc_auc(guess, right) > auc_by_chance(100) for guess in guesses])
    assert 0.002 < accuracy < 0.01
    assert 0.006 < auc < 0.015


def test_an_expert_at_chance_is_not_learning_and_the_doctor_is_named():
    (verdict,) = of_expert(
        accuracy=[0.5, 0.51, 0.49], auc=[0.5, 0.51, 0.52], loss=[0.7, 0.69, 0.69], train_loss=[0.7, 0.69, 0.69]
    )
    assert verdict.kind == Kind.NOT_LEARNING
    assert "a constant guess has 0.693" in verdict.seen  # ln 2
    commands = [command for _, command in verdict.next]
    assert "python -m preprocess.doctor 'my data'" in commands
    assert any("accumulate=4" in command for command in commands)  # of 16 samples, for 64


def test_one_lucky_evaluation_of_three_is_not_learning_yet():
    assert kinds(of_expert(accuracy=[0.5, 0.9, 0.5], auc=[0.5, 0.9, 0.5], loss=[0.69] * 3)) == [Kind.NOT_LEARNING]


def test_an_expert_that_ranks_pairs_is_learning_before_its_accuracy_says_so():
    assert kinds(of_expert(accuracy=[0.5] * 3, auc=[0.6, 0.61, 0.62], loss=[0.7] * 3)) == [Kind.LEARNING]


def test_what_is_above_chance_depends_on_how_many_windows_can_be_apart():
    scores = {"accuracy": [0.56] * 3, "auc": [0.56] * 3, "loss": [0.68] * 3}
    assert kinds(of_expert(**scores)) == [Kind.LEARNING]
    few = replace(GIVEN, amount=replace(PLENTY, independent=100))
    assert kinds(of_expert(few, **scores)) == [Kind.NOT_LEARNING]


GOOD = {"accuracy": [0.8] * 6, "auc": [0.9] * 6}


def test_a_held_out_loss_that_rises_while_training_falls_is_over_fitting():
    (verdict,) = of_expert(**GOOD, loss=[0.6, 0.5, 0.4, 0.45, 0.5, 0.6], train_loss=[0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert verdict.kind == Kind.OVER_FITTING
    assert "best was 0.4000 at step 3000" in verdict.seen


def test_one_swing_of_the_held_out_loss_is_no_over_fitting():
    falling = [0.6, 0.5, 0.4, 0.38, 0.36, 0.34]
    assert kinds(of_expert(**GOOD, loss=[0.6, 0.5, 0.4, 0.39, 0.38, 0.8], train_loss=falling)) == [Kind.LEARNING]


def test_a_rise_of_both_losses_is_no_over_fitting():
    rising = [0.4, 0.5, 0.5, 0.6, 0.6, 0.7]
    assert Kind.OVER_FITTING not in kinds(of_expert(**GOOD, loss=rising, train_loss=rising))


def test_training_clips_known_by_heart_with_held_out_ones_at_chance_are_over_fitting():
    (verdict,) = of_expert(accuracy=[0.5] * 3, auc=[0.5] * 3, loss=[0.9] * 3, train_loss=[0.6, 0.4, 0.2])
    assert verdict.kind == Kind.OVER_FITTING
    assert "by heart" in verdict.cause


def test_nothing_better_for_five_evaluations_calls_for_a_lower_rate():
    (verdict,) = of_expert(**GOOD, loss=[0.4, 0.41, 0.41, 0.41, 0.41, 0.41], train_loss=[0.4] * 6)
    assert verdict.kind == Kind.STALLED
    assert "learning_rate=0.0002" in verdict.next[0][1]
    assert "learning_rate=1e-3" not in verdict.next[0][1]


def test_little_data_of_few_speakers_is_said_but_not_when_fine_tuning():
    amount = replace(PLENTY, seconds=599.0, groups=9)
    scores = {"accuracy": [0.9] * 3, "auc": [0.9] * 3, "loss": [0.3] * 3}
    given = replace(GIVEN, amount=amount)
    assert kinds(of_expert(given, **scores)) == [Kind.LEARNING, Kind.LITTLE_DATA, Kind.FEW_SPEAKERS]
    assert kinds(of_expert(given, from_weights=True, **scores)) == [Kind.LEARNING]
    enough = replace(GIVEN, amount=replace(PLENTY, seconds=600.0, groups=10))
    assert of_data(enough, Record([])) == []


def test_clips_that_lie_in_the_data_root_are_groups_of_their_own(tmp_path):
    flat, deep = [f"{tmp_path}/{n}" for n in range(3)], [f"{tmp_path}/a/{n}" for n in range(3)]
    assert len(groups(flat, {tmp_path})) == 3
    assert len(groups(deep, {tmp_path})) == 1


def test_a_generator_no_better_than_the_mean_mouth_is_not_learning_unless_it_is_getting_there():
    assert kinds(of_generator(l1=[0.2, 0.2, 0.2])) == [Kind.NOT_LEARNING]
    assert kinds(of_generator(l1=[0.2, 0.15, 0.12])) == [Kind.LEARNING]
    assert kinds(of_generator(l1=[0.06, 0.06, 0.06])) == [Kind.LEARNING]


@pytest.mark.parametrize("auc", [0.5, 0.7])
def test_a_weak_expert_is_named_with_what_to_run(auc):
    weak = MARKS | {"expert_auc": auc, "expert_accuracy": auc}
    verdict = next(v for v in of_generator(marks=weak, l1=[0.03] * 3) if v.kind == Kind.WEAK_EXPERT)
    assert f"AUC {auc:.3f}" in verdict.seen
    commands = [command for _, command in verdict.next]
    assert any(command.startswith("python -m preprocess.sync") for command in commands)
    trainer = next(command for command in commands if "train.syncnet" in command)
    assert ("checkpoint_path=expert.pth" in trainer) == (auc > 0.6)  # weights at chance are no beginning


def test_an_expert_whose_own_truth_is_above_the_threshold_is_said_never_to_count():
    weak = MARKS | {"expert_auc": 0.5}
    seen = of_generator(marks=weak, l1=[0.03] * 3, sync_of_truth=[0.8] * 3)[1].seen
    assert "switched on below 0.75, which not even the true frames reach" in seen


def test_a_sync_loss_that_counts_and_does_not_fall_is_said_with_the_expert_as_its_cause_if_that_is_weak():
    terms = {"l1": [0.03] * 4, "train_sync": [1.0] * 4, "sync": [1.0, 1.0, 1.01, 0.99]}
    assert kinds(of_generator(**terms)) == [Kind.LEARNING, Kind.SYNC_STUCK]
    found = of_generator(marks=MARKS | {"expert_auc": 0.5}, **terms)
    assert kinds(found) == [Kind.LEARNING, Kind.WEAK_EXPERT, Kind.SYNC_STUCK]
    assert "expert is weak" in found[-1].cause
    assert Kind.SYNC_STUCK not in kinds(of_generator(**terms | {"train_sync": [None] * 4}))  # it does not count yet
    assert Kind.SYNC_STUCK not in kinds(of_generator(**terms | {"sync": [1.0, 0.8, 0.7, 0.6]}))
    assert Kind.SYNC_STUCK not in kinds(of_generator(**terms | {"sync": [0.31] * 4}))  # as good as the truth


@pytest.mark.parametrize("folder", ["plain/data", "my data", "it's", "a=b,{c}", "ünï/1"])
def test_named_commands_survive_the_shell_and_the_config(folder):
    commands = Commands("train.wav2lip_gan", ["ema=0.9"], folder, f"{folder}/out")
    assert shlex.split(commands.doctor()) == ["python", "-m", "preprocess.doctor", folder]
    parser = OverridesParser.create()
    for command, key in ((commands.sync(), "data_root"), (commands.expert(), "data_root")):
        values = {o.key_or_group: o.value() for o in parser.parse_overrides(shlex.split(command)[3:])}
        assert str(values[key]) == folder


def test_the_same_command_with_another_rate_names_each_key_once_and_goes_on_with_both_networks():
    typed = ["data_root=d", "checkpoint_path=a.pth", "disc_checkpoint_path=b.pth", "learning_rate=1"]
    command = Commands("train.wav2lip_gan", typed, "d", "out").again("learning_rate=2", on=True)
    kept = "data_root=d checkpoint_path=a.pth disc_checkpoint_path=b.pth"
    assert command == f"python -m train.wav2lip_gan {kept} learning_rate=2 resume=true"


def test_a_command_of_several_processes_starts_as_many_again():
    commands = Commands("train.wav2lip", ["data_root=d"], "d", "out", processes=8)
    assert commands.again("ema=null") == "torchrun --nproc_per_node=8 -m train.wav2lip data_root=d ema=null"
    assert commands.overfit().startswith("python -m train.wav2lip data_root=d ")
