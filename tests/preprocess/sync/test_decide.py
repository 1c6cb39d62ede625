"""Decisions from measured offsets."""

import pytest

from preprocess.curation.clip_origin import ClipOrigin
from preprocess.sync.decide import SyncSettings, decide, select_speakers, summarize
from wav2lip.errors import InputError
from wav2lip.execution.manifest import OK, REJECTED, Record


def measured_record(clip="a/0", offset=0, confidence=9.0, at_edge=False):
    data = {"applied": 0, "offset": offset, "peak": float(offset), "confidence": confidence, "at_edge": at_edge}
    return Record("sync", clip, "x", OK, data=data)


def test_confident_offset_is_applied():
    record = decide(measured_record(offset=4), SyncSettings(), True)
    assert (record.status, record.data["confident"], record.data["applied"]) == (OK, True, 4)


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        (measured_record(confidence=1.2), "no sync found"),
        (measured_record(offset=-15, at_edge=True), "out of sync by too much"),
        (Record("sync", "a/0", "x", OK, data={"applied": 0}), "too short to measure sync"),
    ],
)
def test_uncertain_clip_is_rejected_with_cause(record, cause):
    decision = decide(record, SyncSettings(), True)
    assert (decision.status, decision.cause, decision.data["confident"]) == (REJECTED, cause, False)
    assert decision.data["applied"] == 0


def test_no_agreement_rejects_every_clip():
    # The offsets scatter, as those of audio of other videos do.
    records = [measured_record(f"a/{n}", 7 * n % 31 - 15, confidence=9.0 if n == 0 else 1.0) for n in range(30)]
    summary = summarize(records, SyncSettings(), [])
    assert summary["agreement_found"] is False
    assert summary["conclusion"].startswith("no agreement found")
    assert "1 of 30 clips" in summary["conclusion"]
    assert decide(records[0], SyncSettings(), False).cause == "no agreement in the data set"


def weak_records(offsets, confidence):
    return [measured_record(f"a/{n}", offset, confidence) for n, offset in enumerate(offsets)]


def test_probable_agreement_of_few_clips_keeps_them_uncorrected():
    records = weak_records([0, 0, 1, 0, -1, 0, 0, 9, 0, -12, 0, 1, 0, 0], confidence=2.4)
    summary = summarize(records, SyncSettings(), [])
    assert summary["agreement_found"] is None and summary["agreement_probable"]
    assert "confidences of 14 clips, from 2.4 to 2.4, are above chance" in summary["conclusion"]
    decisions = [decide(record, SyncSettings(), summary["agreement_found"]) for record in records]
    assert {(record.status, record.data["applied"]) for record in decisions} == {(OK, 0)}


@pytest.mark.parametrize("confidences", [
    [1.45, 1.92, -0.25, -0.31, -0.19, 0.58],  # measured with the audio of other videos
    [14.9, 0.3, 0.6, 0.1, 0.2, -0.4],  # one confident clip does not decide for the others
    [2.5, 2.5],  # too few
])  # fmt: skip
def test_chance_does_not_make_agreement_probable(confidences):
    records = [measured_record(f"a/{n}", 0, confidence) for n, confidence in enumerate(confidences)]
    summary = summarize(records, SyncSettings(), [])
    assert summary["agreement_found"] is False and not summary["agreement_probable"]


def test_real_videos_of_36_seconds_are_kept():
    offsets, confidences = (-1, 3, -13, 1, -15, 1), (3.32, 5.68, -0.35, 3.76, 0.38, -0.45)  # as measured
    records = [measured_record(f"a/{n}", *pair) for n, pair in enumerate(zip(offsets, confidences, strict=True))]
    assert summarize(records, SyncSettings(), [])["agreement_probable"]


def test_many_clips_are_judged_one_by_one():
    records = weak_records([0] * 60, confidence=2.4)
    assert summarize(records, SyncSettings(), [])["agreement_found"] is False


def test_unmeasurable_data_set_keeps_every_clip():
    records = [Record("sync", "a/0", "x", OK, data={"applied": 0})]
    summary = summarize(records, SyncSettings(), [])
    assert summary["agreement_found"] is None
    assert decide(records[0], SyncSettings(), None).status == OK


def test_conclusion_names_expert_without_agreement(tmp_path):
    (tmp_path / "other.pth").touch()
    summary = summarize([measured_record(confidence=0.5)] * 9, SyncSettings(expert=str(tmp_path / "other.pth")), [])
    assert summary["conclusion"].startswith("no agreement found with this expert")


def test_common_offset_is_a_warning():
    records = [measured_record(f"a/{n}", offset=2 if n < 4 else 0) for n in range(10)]
    (warning,) = summarize(records, SyncSettings(), [])["warnings"]
    assert all(text in warning for text in ("40%", "2 frames late", "corrected"))


def test_speaker_is_most_confident_face():
    records = {clip: decide(measured_record(clip, confidence=c), SyncSettings(), True) for clip, c in
               (("v/0", 6.0), ("v/1", 9.0), ("v/2", 1.0), ("v/3", 1.0))}  # fmt: skip
    origins = {clip: ClipOrigin(clip, "v.mp4", 500 * (clip == "v/3"), 100) for clip in records}
    selected = select_speakers(records, origins, {}, True)
    assert [selected[clip].cause for clip in sorted(selected)] == [
        "not the speaker",
        "",
        "not the speaker",
        "no sync found",
    ]


def test_unknown_speaker_is_largest_face():
    records = {clip: decide(measured_record(clip), SyncSettings(), None) for clip in ("v/left", "v/right", "v/later")}
    origins = {clip: ClipOrigin(clip, "v.mp4", 500 * (clip == "v/later"), 100) for clip in records}
    selected = select_speakers(records, origins, {"v/left": 80.0, "v/right": 120.0, "v/later": 60.0}, None)
    assert {clip: record.cause for clip, record in selected.items()} == {
        "v/left": "speaker unknown", "v/right": "", "v/later": ""}  # fmt: skip
    assert selected["v/left"].reason.startswith("v/right has the same audio")


def test_clip_across_two_speakers_is_rejected():
    confidence = {"v/0": 6.0, "v/1": 9.0, "v/2": 5.0}
    records = {
        clip: decide(measured_record(clip, confidence=c), SyncSettings(), True) for clip, c in confidence.items()
    }
    origins = {"v/0": ClipOrigin("v/0", "v.mp4", 0, 100), "v/1": ClipOrigin("v/1", "v.mp4", 120, 100),
              "v/2": ClipOrigin("v/2", "v.mp4", 90, 40)}  # fmt: skip
    selected = select_speakers(records, origins, {}, True)
    assert {clip: record.status for clip, record in selected.items()} == {"v/0": OK, "v/1": OK, "v/2": REJECTED}
    assert selected["v/2"].reason.startswith("v/1 has the same audio")


def test_missing_expert_is_error():
    with pytest.raises(InputError, match=r"gone.pth: no such expert"):
        SyncSettings(expert="gone.pth")
