"""Every second of an input is kept once or lost once, to what tells most."""

from pathlib import Path

import numpy as np
import pytest

from preprocess.fates import History, Verdict, fate_of, lost_spans, seconds_kept
from preprocess.ingest import Source
from preprocess.manifest import REJECTED, Record
from preprocess.parts import Part

SOURCE = Source(Path("v.mp4"), "v.mp4", "v/00000", 1, 1)


def clip(name, first, frames):
    return {"clip": name, "first": first, "frames": frames}


def history(clips, lost=(), frames=250):
    found = {
        "faces": Record("faces", "v@0", "", figures={"frames": frames}),
        "segments": Record("segments", "v@0", "", figures={"plans": [], "lost": list(lost)}),
        "crops": Record("crops", "v@0", "", figures={"clips": clips, "lost": []}),
    }
    return History(SOURCE, Record("probe", "v/00000", "", figures={"seconds": 10.2}), [(Part(SOURCE), found)])


def told(spans):
    return [(span["from"], span["to"], span["stage"], span["cause"]) for span in spans]


def test_what_the_stages_left_out_and_what_was_judged_away_add_up_to_the_whole():
    of = history(
        [clip("a", 0, 100), clip("b", 100, 100)], [[200, 225, "segments", "too short"], [225, 250, "faces", "no face"]]
    )
    verdicts = {"b": Verdict("quality", "blurred", "its face is blurred")}
    assert told(lost_spans(of, verdicts)) == [
        (4.0, 8.0, "quality", "blurred"),
        (8.0, 9.0, "segments", "too short"),
        (9.0, 10.0, "faces", "no face"),
    ]
    assert seconds_kept(of, verdicts) == 4.0


def test_seconds_of_another_face_are_not_lost_where_one_is_kept():
    of = history([clip("a", 0, 250), clip("a_1", 50, 100)])
    assert lost_spans(of, {"a_1": Verdict("sync", "not the speaker", "a has the same sound")}) == []
    assert seconds_kept(of, {"a_1": Verdict("sync", "not the speaker", "")}) == 10.0


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_faces_that_are_both_out_the_fate_of_the_speaker_is_told(order):
    clips = [clip("a", 0, 250), clip("a_1", 0, 250)][::order]
    verdicts = {"a": Verdict("sync", "not the speaker", ""), "a_1": Verdict("splits", "gap before held-out clips", "")}
    assert told(lost_spans(history(clips), verdicts)) == [(0.0, 10.0, "splits", "gap before held-out clips")]


def test_an_input_that_nothing_is_left_of_has_the_cause_of_most_of_it():
    of = history([clip("a", 0, 200)], [[200, 250, "faces", "no face"]])
    verdicts = {"a": Verdict("sync", "no sync found", "its sound agrees at no shift")}
    assert fate_of(of, lost_spans(of, verdicts), 0.0) == (REJECTED, "no sync found", "its sound agrees at no shift")


def test_an_input_that_cannot_be_read_is_lost_as_long_as_its_file_says():
    probed = Record("probe", "v/00000", "", REJECTED, "no audio track", "has none", {"seconds": 4.0})
    of = History(SOURCE, probed, [])
    assert told(lost_spans(of, {})) == [(0.0, 4.0, "probe", "no audio track")]
    assert fate_of(of, lost_spans(of, {}), 0.0)[1] == "no audio track"


def test_random_clips_and_gaps_add_up():
    rng = np.random.default_rng(0)
    for _ in range(300):
        clips = [clip(str(n), int(rng.integers(0, 200)), int(rng.integers(1, 50))) for n in range(8)]
        out = {c["clip"]: Verdict("quality", "blurred", "") for c in clips if rng.integers(2)}
        covered = np.zeros(250, bool)
        kept = np.zeros(250, bool)
        for c in clips:
            covered[c["first"] : c["first"] + c["frames"]] = True
            kept[c["first"] : c["first"] + c["frames"]] |= c["clip"] not in out
        rest = [[n, n + 1, "faces", "no face"] for n in np.flatnonzero(~covered).tolist()]
        spans = lost_spans(history(clips, rest), out)
        lost = np.zeros(250, int)
        for span in spans:
            lost[round(span["from"] * 25) : round(span["to"] * 25)] += 1
        assert (lost == ~kept).all()
        assert seconds_kept(history(clips), out) == kept.sum() / 25
