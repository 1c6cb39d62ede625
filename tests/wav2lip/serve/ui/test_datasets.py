"""Datasets: summaries of their descriptions, and lookup by listed names only."""

from __future__ import annotations

import json

import pytest

from wav2lip.errors import InputError
from wav2lip.serve.ui.datasets import DatasetCatalog
from wav2lip.serve.ui.tabs.data import render_dataset

CONTENT = {
    "totals": {"inputs": 3, "inputs_used": 2, "seconds_in": 200.0, "seconds_kept": 150.0, "clips": 9, "clips_kept": 7},
    "dropped": [{"stage": "quality", "cause": "dark <b>face</b>", "seconds": 50.0, "inputs": 1}],
    "splits": {name: {"clips": clips, "seconds": 20.0} for name, clips in (("train", 5), ("val", 2), ("test", 0))},
    "sync": {"agreement_found": True, "conclusion": "lips and audio agree in 7 of 9 clips"},
    "warnings": ["Less than 10 minutes <script>alert(1)</script>"],
}  # fmt: skip


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "team" / "mine"
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text(json.dumps(CONTENT))
    (folder / "report.html").write_text("<h1>report</h1>")
    (tmp_path / "secret").mkdir()
    return tmp_path


def test_render_dataset_shows_totals_and_report(root):
    datasets = DatasetCatalog(root)
    assert datasets.names() == ["team/mine"]
    page = render_dataset(datasets, "team/mine")
    for text in ("3 min 20 s", "kept (75%)", "of 9 clips kept", "5 / 2 / 0", "agree in 7 of 9", "50 s"):
        assert text in page
    assert 'src="page/datasets?name=team%2Fmine"' in page


def test_render_dataset_escapes_text(root):
    page = render_dataset(DatasetCatalog(root), "team/mine")
    assert "<script>" not in page
    assert "<b>face" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("name", ["secret", "../", "/", "team", "team/../team/mine", "nothing"])
def test_unlisted_name_is_not_used_as_path(root, name):
    with pytest.raises(InputError, match="no such dataset"):
        DatasetCatalog(root).report(name)


def test_corrupt_description_is_reported_beside_the_report(root):
    (root / "team" / "mine" / "dataset.json").write_text('{"totals": ')
    page = render_dataset(DatasetCatalog(root), "team/mine")
    assert "mine: dataset.json is not valid JSON" in page
    assert "<iframe" in page


@pytest.mark.parametrize("key", ["dropped", "splits", "warnings"])
def test_missing_key_is_reported_beside_the_report(root, key):
    content = {name: value for name, value in CONTENT.items() if name != key}
    (root / "team" / "mine" / "dataset.json").write_text(json.dumps(content))
    page = render_dataset(DatasetCatalog(root), "team/mine")
    assert f"dataset.json: has no &#x27;{key}&#x27;" in page
    assert "<iframe" in page


def test_missing_report_names_the_stage_that_writes_it(root):
    (root / "team" / "mine" / "report.html").unlink()
    page = render_dataset(DatasetCatalog(root), "team/mine")
    assert "stages=[report]" in page
    assert "<iframe" not in page


def test_catalog_without_root_is_empty():
    assert DatasetCatalog(None).names() == []
    with pytest.raises(InputError, match="no such dataset"):
        DatasetCatalog(None).folder("a")
