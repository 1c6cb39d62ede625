"""The guard: what it notices in the means, what it says, and what is done about it."""

import math

import pytest

import train.wav2lip
from tests.train.conftest import config, same
from train.generator_step import GeneratorStep
from train.guard.guard import Guard
from train.guard.signs import Sign
from wav2lip.checkpoints import load_checkpoint
from wav2lip.errors import InputError

HEALTHY = {"loss": 0.1, "sync": 0.5, "perceptual": 0.9, "perceptual_weight": 0.07, "critic_real": 0.5,
           "critic_fake": 0.6}  # fmt: skip


def troubles(guard, means, steps):
    return [guard.look(step, HEALTHY | means) for step in steps]


def test_a_healthy_training_is_no_trouble():
    guard = Guard(patience=1)
    assert troubles(guard, {}, range(50, 500, 50)) == [None] * 9


@pytest.mark.parametrize(("means", "words"), [
    ({"critic_real": 0.0021, "critic_fake": 0.0009, "perceptual": 7.0},
     ["the critic has won", "0.0021 on photographs and 0.0009 on generated frames", "lower disc_learning_rate"]),
    ({"perceptual": 40.0, "critic_fake": 1e-9}, ["the critic has won"]),
    ({"critic_real": 0.0, "critic_fake": 55.5}, ["the critic has collapsed", "55.5000 on generated frames"]),
    ({"critic_real": 0.6931, "critic_fake": 0.6932}, ["the critic learns nothing", "where a guess is 0.6931"]),
    ({"sync": 0.76}, ["the sync loss diverges: 0.760, where it was 0.500 at step 50"]),
])  # fmt: skip
def test_what_lasts_is_told_once_in_a_sentence_with_its_figures_and_since_when(means, words):
    guard = Guard(patience=3)
    guard.look(50, HEALTHY)
    told = troubles(guard, means, range(100, 400, 50))
    assert [trouble is not None for trouble in told] == [False, False, True, False, False, False]
    assert told[2].began == 50
    assert all(word in told[2].sentence for word in [*words, ", since step 50; "])


@pytest.mark.parametrize("means", [{"critic_real": 0.001, "critic_fake": 0.001}, {"sync": 3.0}])
def test_what_passes_again_is_no_trouble(means):
    guard = Guard(patience=3)
    guard.look(50, HEALTHY)
    assert (
        troubles(guard, means, (100, 150)) + troubles(guard, {}, (200,)) + troubles(guard, means, (250, 300))
        == [None] * 5
    )


def test_a_sync_loss_that_is_small_may_rise_by_noise():
    guard = Guard(patience=1)
    assert troubles(guard, {"sync": 0.02}, (50,)) + troubles(guard, {"sync": 0.1}, (100,)) == [None, None]


def test_a_critic_that_learns_alone_may_win():
    guard = Guard(patience=1)
    assert guard.look(50, {"critic_real": 0.001, "critic_fake": 0.001, "perceptual": 9.0}) is None


def test_what_is_no_number_stops_at_once_where_it_would_be_warned_of():
    guard = Guard()
    guard.look(50, HEALTHY)
    trouble = guard.look(100, HEALTHY | {"l1": math.nan})
    assert "l1 came to nan between steps 50 and 100" in trouble.sentence
    assert guard.answer(trouble) == "stop"


def test_gradients_that_are_no_numbers_are_no_trouble_where_the_precision_skips_them():
    assert Guard(skips=True).look(50, HEALTHY | {"gradient_norm": math.inf}) is None
    assert Guard(skips=False).look(50, HEALTHY | {"gradient_norm": math.inf}) is not None


def test_rollbacks_lower_the_rate_of_the_network_to_blame_and_end():
    guard = Guard(action="rollback", patience=1, rollbacks=2, rate_factor=0.5)
    won = {"critic_real": 0.001, "critic_fake": 0.001}
    for rate in (0.5, 0.25):
        trouble = guard.look(100, HEALTHY | won)
        assert guard.answer(trouble) == "rollback"
        guard.rolled_back(trouble, 100)
        assert (guard.rate("disc_"), guard.rate("")) == (rate, 1.0)
    assert guard.answer(guard.look(150, HEALTHY | won)) == "stop"


def test_what_was_saved_in_a_stretch_that_was_undone_is_not_gone_back_to_after_a_resume_either():
    guard = Guard(action="rollback", patience=3)
    guard.look(50, HEALTHY)
    trouble = troubles(guard, {"critic_real": 0.001, "critic_fake": 0.001}, (100, 150, 200))[-1]
    guard.rolled_back(trouble, 200)
    again = Guard(action="rollback", patience=3)
    again.load_state(guard.state())
    assert [again.sound(step) for step in (50, 51, 200, 201)] == [True, False, False, True]


def test_of_two_signs_that_last_equally_long_both_are_told():
    guard = Guard(patience=2)
    guard.look(50, HEALTHY)
    both = {"critic_real": 0.001, "critic_fake": 0.001, "sync": 2.0}
    told = [trouble.sentence.split(":")[0][:20] for trouble in troubles(guard, both, (100, 150, 200, 250)) if trouble]
    assert len(told) == len(set(told)) == 2


def test_a_guard_that_goes_on_judges_as_if_it_had_never_stopped():
    whole, first = Guard(patience=3), Guard(patience=3)
    for guard in (whole, first):
        guard.look(50, HEALTHY)
        troubles(guard, {"sync": 2.0}, (100, 150))
    second = Guard(patience=3)
    second.load_state(first.state())
    told = [guard.look(200, HEALTHY | {"sync": 2.0}) for guard in (whole, second)]
    assert told[0] == told[1] is not None


def start(data, folder, expert, *overrides):
    common = [f"data_root={data}", f"checkpoint_dir={folder}", "debug=tiny", f"syncnet_checkpoint_path={expert}",
              "batch_size=2", "checkpoint_interval=1", "eval_interval=100"]  # fmt: skip
    if "preview_seconds" in config("wav2lip"):
        common.append("preview_seconds=0")
    return train.wav2lip.train(config("wav2lip", *common, *overrides))


def at(folder, step):
    return load_checkpoint(folder / f"checkpoint_step{step:09d}.pth")


def test_numbers_that_are_none_stop_a_run_with_code_1_and_are_not_saved(noise_data, expert, tmp_path, caplog):
    assert start(noise_data, tmp_path, expert, "learning_rate=1e30") == 1
    last = sorted(tmp_path.glob("checkpoint_step*.pth"))[-1]
    assert all(value.isfinite().all() for value in load_checkpoint(last).state_dict.values())
    assert "stopped at step" in caplog.text
    assert f"from before is {last}" in caplog.text


@pytest.fixture
def poisoned(monkeypatch):
    """The fifth step's gradients are no numbers."""
    begin, backward = GeneratorStep.begin, GeneratorStep.backward

    def noting(step, number):
        step.number = number
        begin(step, number)

    def poisoning(step, *arguments):
        losses = backward(step, *arguments)
        for parameter in step.generator.parameters() if step.number == 4 else ():
            parameter.grad.fill_(math.nan)
        return losses

    monkeypatch.setattr(GeneratorStep, "begin", noting)
    monkeypatch.setattr(GeneratorStep, "backward", poisoning)


@pytest.mark.usefixtures("poisoned")
def test_a_rollback_goes_on_from_the_last_checkpoint_at_half_the_rate_and_a_resume_comes_to_the_same(
    noise_data,
    expert,
    tmp_path,
    caplog,
):
    options = ["guard.action=rollback", "ema=0.5"]
    whole = tmp_path / "whole"
    assert start(noise_data, whole, expert, *options) == 0
    assert (
        f"Goes on with the weights of {whole}/checkpoint_step000000004.pth and learning_rate times 0.5" in caplog.text
    )
    assert same(at(whole, 4).state_dict, at(whole, 5).state_dict)
    assert not same(at(whole, 5).state_dict, at(whole, 6).state_dict)
    assert at(whole, 6).optimizer["param_groups"][0]["lr"] == pytest.approx(5e-5)
    for step in (3, 5):  # killed before it went back, or after
        again = tmp_path / str(step)
        assert start(noise_data, again, expert, *options, f"checkpoint_path={whole}/checkpoint_step{step:09d}.pth") == 0
        for ours, theirs in ((at(whole, 6).extras["own_weights"], at(again, 6).extras["own_weights"]),
                             (at(whole, 6).state_dict, at(again, 6).state_dict)):  # fmt: skip
            assert same(ours, theirs)


@pytest.mark.usefixtures("poisoned")
def test_a_rate_that_a_rollback_lowered_is_lowered_once_where_a_resume_keeps_the_rates_of_the_file(
    noise_data,
    expert,
    tmp_path,
):
    options = ["guard.action=rollback", "compat.stored_rates=true"]
    for last in (5, 6, 7):  # saved at the step that went back, and after it
        assert start(noise_data, tmp_path, expert, *options, f"max_steps={last}", f"resume={last > 5}") == 0
        assert at(tmp_path, last).optimizer["param_groups"][0]["lr"] == pytest.approx(5e-5)


def test_a_second_rollback_goes_to_no_checkpoint_of_the_stretch_before(
    noise_data, expert, tmp_path, monkeypatch, caplog
):
    look = Guard.look

    def bad_from_seven_on(guard, step, means):
        bad = {"bad": Sign("it is bad", "mend it", ("",))} if step >= 7 else {}
        monkeypatch.setattr("train.guard.guard.signs", lambda *_: bad)
        return look(guard, step, means)

    monkeypatch.setattr(Guard, "look", bad_from_seven_on)
    options = ["guard.action=rollback", "guard.patience=3", "checkpoint_interval=4", "log_interval=1"]
    assert start(noise_data, tmp_path, expert, *options, "max_steps=10") == 0
    assert start(noise_data, tmp_path, expert, *options, "max_steps=13", "resume=true") == 0
    back = [record.message for record in caplog.records if "Goes on with the weights of" in record.message]
    assert len(back) == 2  # at steps 9 and 12; step 8 was saved in between
    assert all("checkpoint_step000000004.pth" in message for message in back)


def test_a_resume_between_two_reports_gives_the_guard_the_same_means(noise_data, expert, tmp_path, monkeypatch):
    look, heard = Guard.look, []

    def hearing(guard, step, means):
        heard.append((step, dict(means)))
        return look(guard, step, means)

    monkeypatch.setattr(Guard, "look", hearing)
    assert start(noise_data, tmp_path / "whole", expert, "log_interval=3", "max_steps=6") == 0
    whole = heard.copy()
    heard.clear()
    for last in (4, 6):
        assert start(noise_data, tmp_path / "parts", expert, "log_interval=3", f"max_steps={last}", "resume=true") == 0
    assert [step for step, _ in whole] == [3, 6]
    assert heard == whole


@pytest.mark.usefixtures("poisoned")
def test_without_rollback_the_same_stops_and_the_good_weights_stay(noise_data, expert, tmp_path, caplog):
    assert start(noise_data, tmp_path, expert) == 1
    assert "weights came to NaN or infinity after step 5 and are not saved; go back to a checkpoint" in caplog.text
    assert max(int(path.stem[-9:]) for path in tmp_path.glob("checkpoint_step*.pth")) == 4


@pytest.mark.parametrize(("override", "sentence"), [
    ("guard.action=pray", "guard.action=pray: there is no such action; choose warn, stop, rollback"),
    ("guard.patience=0", "guard.patience=0, guard.rollbacks=3: give whole numbers"),
    ("guard.rate_factor=1.5", "guard.rate_factor=1.5: the first must be above 1"),
])  # fmt: skip
def test_a_guard_that_cannot_be_is_one_sentence(override, sentence, noise_data, expert, tmp_path):
    with pytest.raises(InputError, match=sentence):
        start(noise_data, tmp_path, expert, override)
