"""Outcome of every second of an input."""

from pathlib import Path

import numpy as np
import pytest

from preprocess.curation.outcomes import InputRecords, Rejection, dropped_spans, input_outcome, kept_seconds
from preprocess.ingest import Source
from preprocess.video_chunks import VideoChunk
from wav2lip.execution.manifest import REJECTED, Record

SOURCE = Source(Path("v.mp4"), "v.mp4", "v/00000", 1, 1)


def clip(name, first, frames):
    return {"clip": name, "first": first, "frames": frames}


def make_video(clips, dropped=(), frames=250):
    records = {
        "faces": Record("faces", "v@0", "", data={"frames": frames}),
        "segments": Record("segments", "v@0", "", data={"plans": [], "dropped": list(dropped)}),
        "crops": Record("crops", "v@0", "", data={"clips": clips, "dropped": []}),
    }
    return InputRecords(SOURCE, Record("probe", "v/00000", "", data={"seconds": 10.2}), [(VideoChunk(SOURCE), records)])


def summarize(spans):
    return [(span["from"], span["to"], span["stage"], span["cause"]) for span in spans]


def test_kept_and_dropped_spans_cover_input():
    video = make_video(
        [clip("a", 0, 100), clip("b", 100, 100)], [[200, 225, "segments", "too short"], [225, 250, "faces", "no face"]]
    )
    rejections = {"b": Rejection("quality", "blurred", "its face is blurred")}
    assert summarize(dropped_spans(video, rejections)) == [
        (4.0, 8.0, "quality", "blurred"),
        (8.0, 9.0, "segments", "too short"),
        (9.0, 10.0, "faces", "no face"),
    ]
    assert kept_seconds(video, rejections) == 4.0


def test_kept_face_covers_rejected_face_at_same_time():
    video = make_video([clip("a", 0, 250), clip("a_1", 50, 100)])
    assert dropped_spans(video, {"a_1": Rejection("sync", "not the speaker", "a has the same audio")}) == []
    assert kept_seconds(video, {"a_1": Rejection("sync", "not the speaker", "")}) == 10.0


@pytest.mark.parametrize("order", [1, -1])
def test_dropped_span_names_rejection_of_speaker(order):
    clips = [clip("a", 0, 250), clip("a_1", 0, 250)][::order]
    rejections = {
        "a": Rejection("sync", "not the speaker", ""),
        "a_1": Rejection("splits", "gap before held-out clips", ""),
    }
    assert summarize(dropped_spans(make_video(clips), rejections)) == [
        (0.0, 10.0, "splits", "gap before held-out clips")
    ]


def test_outcome_of_empty_input_is_largest_cause():
    video = make_video([clip("a", 0, 200)], [[200, 250, "faces", "no face"]])
    rejections = {"a": Rejection("sync", "no sync found", "its audio matches at no offset")}
    assert input_outcome(video, dropped_spans(video, rejections), 0.0) == (
        REJECTED,
        "no sync found",
        "its audio matches at no offset",
    )


def test_unreadable_input_is_dropped_for_stated_length():
    record = Record("probe", "v/00000", "", REJECTED, "no audio track", "has none", {"seconds": 4.0})
    video = InputRecords(SOURCE, record, [])
    assert summarize(dropped_spans(video, {})) == [(0.0, 4.0, "probe", "no audio track")]
    assert input_outcome(video, dropped_spans(video, {}), 0.0)[1] == "no audio track"


def test_random_clips_and_gaps_add_up():
    rng = np.random.default_rng(0)
    for _ in range(300):
        clips = [clip(str(n), int(rng.integers(0, 200)), int(rng.integers(1, 50))) for n in range(8)]
        rejections = {c["clip"]: Rejection("quality", "blurred", "") for c in clips if rng.integers(2)}
        covered = np.zeros(250, bool)
        accepted = np.zeros(250, bool)
        for c in clips:
            covered[c["first"] : c["first"] + c["frames"]] = True
            accepted[c["first"] : c["first"] + c["frames"]] |= c["clip"] not in rejections
        gaps = [[n, n + 1, "faces", "no face"] for n in np.flatnonzero(~covered).tolist()]
        spans = dropped_spans(make_video(clips, gaps), rejections)
        dropped = np.zeros(250, int)
        for span in spans:
            dropped[round(span["from"] * 25) : round(span["to"] * 25)] += 1
        assert (dropped == ~accepted).all()
        assert kept_seconds(make_video(clips), rejections) == accepted.sum() / 25
