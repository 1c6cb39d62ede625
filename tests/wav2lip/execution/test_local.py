"""Map over processes: each input once, crashes, and errors that end the run."""

import os
import signal
from dataclasses import dataclass

import pytest

from wav2lip.errors import InputError
from wav2lip.execution.interface import Crash
from wav2lip.execution.local import ProcessExecutor


@dataclass(frozen=True)
class ListFactory:
    """Resource that records how often it is used."""

    name: str

    def build(self, worker):
        return [self.name]


@dataclass(frozen=True)
class Double:
    """Double a number and return the number of uses of the resource; strings simulate faults."""

    factory: ListFactory

    def __call__(self, value, context, progress):
        progress(0.5)
        if value == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if value == "fault":
            raise ZeroDivisionError("simulated fault")
        if value == "input error":
            raise InputError("detector=x: cannot be built; choose another")
        if value == "disk":
            raise OSError("no space left")
        uses = context.get(self.factory)
        uses.append(value)
        return value * 2, len(uses)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_inputs_are_mapped_once_and_resources_built_once(workers):
    inputs = list(range(10))
    with ProcessExecutor(workers) as executor:
        results = dict(executor.map(Double(ListFactory("x")), inputs))
        later_results = dict(executor.map(Double(ListFactory("x")), [100]))
    assert {value: result[0] for value, result in results.items()} == {n: 2 * n for n in inputs}
    uses = max(result[1] for result in results.values())
    assert uses == 11 if workers < 2 else uses < 11  # one list grew by ten, or two shared the inputs
    assert later_results[100] == (200, later_results[100][1])
    assert later_results[100][1] > 2  # the processes and their resources still exist


def test_dead_process_crashes_its_input_only(capfd):
    inputs = [1, "die", 2, "fault", 3]
    with ProcessExecutor(2) as executor:
        results = dict(executor.map(Double(ListFactory("x")), inputs))
    assert [results[n][0] for n in (1, 2, 3)] == [2, 4, 6]
    assert isinstance(results["die"], Crash)
    assert "SIGKILL" in results["die"].reason
    assert results["fault"].cause == "program fault"
    assert "simulated fault" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [("input error", InputError, "cannot be built"), ("disk", OSError, "no space left")],
)
def test_input_error_ends_map(value, kind, message):
    with ProcessExecutor(2) as executor, pytest.raises(kind, match=message):
        list(executor.map(Double(ListFactory("x")), [1, value, 2]))


def test_progress_is_reported():
    reported = []
    with ProcessExecutor(1) as executor:
        list(executor.map(Double(ListFactory("x")), [1, 2], reported.append))
    assert reported == [0.5, 0.5]


def test_map_of_no_inputs_is_empty():
    with ProcessExecutor(2) as executor:
        assert list(executor.map(Double(ListFactory("x")), [])) == []


def test_negative_workers_are_error():
    with pytest.raises(InputError, match="workers=-1"):
        ProcessExecutor(-1)
