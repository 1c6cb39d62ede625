"""A second expert in the evaluation: another network, and the table of systems that please one expert alone."""

from pathlib import Path

import pytest

from wav2lip.errors import InputError
from wav2lip.evaluation.aggregate import Results, Summary
from wav2lip.evaluation.report import expert_gap_table
from wav2lip.evaluation.settings import EvalSettings


def results_of(**confidences):
    """Results with confidences (expert, second expert) of systems."""
    summary = {
        system: {
            name: Summary(value, None, None, 1)
            for name, value in zip(("expert_confidence", "second_confidence"), values, strict=True)
        }
        for system, values in confidences.items()
    }
    return Results("", 0, {}, {}, summary, {}, [], Path())


def test_system_that_pleases_one_expert_is_named():
    table = expert_gap_table(results_of(real=(0.6, 0.5), patterns=(0.6, 0.2), lips=(0.6, 0.45)))
    assert [row[:3] for row in table.rows] == [["patterns", "100%", "40%"]]


def test_same_expert_twice_is_rejected(tmp_path):
    for name, content in (("a.pth", b"one"), ("b.pth", b"one"), ("c.pth", b"other")):
        (tmp_path / name).write_bytes(content)
    EvalSettings(expert=tmp_path / "a.pth", second_expert=tmp_path / "c.pth")
    with pytest.raises(InputError, match=r"--second_expert .*b\.pth: has the weights of --expert"):
        EvalSettings(expert=tmp_path / "a.pth", second_expert=tmp_path / "b.pth")
