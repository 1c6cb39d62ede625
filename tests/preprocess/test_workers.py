"""Work in processes: each unit once, a crash costs its unit, a sentence ends the run."""

import os
import signal
from dataclasses import dataclass

import pytest

from preprocess.workers import Crash, Crew
from wav2lip.errors import InputError


@dataclass(frozen=True)
class Letters:
    """Something costly to build."""

    letter: str

    def build(self, worker):
        return [self.letter]


@dataclass(frozen=True)
class Spell:
    """Doubles a number, in the words of something that is built once in each process; odd things on demand."""

    letters: Letters

    def __call__(self, unit, tools, progress):
        progress(0.5)
        if unit == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if unit == "fault":
            raise ZeroDivisionError("a fault of ours")
        if unit == "sentence":
            raise InputError("the detector: cannot be built; bring another")
        if unit == "disk":
            raise OSError("no space left")
        built = tools.get(self.letters)
        built.append(unit)
        return unit * 2, len(built)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_unit_is_done_once_and_tools_are_built_once_in_a_process(workers):
    units = list(range(10))
    with Crew(workers) as crew:
        results = dict(crew.do(Spell(Letters("x")), units))
        again = dict(crew.do(Spell(Letters("x")), [100]))
    assert {unit: result[0] for unit, result in results.items()} == {n: 2 * n for n in units}
    built = max(result[1] for result in results.values())
    assert built == 11 if workers < 2 else built < 11  # one list that grew by ten, or two that shared them
    assert again[100] == (200, again[100][1])
    assert again[100][1] > 2  # the processes and what they built are still there


def test_a_process_that_dies_costs_the_unit_it_was_at(capfd):
    units = [1, "die", 2, "fault", 3]
    with Crew(2) as crew:
        results = dict(crew.do(Spell(Letters("x")), units))
    assert [results[n][0] for n in (1, 2, 3)] == [2, 4, 6]
    assert isinstance(results["die"], Crash)
    assert "SIGKILL" in results["die"].reason
    assert results["fault"].cause == "program fault"
    assert "a fault of ours" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("unit", "kind", "sentence"), [("sentence", InputError, "cannot be built"), ("disk", OSError, "no space left")]
)
def test_what_every_unit_would_meet_ends_the_work_with_a_sentence(unit, kind, sentence):
    with Crew(2) as crew, pytest.raises(kind, match=sentence):
        list(crew.do(Spell(Letters("x")), [1, unit, 2]))


def test_the_share_that_is_done_is_told():
    told = []
    with Crew(1) as crew:
        list(crew.do(Spell(Letters("x")), [1, 2], told.append))
    assert told == [0.5, 0.5]


def test_no_unit_is_no_work():
    with Crew(2) as crew:
        assert list(crew.do(Spell(Letters("x")), [])) == []


def test_fewer_than_no_processes_are_refused():
    with pytest.raises(InputError, match="workers=-1"):
        Crew(-1)
