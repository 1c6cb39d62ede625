"""Throughput against a simulated clock."""

import pytest

from tests.helpers.trainers import open_log, run_trainer
from train.callbacks.throughput import Throughput
from train.checkpoint.state import TrainState


class Clock:
    """Seconds that a test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def slow_batches(clock, *waits):
    for wait in waits:
        clock.now += wait
        yield "batch"


def run_step(throughput, state, clock, batches, seconds, samples):
    throughput.on_step_start(state)
    next(batches)
    clock.now += seconds
    state.samples += samples
    throughput.on_step(state)


def log(throughput, state):
    throughput.on_log(state, {})
    return throughput.rates


def test_throughput_reports_samples_per_second_and_data_wait():
    clock, state = Clock(), TrainState(None, None)
    throughput = Throughput(clock)
    batches = throughput.time_batches(slow_batches(clock, 50, 1, 3))  # 50 s to start the workers do not count
    run_step(throughput, state, clock, batches, seconds=2, samples=16)
    run_step(throughput, state, clock, batches, seconds=2, samples=16)
    rates = log(throughput, state)
    assert rates.samples_per_second == pytest.approx(32 / 5)
    assert rates.data_wait == pytest.approx(1 / 5)
    run_step(throughput, state, clock, batches, seconds=1, samples=16)  # 3 s of waiting, 1 of training
    rates = log(throughput, state)
    assert (rates.samples_per_second, rates.data_wait) == pytest.approx((4, 3 / 4))


def test_validation_counts_for_remaining_time_only():
    clock, state = Clock(), TrainState(None, None)
    throughput = Throughput(clock)
    batches = throughput.time_batches(slow_batches(clock, 1, 0))
    run_step(throughput, state, clock, batches, seconds=2, samples=10)
    clock.now += 8  # a validation
    run_step(throughput, state, clock, batches, seconds=2, samples=10)
    rates = log(throughput, state)
    assert rates.samples_per_second == pytest.approx(5)
    assert rates.seconds_per_step == pytest.approx(12 / 2)


def test_waiting_for_the_device_counts():
    clock, state = Clock(), TrainState(None, None)
    throughput = Throughput(clock)
    run_step(throughput, state, clock, throughput.time_batches(slow_batches(clock, 1)), seconds=0, samples=10)
    clock.now += 5  # the means are read, which waits for the device
    assert log(throughput, state).samples_per_second == pytest.approx(2)


def test_run_logs_throughput_curves(noise_data, tmp_path):
    curves = open_log(run_trainer("syncnet", noise_data, tmp_path, None))
    assert all(event.value > 0 for event in curves.Scalars("train/samples_per_second"))
    assert all(0 <= event.value <= 1 for event in curves.Scalars("train/data_wait"))
