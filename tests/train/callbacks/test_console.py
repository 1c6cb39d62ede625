"""Log lines and progress bar."""

import logging
import re

from tests.helpers.trainers import run_trainer
from train.callbacks.console import Console, format_terms
from train.callbacks.throughput import Rates, Throughput
from train.checkpoint.state import TrainState


def test_line_has_main_terms_first_and_at_most_six():
    terms = {"gradient_norm": 9.0, "disc_fake": 0.7, "l1": 0.05, "loss": 0.1, "sync": 0.6, "a": 1.0, "b": 2.0}
    assert format_terms(terms) == (
        "loss 0.1000, l1 0.0500, sync 0.6000, disc fake 0.7000, gradient norm 9.0000, a 1.0000"
    )


def report_step_1000():
    throughput = Throughput()
    throughput.rates = Rates(samples_per_second=210.4, data_wait=0.013, seconds_per_step=0.25)
    console, state = Console(3000, throughput), TrainState(None, None, step=999)
    console.on_start(state)
    state.step += 1
    console.on_step(state)
    console.on_log(state, {"loss": 0.5})
    console.on_end()


def test_report_is_one_line_with_speed_wait_and_time_left(caplog):
    caplog.set_level(logging.INFO, logger="train")
    report_step_1000()
    assert caplog.messages == ["step 1000/3000 | loss 0.5000 | 210 samples/s | data wait 1% | 8 min 20 s left"]


def test_report_stands_behind_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    report_step_1000()
    last = capsys.readouterr().err.split("\r")[-1]
    assert re.match(r" 33%\|.{12}\| step 1000/3000, loss 0.5000 \| 210 samples/s", last)


def test_run_logs_each_report_and_validation(noise_data, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="train")
    run_trainer("syncnet", noise_data, tmp_path, None)
    lines = [line for line in caplog.messages if line.startswith("step ")]
    assert sum("samples/s" in line for line in lines) == 6
    assert sum("validation: loss" in line for line in lines) == 2
