"""report.html gives the outcome of every second, and is one safe file of bounded size."""

import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocess.report.advice import list_warnings
from preprocess.report.html import write_report
from tests.helpers.dataset import make_dataset

HOSTILE_NAME = 'talks/<script>alert("1")</script>&amp; \'x.mp4'


class Page(HTMLParser):
    """The parsed file: tags with attributes, and the text of tables."""

    VOID = ("meta", "img", "input", "br", "link")

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.tables: list[list[str]] = []  # rows of each table as text
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} is closed out of order"

    def handle_data(self, data):
        if "style" in self.open or "script" in self.open:
            return
        self.text += data
        if "tr" in self.open:
            self.tables[-1][-1] += data

    def rows(self, label: str) -> list[str]:
        labels = [attributes.get("aria-label") for tag, attributes in self.tags if tag == "table"]
        return self.tables[labels.index(label)][1:]

    def values(self, tag: str, attribute: str) -> list[str]:
        return [attributes[attribute] for name, attributes in self.tags if name == tag and attribute in attributes]


def add_crops(root: Path, clip: str, face: np.ndarray) -> None:
    (root / clip).mkdir(parents=True)
    for number in range(125):
        cv2.imwrite(str(root / clip / f"{number}.jpg"), face)


@pytest.fixture
def small(tmp_path, portrait) -> Page:
    dataset = make_dataset(["talks/one.mp4", HOSTILE_NAME, "talks/three.mp4"], 5)
    add_crops(tmp_path, "talks/one_000000", portrait)
    return Page(write_report(tmp_path, dataset))


def test_inputs_and_dropped_clips_have_rows_with_reasons(small):
    rows = small.rows("inputs")
    assert len(rows) == 3
    assert "talks/one.mp4" in rows[0] and "20 s of 26 s kept" in rows[0] and "1.0 s no face" in rows[0]
    dropped = small.rows("dropped clips")
    assert len(dropped) == 3
    assert all("confidence 1.2, below 4" in row for row in dropped)
    assert len(small.rows("The worst 6 kept clips")) == len(small.rows("The best 6 clips")) == 6
    assert small.open == []


def test_time_bar_spans_have_reasons(small):
    assert "25.0 to 26.0 s: no face. none" in small.text
    labels = small.values("svg", "aria-label")
    assert "20 s of 26 s kept; 5.0 s no sync found; 1.0 s no face" in labels
    assert len(labels) == len(small.values("svg", "viewbox"))  # every plot has a description


def test_names_are_escaped(small):
    assert [tag for tag, _ in small.tags].count("script") == 1  # the script of the page
    assert HOSTILE_NAME in small.rows("inputs")[1]


def test_page_is_self_contained(small, tmp_path):
    assert not re.search(r"https?://|//[a-z]|@import|url\(", (tmp_path / "report.html").read_text(encoding="utf-8"))
    sources = small.values("img", "src")
    assert len(sources) >= 5
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert all(small.values("img", "alt"))
    assert not small.values("link", "href") and not small.values("script", "src")


def test_warnings_come_before_the_tables(tmp_path):
    dataset = make_dataset(["talks/one.mp4", "talks/two.mp4"], 4)
    page = Page(write_report(tmp_path, dataset))
    assert len(dataset["warnings"]) > 3
    for warning in dataset["warnings"]:
        assert page.text.index(warning) < page.text.index("Where the time went")


def test_page_size_is_bounded_for_20000_clips(tmp_path, portrait):
    dataset = make_dataset([f"speaker{n % 50}/{n:05}.mp4" for n in range(4_000)], 5)
    add_crops(tmp_path, "crops", portrait)
    for clip in dataset["clips"]:
        (tmp_path / clip["clip"]).parent.mkdir(exist_ok=True)
        (tmp_path / clip["clip"]).symlink_to(tmp_path / "crops")
    path = write_report(tmp_path, dataset)
    page = Page(path)
    assert 2_000_000 < path.stat().st_size < 10_000_000  # with the maximum number of images
    assert len(page.rows("inputs")) == 1_000
    assert "1,000 of 4,000 inputs" in page.text and "dataset.json has them all" in page.text
    assert len(page.rows("dropped clips")) == 500


def test_row_size_is_bounded_for_long_inputs(tmp_path):
    short = write_report(tmp_path, make_dataset(["a/one.mp4"], 20)).stat().st_size
    dataset = make_dataset(["a/one.mp4"], 5_000)
    dataset["inputs"][0]["dropped"] = dataset["inputs"][0]["dropped"] * 2_000
    assert write_report(tmp_path, dataset).stat().st_size < short + 400_000


def test_equal_data_give_equal_bytes(tmp_path):
    dataset = make_dataset(["a/one.mp4", "b/two.mp4"], 3)
    before = write_report(tmp_path, dataset).read_bytes()
    assert write_report(tmp_path, dataset).read_bytes() == before


def test_unmeasured_and_empty_data_sets_have_a_page(tmp_path):
    dataset = make_dataset(["a/one.mp4"], 2) | {"sync": None}
    dataset["clips"] = [clip | {"sync": None, "quality": None} for clip in dataset["clips"]]
    assert "Not checked" in Page(write_report(tmp_path, dataset)).text
    empty = make_dataset([], 0)
    assert (
        "There is nothing to train on" in Page(write_report(tmp_path, empty | {"warnings": list_warnings(empty)})).text
    )
