"""Data sets are summed up from their own description and found by listed names only."""

from __future__ import annotations

import json

import pytest

from wav2lip.errors import InputError
from wav2lip.serve.page.data_tab import described
from wav2lip.serve.page.datasets import Datasets, duration

CONTENT = {
    "totals": {"inputs": 3, "inputs_used": 2, "seconds_in": 200.0, "seconds_kept": 150.0, "clips": 9, "clips_kept": 7},
    "lost": [{"stage": "quality", "cause": "dark <b>face</b>", "seconds": 50.0, "inputs": 1}],
    "splits": {name: {"clips": clips, "seconds": 20.0} for name, clips in (("train", 5), ("val", 2), ("test", 0))},
    "sync": {"agreement_found": True, "verdict": "lips and sound agree in 7 of 9 clips"},
    "warnings": ["Less than 10 minutes <script>alert(1)</script>"],
}  # fmt: skip


@pytest.fixture
def sets(tmp_path):
    folder = tmp_path / "team" / "mine"
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text(json.dumps(CONTENT))
    (folder / "report.html").write_text("<h1>report</h1>")
    (tmp_path / "secret").mkdir()
    return tmp_path


def test_a_data_set_is_listed_and_summed_up(sets):
    datasets = Datasets(sets)
    assert datasets.names() == ["team/mine"]
    page = described(datasets, "team/mine")
    for told in ("3 min 20 s", "kept, 75% of it", "of 9 clips kept", "5 / 2 / 0", "agree in 7 of 9", "50.0 s"):
        assert told in page
    assert 'src="page/datasets?name=team%2Fmine"' in page


def test_what_a_data_set_says_is_shown_as_text(sets):
    page = described(Datasets(sets), "team/mine")
    assert "<script>" not in page
    assert "<b>face" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("name", ["secret", "../", "/", "team", "team/../team/mine", "nothing"])
def test_a_name_that_is_not_listed_is_no_path(sets, name):
    with pytest.raises(InputError, match="no such data set"):
        Datasets(sets).report(name)


def test_a_damaged_description_is_said_and_the_report_still_shown(sets):
    (sets / "team" / "mine" / "dataset.json").write_text('{"totals": ')
    page = described(Datasets(sets), "team/mine")
    assert "mine: dataset.json is no JSON" in page
    assert "<iframe" in page


@pytest.mark.parametrize("missing", ["lost", "splits", "warnings"])
def test_a_description_that_lacks_a_part_is_said_and_the_report_still_shown(sets, missing):
    lacking = {name: part for name, part in CONTENT.items() if name != missing}
    (sets / "team" / "mine" / "dataset.json").write_text(json.dumps(lacking))
    page = described(Datasets(sets), "team/mine")
    assert f"dataset.json says nothing of &#x27;{missing}&#x27;; run preprocess again" in page
    assert "<iframe" in page


def test_a_data_set_without_a_report_says_how_to_draw_one(sets):
    (sets / "team" / "mine" / "report.html").unlink()
    page = described(Datasets(sets), "team/mine")
    assert "stages=[report]" in page
    assert "<iframe" not in page


def test_a_server_without_a_folder_has_none():
    assert Datasets(None).names() == []
    with pytest.raises(InputError, match="no such data set"):
        Datasets(None).folder("a")


@pytest.mark.parametrize(
    ("seconds", "said"), [(7.04, "7.0 s"), (59.99, "60.0 s"), (140, "2 min 20 s"), (3900, "1 h 5 min")]
)
def test_durations_read_as_people_say_them(seconds, said):
    assert duration(seconds) == said
