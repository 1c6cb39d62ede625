"""Time and memory of one input."""

import sys
import time

import pytest

from wav2lip.execution.grant import Grant, local_grant
from wav2lip.execution.usage import Measured, UsageMeter, add_lost_attempts, crash_usage

GRANT = Grant(1.5, 4.0, 0.5)


def measure(size, seconds=0.0):
    meter = UsageMeter(GRANT)
    block = bytearray(size)
    time.sleep(seconds)
    usage = meter.stop()
    assert len(block) == size
    return usage


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux resets the peak of a process")
def test_peak_is_that_of_the_input():
    large, small = measure(64 << 20), measure(0)
    assert large.peak_rss_mib - small.peak_rss_mib == pytest.approx(64, abs=8)


def test_waiting_takes_wall_time_but_no_cpu_time():
    usage = measure(0, seconds=0.3)
    assert usage.wall_s >= 0.3
    assert usage.cpu_s < usage.wall_s


def test_lost_attempts_are_added_to_a_success_only():
    usage = measure(0)
    result = add_lost_attempts(Measured("x", usage), 2, 7.5)
    assert (result.result, result.usage.attempt, result.usage.lost_wall_s) == ("x", 3, 7.5)
    assert add_lost_attempts("x", 2, 7.5) == "x"
    values = crash_usage(7.5, 3, GRANT).to_json()
    assert (values["wall_s"], values["cpu_s"], values["attempt"], values["gpus"]) == (7.5, None, 3, 0.5)


def test_class_of_a_machine_is_set_by_the_environment(monkeypatch):
    monkeypatch.setenv("WAV2LIP_HOST_CLASS", "gpu-node")
    assert measure(0).host_class == "gpu-node"


def test_workers_share_a_machine():
    whole, half = local_grant(1), local_grant(2)
    assert (half.cpus, half.memory_gib) == pytest.approx((whole.cpus / 2, whole.memory_gib / 2), abs=0.001)
    assert local_grant(0) == whole
