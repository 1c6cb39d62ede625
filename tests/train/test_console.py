"""What training says while it runs: speed, waiting, time left, and curves that do not double back."""

import logging
import re

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.train.conftest import run
from train.watching.console import Console, duration, in_words
from train.watching.monitor import Monitor
from train.watching.pace import Pace, Rates


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def slow_batches(clock, *waits):
    for wait in waits:
        clock.now += wait
        yield "batch"


def test_pace_is_samples_over_time_with_the_share_that_was_waited_for_data():
    clock = Clock()
    pace = Pace(clock)
    batches = pace.waited(slow_batches(clock, 50, 1, 3))  # starting the workers takes 50 s and does not count
    next(batches)
    clock.now += 2  # a step
    pace.stepped(16)
    next(batches)
    clock.now += 2
    pace.stepped(16)
    rates = pace.take()
    assert rates.samples_per_second == pytest.approx(32 / 5)
    assert rates.data_wait == pytest.approx(1 / 5)
    next(batches)  # the next stretch: 3 s of waiting, 1 of training
    clock.now += 1
    pace.stepped(16)
    rates = pace.take()
    assert (rates.samples_per_second, rates.data_wait) == pytest.approx((4, 3 / 4))


def test_validations_are_left_out_of_the_pace_but_not_of_the_time_left():
    clock = Clock()
    pace = Pace(clock)
    next(pace.waited(slow_batches(clock, 1)))
    clock.now += 2
    with pace.paused():
        clock.now += 8
    pace.stepped(10)
    rates = pace.take()
    assert rates.samples_per_second == pytest.approx(5)
    assert rates.seconds_a_step == pytest.approx(10)


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0 s"), (59.6, "1 min 0 s"), (725, "12 min 5 s"), (12_000, "3 h 20 min"), (198_000, "2 d 7 h"), (86_400, "1 d"),
])  # fmt: skip
def test_a_time_span_is_told_in_its_two_largest_units(seconds, text):
    assert duration(seconds) == text


def test_a_line_has_the_main_terms_first_and_no_wall_of_numbers():
    terms = {"gradient_norm": 9.0, "critic_fake": 0.7, "l1": 0.05, "loss": 0.1, "sync": 0.6, "a": 1.0, "b": 2.0}
    assert in_words(terms) == (
        "loss 0.1000, l1 0.0500, sync 0.6000, critic fake 0.7000, gradient norm 9.0000, a 1.0000"
    )


def test_a_report_is_one_line_with_speed_waiting_and_time_left(caplog):
    caplog.set_level(logging.INFO, logger="train")
    with Console(steps=3000, first=999) as console:
        console.advance()
        console.report({"loss": 0.5}, Rates(samples_per_second=210.4, data_wait=0.013, seconds_a_step=0.25))
    assert caplog.messages == ["step 1000/3000 | loss 0.5000 | 210 samples/s | data wait 1% | 8 min 20 s left"]


def test_on_a_terminal_the_report_stands_behind_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Console(steps=3000, first=999) as console:
        console.advance()
        console.report({"loss": 0.5}, Rates(210.4, 0.013, 0.25))
    last = capsys.readouterr().err.split("\r")[-1]
    assert re.match(r" 33%\|.{12}\| step 1000/3000, loss 0.5000 \| 210 samples/s", last)


def test_a_training_reports_its_pace_to_the_curves_and_in_lines(noise_data, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="train")
    folder = run("syncnet", noise_data, tmp_path, None, "recipe=public", "learning_rate=0.002")
    curves = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert all(event.value > 0 for event in curves.Scalars("train/samples_per_second"))
    assert all(0 <= event.value <= 1 for event in curves.Scalars("train/data_wait"))
    assert [event.value for event in curves.Scalars("train/learning_rate")] == pytest.approx([0.002] * 6)
    lines = [line for line in caplog.messages if line.startswith("step ")]
    assert sum("samples/s" in line for line in lines) == 6
    assert sum("validation: loss" in line for line in lines) == 2


def test_curves_do_not_double_back_after_a_resume_from_an_older_checkpoint(tmp_path):
    with Monitor(tmp_path).after(0) as monitor:
        for step in range(1, 7):
            monitor.scalars("train", {"loss": step}, step)
    with Monitor(tmp_path).after(3) as monitor:
        for step in range(4, 6):
            monitor.scalars("train", {"loss": -step}, step)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("train/loss")
    assert [(event.step, event.value) for event in events] == [(1, 1), (2, 2), (3, 3), (4, -4), (5, -5)]
