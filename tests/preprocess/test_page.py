"""The report says what became of every second, and is one safe file of bounded size."""

import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocess.advice import duration, warnings
from preprocess.page import write_page

EVIL = 'talks/<script>alert("1")</script>&amp; \'x.mp4'


def clip_of(source: str, number: int, **changes) -> dict:
    quality = {"face_pixels": 150.0 + number % 9, "sharpness": 0.5, "exposure": 0.5, "head_turn": None,
               "filled_share": 0.01, "silent_share": 0.1, "clipped_share": 0.0, "frozen_share": 0.0}  # fmt: skip
    sync = {"offset": 2, "confidence": 6.0 + number % 5, "applied": 2, "sure": True, "curve": [0.1] * 17 + [0.9] * 14}
    name, start = f"{source[:-4]}_{number:06}", 5.0 * number
    clip = {"clip": name, "source": source, "start": start, "seconds": 5.0, "frames": 125, "split": "train",
            "fate": "ok", "stage": "", "cause": "", "reason": "", "sync": sync, "quality": quality}  # fmt: skip
    return clip | changes


def dataset_of(sources: list[str], clips_each: int) -> dict:
    """Every source gives clips that are kept but the last, which is unsure, and loses a second at the end."""
    aside = {"fate": "rejected", "stage": "sync", "cause": "unsure", "reason": "confidence 1.2, below 4", "split": None}
    clips, inputs = [], []
    for source in sources:
        own = [clip_of(source, number) for number in range(clips_each - 1)] + [clip_of(source, clips_each - 1, **aside)]
        own[-1]["sync"] = own[-1]["sync"] | {"sure": False, "applied": 0}
        seconds = 5.0 * clips_each + 1
        lost = {
            "from": seconds - 1,
            "to": seconds,
            "stage": "faces",
            "cause": "no face",
            "reason": "none",
            "figures": {},
        }
        inputs.append({"source": source, "fate": "ok", "cause": "", "reason": "", "problems": [], "seconds": seconds,
                       "kept_seconds": seconds - 6, "fps": 29.97, "width": 640, "height": 480,
                       "clips": [clip["clip"] for clip in own], "lost": [lost]})  # fmt: skip
        clips += own
    kept = [clip for clip in clips if clip["fate"] == "ok"]
    count = len(sources)
    dataset = {
        "version": 2, "tool": "wav2lip 0", "settings": {"seed": 0, "quality": {"sharpness": 0.42}},
        "totals": {"inputs": count, "inputs_used": count, "seconds_in": sum(i["seconds"] for i in inputs),
                   "seconds_kept": 5.0 * len(kept), "clips": len(clips), "clips_kept": len(kept)},
        "lost": [{"stage": "sync", "cause": "unsure", "seconds": 5.0 * count, "inputs": count},
                 {"stage": "faces", "cause": "no face", "seconds": 1.0 * count, "inputs": count}],
        "splits": {"train": {"clips": len(kept) - 1, "seconds": 5.0 * (len(kept) - 1)},
                   "val": {"clips": 1, "seconds": 5.0}, "test": {"clips": 0, "seconds": 0.0}},
        "sync": {"expert": "bootstrap", "verdict": "They agree.", "agreement_found": True, "sure": len(kept),
                 "corrected": len(kept), "unsure": count, "rounds": []},
        "warnings": [], "inputs": inputs, "clips": clips,
    }  # fmt: skip
    return dataset | {"warnings": warnings(dataset)}


class Page(HTMLParser):
    """What a browser would make of the file: tags with attributes, and texts by the tag they are in."""

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
        assert self.open.pop() == tag, f"{tag} is closed out of turn"

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
    dataset = dataset_of(["talks/one.mp4", EVIL, "talks/three.mp4"], 5)
    add_crops(tmp_path, "talks/one_000000", portrait)
    return Page(write_page(tmp_path, dataset))


def test_every_input_and_every_clip_set_aside_has_its_row_with_the_reason(small):
    rows = small.rows("inputs")
    assert len(rows) == 3
    assert "talks/one.mp4" in rows[0] and "20.0 s of 26.0 s kept" in rows[0] and "1.0 s no face" in rows[0]
    aside = small.rows("clips set aside")
    assert len(aside) == 3
    assert all("confidence 1.2, below 4" in row for row in aside)
    assert len(small.rows("The worst 6 that were kept")) == len(small.rows("The best 6")) == 6
    assert small.open == []


def test_a_span_of_the_time_bar_says_what_became_of_it(small):
    assert "25.0 to 26.0 s: no face. none" in small.text
    labels = small.values("svg", "aria-label")
    assert "20.0 s of 26.0 s kept; 5.0 s unsure; 1.0 s no face" in labels
    assert len(labels) == len(small.values("svg", "viewbox"))  # no plot without words


def test_names_are_text_and_never_markup(small):
    assert [tag for tag, _ in small.tags].count("script") == 1  # the page's own
    assert EVIL in small.rows("inputs")[1]


def test_the_page_needs_nothing_but_itself(small, tmp_path):
    assert not re.search(r"https?://|//[a-z]|@import|url\(", (tmp_path / "report.html").read_text(encoding="utf-8"))
    sources = small.values("img", "src")
    assert len(sources) >= 5
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert all(small.values("img", "alt"))
    assert not small.values("link", "href") and not small.values("script", "src")


def test_warnings_come_before_the_tables(tmp_path):
    dataset = dataset_of(["talks/one.mp4", "talks/two.mp4"], 4)
    page = Page(write_page(tmp_path, dataset))
    assert len(dataset["warnings"]) > 3
    for sentence in dataset["warnings"]:
        assert page.text.index(sentence) < page.text.index("Where the time went")


def test_twenty_thousand_clips_give_a_bounded_page(tmp_path, portrait):
    dataset = dataset_of([f"speaker{n % 50}/{n:05}.mp4" for n in range(4_000)], 5)
    add_crops(tmp_path, "crops", portrait)
    for clip in dataset["clips"]:
        (tmp_path / clip["clip"]).parent.mkdir(exist_ok=True)
        (tmp_path / clip["clip"]).symlink_to(tmp_path / "crops")
    path = write_page(tmp_path, dataset)
    page = Page(path)
    assert 2_000_000 < path.stat().st_size < 10_000_000  # with all the pictures there may be
    assert len(page.rows("inputs")) == 1_000
    assert "1,000 of 4,000 inputs" in page.text and "dataset.json has them all" in page.text
    assert len(page.rows("clips set aside")) == 500


def test_a_long_input_has_a_bounded_row(tmp_path):
    short = write_page(tmp_path, dataset_of(["a/one.mp4"], 20)).stat().st_size
    dataset = dataset_of(["a/one.mp4"], 5_000)
    dataset["inputs"][0]["lost"] = dataset["inputs"][0]["lost"] * 2_000
    assert write_page(tmp_path, dataset).stat().st_size < short + 400_000


def test_the_same_data_give_the_same_page(tmp_path):
    dataset = dataset_of(["a/one.mp4", "b/two.mp4"], 3)
    before = write_page(tmp_path, dataset).read_bytes()
    assert write_page(tmp_path, dataset).read_bytes() == before


def test_a_data_set_that_was_not_measured_and_one_that_is_empty_have_a_page_too(tmp_path):
    dataset = dataset_of(["a/one.mp4"], 2) | {"sync": None}
    dataset["clips"] = [clip | {"sync": None, "quality": None} for clip in dataset["clips"]]
    assert "Not checked" in Page(write_page(tmp_path, dataset)).text
    empty = dataset_of([], 0)
    assert "There is nothing to train on" in Page(write_page(tmp_path, empty | {"warnings": warnings(empty)})).text


def said(dataset: dict) -> str:
    return "\n".join(warnings(dataset))


def test_warnings_are_said_in_plain_words():
    dataset = dataset_of(["talks/one.mp4", "talks/two.mp4"], 4)
    assert "In 75% of your clips the sound is 2 frames late: corrected." in said(dataset)
    assert "Less than 10 minutes (30.0 s)" in said(dataset)
    assert '12.0 s of 42.0 s were lost, most (10.0 s) because of "unsure"' in said(dataset)
    assert "one speaker only" in said(dataset)
    assert "Validation rests on 5.0 s" in said(dataset)
    assert "unsure whether lips and sound agree" in said(dataset)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sync": None}, "Nobody has checked"),
        ({"splits": {"train": {"clips": 6}, "val": {"clips": 6}, "test": {"clips": 0}}}, "Nothing is held out"),
        (
            {"splits": {"train": {"clips": 6}, "val": {"clips": 0}, "test": {"clips": 0}}},
            "No clip is in the validation",
        ),
    ],
)
def test_what_is_missing_is_warned_of(change, sentence):
    assert sentence in said(dataset_of(["talks/one.mp4", "talks/two.mp4"], 4) | change)


def test_sound_of_other_pictures_is_the_gravest_warning():
    dataset = dataset_of(["talks/one.mp4", "talks/two.mp4"], 4)
    dataset["sync"] = dataset["sync"] | {"agreement_found": False, "verdict": "Best shifts scatter."}
    assert warnings(dataset)[0].startswith("No agreement between lips and sound was found. Best shifts scatter.")


def test_sync_that_could_not_be_judged_is_not_called_a_lack_of_agreement():
    dataset = dataset_of(["talks/one.mp4", "talks/two.mp4"], 4)
    verdict = "sync was not judged: there are too few clips"
    dataset["sync"] = dataset["sync"] | {"agreement_found": None, "verdict": verdict}
    assert warnings(dataset)[0].startswith(f"Nobody knows whether lips and sound agree: {verdict}.")
    assert "No agreement" not in said(dataset)


@pytest.mark.parametrize(
    ("seconds", "text"), [(9.04, "9.0 s"), (720, "12 minutes"), (7560, "2.1 hours"), (36_000, "10.0 hours")]
)
def test_times_are_said_in_the_unit_that_reads_best(seconds, text):
    assert duration(seconds) == text
