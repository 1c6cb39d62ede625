"""Warnings about a data set."""

import pytest

from preprocess.report.advice import list_warnings
from tests.helpers.dataset import make_dataset

TWO_VIDEOS = ["talks/one.mp4", "talks/two.mp4"]


@pytest.mark.parametrize(
    "message",
    [
        "75% of your clips",
        "Less than 10 minutes (30 s)",
        "12 s of 42 s",
        "one folder (talks)",
        "The validation set lasts only 5.0 s",
        "2 of 8 clips",
    ],
)
def test_list_warnings_names_value_and_limit(message):
    assert message in "\n".join(list_warnings(make_dataset(TWO_VIDEOS, 4)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sync": None}, "Sync was not checked"),
        ({"splits": {"train": {"clips": 6}, "val": {"clips": 6}, "test": {"clips": 0}}}, "No clip is held out"),
        ({"splits": {"train": {"clips": 6}, "val": {"clips": 0}, "test": {"clips": 0}}}, "validation list is empty"),
    ],
)
def test_list_warnings_names_missing_data(change, message):
    assert message in "\n".join(list_warnings(make_dataset(TWO_VIDEOS, 4) | change))


def test_missing_agreement_is_first_warning():
    dataset = make_dataset(TWO_VIDEOS, 4)
    dataset["sync"] = dataset["sync"] | {"agreement_found": False, "conclusion": "Best offsets scatter."}
    first = list_warnings(dataset)[0]
    assert "No agreement" in first and "Best offsets scatter." in first


def test_unmeasured_sync_is_not_called_missing_agreement():
    dataset = make_dataset(TWO_VIDEOS, 4)
    conclusion = "sync was not measured: there are too few clips"
    dataset["sync"] = dataset["sync"] | {"agreement_found": None, "conclusion": conclusion}
    warnings = list_warnings(dataset)
    assert "unknown" in warnings[0] and conclusion in warnings[0]
    assert not any("No agreement" in warning for warning in warnings)
