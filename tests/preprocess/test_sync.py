"""Sync on disk: corrected once, whole or not at all; verdicts; and the whole stage on made-up talking heads."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import SyncNet
from preprocess.bootstrap import deal, spread_evenly
from preprocess.clip_stages import ClipSettings, judge_clips
from preprocess.manifest import OK, REJECTED, Manifest, Record
from preprocess.places import Place, with_recordings
from preprocess.resync import recover, resync, state_of
from preprocess.runner import Runner
from preprocess.sync import find_clips, look_up, measure_sync, trim_filelists
from preprocess.sync_verdicts import SyncSettings, judge, keep_speakers, summary_of
from preprocess.workers import Crew
from wav2lip.audio import load_wav, melspectrogram
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.clips import Clip, ClipWriter, read_info
from wav2lip.errors import InputError
from wav2lip.sample import Speaker, render, speak

FRAMES = 50
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def root(tmp_path):
    """One clip whose every frame and sample is told apart."""
    with ClipWriter(tmp_path, "a/0") as clip:
        for frame in range(FRAMES):
            clip.write_frame(frame, np.full((8, 8, 3), frame, np.uint8))
        clip.write_audio([np.arange(FRAMES * 640, dtype=np.float32) / 32768])
        clip.write_info({"source": "a.mp4", "frames": FRAMES, "frames_with_face": FRAMES})
    return tmp_path


def samples(root):
    return np.rint(load_wav(root / "a/0/audio.wav") * 32768).astype(int)


def frames(root):
    return Clip.open(root / "a/0").frames.tolist()


def content(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_sound_that_is_late_loses_its_beginning_and_the_last_frames_go(root):
    resync(root, "a/0", 3, {"sync_offset": 3})
    assert samples(root).tolist() == list(range(3 * 640, FRAMES * 640))
    assert frames(root) == list(range(FRAMES - 3))


def test_sound_that_is_early_is_put_after_silence_and_the_first_frames_go(root):
    resync(root, "a/0", -4, {})
    assert samples(root).tolist() == [0] * (4 * 640) + list(range((FRAMES - 4) * 640))
    assert frames(root) == list(range(4, FRAMES))  # with their numbers


def test_mel_and_clip_json_change_with_the_sound(root):
    Clip.open(root / "a/0").mel()
    resync(root, "a/0", 3, {"sync_offset": 3, "sync_confidence": 9.5})
    mel = np.load(root / "a/0/mel.npy")
    assert mel == pytest.approx(melspectrogram(load_wav(root / "a/0/audio.wav")), abs=1e-4)
    assert (root / "a/0/mel.npy").stat().st_mtime_ns == (root / "a/0/audio.wav").stat().st_mtime_ns
    info = read_info(root / "a/0")
    assert {"source": "a.mp4", "frames_with_face": 47, "sync_offset": 3, "sync_applied": 3}.items() <= info.items()


def test_a_second_time_nothing_is_done(root):
    resync(root, "a/0", 3, {"sync_offset": 3})
    before = content(root)
    resync(root, "a/0", 3, {"sync_offset": 3})
    assert content(root) == before


def test_a_clip_without_clip_json_is_corrected_once_too(root):
    (root / "a/0/clip.json").unlink()
    for _ in range(2):
        resync(root, "a/0", 2, {"sync_offset": 2})
    assert frames(root) == list(range(FRAMES - 2))
    assert read_info(root / "a/0")["sync_applied"] == 2


def test_a_clip_that_is_in_sync_is_only_noted_in_a_clip_json_that_is_there(root):
    before = content(root)
    resync(root, "a/0", 0, {"sync_offset": 0})
    assert {name for name, data in content(root).items() if before[name] != data} == {"a/0/clip.json"}
    (root / "a/0/clip.json").unlink()
    resync(root, "a/0", 0, {"sync_offset": 0})
    assert not (root / "a/0/clip.json").exists()


def test_a_clip_is_the_same_before_and_after_its_correction_and_another_one_once_it_is_made_anew(root):
    before = state_of(root, "a/0")
    resync(root, "a/0", 3, {})
    assert state_of(root, "a/0") == replace(before, applied=3)
    with ClipWriter(root, "a/0") as clip:
        for frame in range(FRAMES):
            clip.write_frame(frame, np.full((9, 9, 3), frame, np.uint8))
        clip.write_audio([np.zeros(FRAMES * 640, np.float32)])
    assert state_of(root, "a/0").applied == 0
    assert state_of(root, "a/0").origin != before.origin


class Killed(BaseException):
    """What cannot be caught by accident."""


DEATHS = [  # the call that never comes back, and how many of its kind came back before
    (os, "link", 0), (os, "link", 20), (os, "fsync", 0), (os, "fsync", 1), (os, "replace", 0), (os, "replace", 1),
    (shutil, "rmtree", 0), (shutil, "rmtree", 1), (shutil, "rmtree", 2),
]  # fmt: skip


@pytest.mark.parametrize(("module", "name", "count"), DEATHS, ids=lambda v: getattr(v, "__name__", str(v)))
def test_killed_at_any_moment_and_run_again_a_clip_is_as_if_never_killed(
    root, tmp_path, monkeypatch, module, name, count
):
    untouched = tmp_path.with_name(tmp_path.name + "_other")
    shutil.copytree(root, untouched)
    resync(untouched, "a/0", 3, {"sync_offset": 3})
    calls, real = [0], getattr(module, name)

    def dying(*args, **options):
        calls[0] += 1
        if calls[0] > count:
            raise Killed
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, dying)
        with pytest.raises(Killed):
            resync(root, "a/0", 3, {"sync_offset": 3})
    recover(root)
    resync(root, "a/0", 3, {"sync_offset": 3})
    shutil.rmtree(root / ".partial")
    shutil.rmtree(untouched / ".partial")
    assert content(root) == content(untouched)


# Verdicts


def measured(clip="a/0", offset=0, confidence=9.0, at_edge=False):
    figures = {"applied": 0, "offset": offset, "peak": float(offset), "confidence": confidence, "at_edge": at_edge}
    return Record("sync", clip, "x", OK, figures=figures)


def test_a_sure_offset_is_applied():
    record = judge(measured(offset=4), SyncSettings(), True)
    assert (record.fate, record.figures["sure"], record.figures["applied"]) == (OK, True, 4)


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        (measured(confidence=1.2), "no sync found"),
        (measured(offset=-15, at_edge=True), "out of sync by too much"),
        (Record("sync", "a/0", "x", OK, figures={"applied": 0}), "too short to judge sync"),
    ],
)
def test_what_is_not_sure_is_set_aside_with_its_reason(record, cause):
    verdict = judge(record, SyncSettings(), True)
    assert (verdict.fate, verdict.cause, verdict.figures["sure"]) == (REJECTED, cause, False)
    assert verdict.figures["applied"] == 0


def test_a_set_without_agreement_keeps_no_clip_and_says_so():
    records = [measured(f"a/{n}", confidence=9.0 if n == 0 else 1.0) for n in range(30)]
    summary = summary_of(records, SyncSettings(), [])
    assert summary["agreement_found"] is False
    assert summary["verdict"].startswith("no agreement found: in 1 of 30 clips")
    assert judge(records[0], SyncSettings(), False).cause == "no agreement in the data set"


def test_a_set_that_cannot_be_judged_keeps_every_clip():
    records = [Record("sync", "a/0", "x", OK, figures={"applied": 0})]
    summary = summary_of(records, SyncSettings(), [])
    assert summary["agreement_found"] is None
    assert judge(records[0], SyncSettings(), None).fate == OK


def test_an_expert_that_cannot_read_the_faces_is_said_to(tmp_path):
    (tmp_path / "other.pth").touch()
    summary = summary_of([measured(confidence=0.5)] * 9, SyncSettings(expert=str(tmp_path / "other.pth")), [])
    assert summary["verdict"].startswith("no agreement found with this expert")


def test_a_shift_that_many_clips_share_is_a_warning_in_plain_words():
    records = [measured(f"a/{n}", offset=2 if n < 4 else 0) for n in range(10)]
    assert summary_of(records, SyncSettings(), [])["warnings"] == ["40% of your clips are 2 frames late: corrected"]


def test_of_two_faces_with_one_sound_the_surer_one_speaks():
    records = {clip: judge(measured(clip, confidence=c), SyncSettings(), True) for clip, c in
               (("v/0", 6.0), ("v/1", 9.0), ("v/2", 1.0), ("v/3", 1.0))}  # fmt: skip
    places = {clip: Place(clip, "v.mp4", 500 * (clip == "v/3"), 100) for clip in records}
    kept = keep_speakers(records, places, {}, True)
    assert [kept[clip].cause for clip in sorted(kept)] == ["not the speaker", "", "not the speaker", "no sync found"]


def test_where_nobody_could_judge_the_largest_of_several_faces_with_one_sound_stays():
    records = {clip: judge(measured(clip), SyncSettings(), None) for clip in ("v/left", "v/right", "v/later")}
    places = {clip: Place(clip, "v.mp4", 500 * (clip == "v/later"), 100) for clip in records}
    kept = keep_speakers(records, places, {"v/left": 80.0, "v/right": 120.0, "v/later": 60.0}, None)
    assert {clip: record.cause for clip, record in kept.items()} == {
        "v/left": "speaker unknown", "v/right": "", "v/later": ""}  # fmt: skip
    assert kept["v/left"].reason.startswith("v/right has the same sound and a larger face")


def test_a_clip_across_two_speakers_yields_to_the_surer_one():
    confidence = {"v/0": 6.0, "v/1": 9.0, "v/2": 5.0}
    records = {clip: judge(measured(clip, confidence=c), SyncSettings(), True) for clip, c in confidence.items()}
    places = {"v/0": Place("v/0", "v.mp4", 0, 100), "v/1": Place("v/1", "v.mp4", 120, 100),
              "v/2": Place("v/2", "v.mp4", 90, 40)}  # fmt: skip
    kept = keep_speakers(records, places, {}, True)
    assert {clip: record.fate for clip, record in kept.items()} == {"v/0": OK, "v/1": OK, "v/2": REJECTED}
    assert kept["v/2"].reason.startswith("v/1 has the same sound")


# Folds


def test_all_clips_of_a_source_are_in_one_fold():
    places = [Place(f"{s}/{n}", f"{s}.mp4", 100 * n, 100) for s in "abcdefgh" for n in range(3)]
    folds = deal(places, 3)
    assert all(len({folds[p.clip] for p in places if p.source == s}) == 1 for s in {p.source for p in places})
    assert set(folds.values()) == {0, 1, 2}


def test_a_single_source_is_cut_by_time():
    folds = deal([Place(f"a/{n:02d}", "a.mp4", 100 * n, 100) for n in range(9)], 3)
    assert [folds[clip] for clip in sorted(folds)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_copies_are_in_one_fold_whatever_they_are_called():
    places = [Place(f"{s}/{n}", f"{s}.mp4", 100 * n, 100) for s in "abcdefgh" for n in range(3)]
    copied = [replace(p, clip=f"z{p.clip}", source=f"z{p.source}", first=p.first + 50) for p in places]
    named = with_recordings([*places, *copied], [[p.clip, f"z{p.clip}"] for p in places])
    folds = deal(named, 3)
    assert all(folds[place.clip] == folds[f"z{place.clip}"] for place in places)
    assert set(folds.values()) == {0, 1, 2}


def test_copies_of_a_single_source_are_cut_by_time_together():
    places = [Place(f"{s}/{n:02d}", f"{s}.mp4", 100 * n + 30 * (s == "b"), 100) for s in "ab" for n in range(9)]
    folds = deal(with_recordings(places, [[f"a/{n:02d}", f"b/{n:02d}"] for n in range(9)]), 3)
    assert [folds[f"a/{n:02d}"] for n in range(9)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [folds[f"b/{n:02d}"] for n in range(9)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_sample_is_taken_from_all_over_the_set():
    places = [Place(f"a/{n:02d}", "a.mp4", 100 * n, 100) for n in range(9)]
    assert [place.first for place in spread_evenly(places, 3)] == [0, 400, 800]


def test_clips_with_the_same_seconds_share_their_sound():
    face = Place("a/0", "a.mp4", 0, 100)
    assert face.shares_sound_with(Place("a/1", "a.mp4", 99, 50))
    assert not face.shares_sound_with(Place("a/2", "a.mp4", 100, 50))
    assert not face.shares_sound_with(Place("b/0", "b.mp4", 0, 100))


def test_copies_share_their_sound_under_any_name():
    one, copy, other = with_recordings([Place(f"{s}/0", s, 0, 100) for s in "abc"], [["a/0", "b/0"]])
    assert one.shares_sound_with(copy)
    assert not one.shares_sound_with(other) and not other.shares_sound_with(replace(other, clip="d/0", source="d"))


# The stage

LATE = {"s1/0": 6, "s3/0": -5, "s4/0": 9}  # frames
SWAPPED = ("s2/1", "s5/0")


@pytest.fixture(scope="session")
def talkers(tmp_path_factory) -> Path:
    """Twelve clips of six speakers, all in sync."""
    root = tmp_path_factory.mktemp("talkers")
    for who in range(6):
        speaker = Speaker.from_seed(who)
        for take in range(2):
            speech = speak(4.0, speaker, 10 * who + take)
            with ClipWriter(root, f"s{who}/{take}") as clip:
                for number, frame in enumerate(render(speech, speaker, 10 * who + take)):
                    clip.write_frame(number, frame[47:221, 62:188])
                clip.write_audio([speech.wav[:64_000].astype(np.float32)])
    return root


def give_sound(root, clip, wav):
    folder = root / clip
    with ClipWriter(root, "x/x") as writer:
        writer.write_audio([wav])
    os.replace(root / "x/x/audio.wav", folder / "audio.wav")
    (folder / "mel.npy").unlink(missing_ok=True)
    shutil.rmtree(root / "x")


def later(wav, shift):
    moved = np.roll(wav, shift * 640)
    moved[: shift * 640] = 0 if shift > 0 else moved[: shift * 640]
    return moved


@pytest.fixture
def broken(talkers, tmp_path):
    """The same, three of them shifted and two with each other's sound."""
    root = tmp_path / "broken"
    shutil.copytree(talkers, root)
    for clip, shift in LATE.items():
        give_sound(root, clip, later(load_wav(talkers / clip / "audio.wav"), shift))
    for clip, other in zip(SWAPPED, SWAPPED[::-1], strict=True):
        give_sound(root, clip, load_wav(talkers / other / "audio.wav"))
    return root


def run(root, copies=(), may_work=True, overwrite=False, **options):
    with Manifest(root) as manifest, Crew(0) as crew:
        units, broken = look_up(root, find_clips(root), crew)
        assert not broken
        settings = SyncSettings(**options)
        return measure_sync(
            root, units, manifest, crew, settings, copies=copies, may_work=may_work, overwrite=overwrite
        )


def test_shifted_clips_are_corrected_and_swapped_ones_set_aside(talkers, broken):
    records, summary = run(broken)
    assert {clip for clip, record in records.items() if record.fate == REJECTED} == set(SWAPPED)
    assert {c: r.figures["offset"] for c, r in records.items() if r.figures["offset"] and r.fate == OK} == LATE
    assert (summary["agreement_found"], summary["corrected"], summary["unsure"]) == (True, 3, 2)
    assert load_wav(broken / "s1/0/audio.wav")[:50_000] == pytest.approx(load_wav(talkers / "s1/0/audio.wav")[:50_000])

    state = content(broken)
    again, told = run(broken)
    assert (again, told) == (records, summary)
    assert content(broken) == state


def test_a_run_killed_while_it_measured_goes_on_to_the_same_verdicts(broken, tmp_path):
    shutil.copytree(broken, tmp_path / "other")
    run(broken, correct=False)
    kept = broken / ".stages/sync.jsonl"
    kept.write_bytes(kept.read_bytes()[:5000])  # some records, the last one torn
    assert run(broken)[0] == run(tmp_path / "other")[0]
    assert (broken / "s1/0/audio.wav").read_bytes() == (tmp_path / "other/s1/0/audio.wav").read_bytes()


def test_a_data_set_with_the_sound_of_other_pictures_is_told_from_a_clean_one(talkers, tmp_path):
    shutil.copytree(talkers, tmp_path / "all")
    all_swapped(talkers, tmp_path / "all")
    records, summary = run(tmp_path / "all")
    assert summary["verdict"].startswith("no agreement found")
    assert all(record.fate == REJECTED for record in records.values())


def all_swapped(talkers, root):
    clips = find_clips(talkers)
    for number, clip in enumerate(clips):
        give_sound(root, clip, load_wav(talkers / clips[(number + 5) % len(clips)] / "audio.wav"))


def test_copies_under_other_names_make_no_agreement_out_of_none(talkers, tmp_path):
    root = tmp_path / "all"
    shutil.copytree(talkers, root)
    all_swapped(talkers, root)
    clips = find_clips(root)
    for number, clip in enumerate(clips):
        for turn, copy in enumerate("xy", start=1):  # in another order, which by itself puts them into other folds
            shutil.copytree(root / clip, root / copy / f"{(number + turn) % len(clips):02}")
    command = ["-m", "preprocess.sync", f"data_root='{root}'", "workers=0", "correct=false"]
    told = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "no agreement found" in told


def test_what_sync_may_not_find_out_is_asked_for_and_no_sound_is_moved(broken):
    with pytest.raises(InputError, match=r"12 clips lack what the stage sync finds out.*add sync to stages="):
        run(broken, may_work=False)
    run(broken, correct=False)
    before = content(broken)
    records, summary = run(broken, may_work=False)
    assert content(broken) == before
    assert (records["s1/0"].figures["offset"], records["s1/0"].figures["applied"], summary["corrected"]) == (6, 0, 0)
    run(broken)
    records, summary = run(broken, may_work=False)
    assert (records["s1/0"].figures["applied"], summary["corrected"]) == (6, 3)


def judged(root, *stages):
    with Manifest(root) as manifest, Crew(0) as crew:
        return judge_clips(root, find_clips(root), ClipSettings(), Runner(manifest, crew, stages))


def test_quality_is_measured_once_though_sync_moves_the_sound_after_it(broken):
    first = judged(broken, "quality", "sync")
    assert read_info(broken / "s1/0")["sync_applied"] == 6
    assert judged(broken, "splits").qualities == first.qualities  # which may measure nothing


def test_a_run_without_the_stage_sync_moves_no_sound(broken):
    before = {clip: (broken / clip / "audio.wav").read_bytes() for clip in find_clips(broken)}
    with pytest.raises(InputError, match="add sync to stages="):
        judged(broken, "quality")
    assert {clip: (broken / clip / "audio.wav").read_bytes() for clip in before} == before


def test_asked_to_overwrite_sync_measures_anew_and_finds_the_same(broken):
    first, _ = run(broken)
    lines = (broken / ".stages/sync.jsonl").read_text().count("\n")
    second, _ = run(broken, overwrite=True)
    assert (broken / ".stages/sync.jsonl").read_text().count("\n") >= lines + 12
    assert {c: r.figures["applied"] for c, r in second.items()} == {c: r.figures["applied"] for c, r in first.items()}


def test_a_clip_that_a_killed_run_left_aside_is_judged_too(talkers, tmp_path):
    root = tmp_path / "killed"
    shutil.copytree(talkers, root)
    aside = root / ".stages/sync/aside/s1"
    aside.mkdir(parents=True)
    os.replace(root / "s1/0", aside / "0")
    command = ["-m", "preprocess.sync", f"data_root='{root}'", "workers=0"]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
    with Manifest(root) as manifest:
        assert set(manifest.records("sync")) == set(find_clips(talkers))


def test_a_folder_without_clips_is_said_to_be_one_and_left_as_it_is(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        command = ["-m", "preprocess.sync", f"data_root='{folder}'"]
        ran = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
        assert ran.returncode == 2 and "holds no clip" in ran.stderr
    assert not list(tmp_path.iterdir())


def test_an_expert_learned_from_a_part_judges_the_rest(talkers, tmp_path):
    shutil.copytree(talkers, tmp_path / "all")
    records, _ = run(tmp_path / "all", minutes=0.5)  # seven of the twelve clips
    assert all(record.fate == OK and record.figures["offset"] == 0 for record in records.values())


def test_measuring_alone_changes_no_clip(broken):
    before = {name: data for name, data in content(broken).items() if not name.endswith("mel.npy")}
    records, _ = run(broken, correct=False)
    after = {n: d for n, d in content(broken).items() if not n.endswith("mel.npy") and not n.startswith(".stages")}
    assert after == before
    assert records["s1/0"].figures["applied"] == 0


def test_what_is_set_aside_leaves_the_file_lists(tmp_path):
    lists = tmp_path / "filelists"
    lists.mkdir()
    (lists / "train.txt").write_text("a/0\na/1\n")
    trim_filelists(lists, {"a/0": replace(measured("a/0"), fate=REJECTED), "a/1": measured("a/1")})
    assert (lists / "train.txt").read_text() == "a/1\n"


def test_too_few_clips_are_kept_and_said_not_to_be_judged(talkers, tmp_path):
    shutil.copytree(talkers / "s0", tmp_path / "few/s0")
    records, summary = run(tmp_path / "few")
    assert [record.fate for record in records.values()] == [OK, OK]
    assert summary["agreement_found"] is None
    assert "not judged" in summary["verdict"]


def test_an_expert_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"gone.pth: no such expert"):
        SyncSettings(expert="gone.pth")


def test_an_untrained_expert_finds_no_agreement_and_says_whose_fault_that_may_be(talkers, tmp_path):
    shutil.copytree(talkers, tmp_path / "all")
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "untrained.pth", Checkpoint(SyncNet(width=0.0625).state_dict()))
    records, summary = run(tmp_path / "all", expert=str(tmp_path / "untrained.pth"))
    assert summary["expert"] == "untrained.pth"
    assert summary["verdict"].startswith("no agreement found with this expert")
    assert all(record.fate == REJECTED for record in records.values())
    assert (tmp_path / "all/s0/0/audio.wav").read_bytes() == (talkers / "s0/0/audio.wav").read_bytes()


def test_records_are_json(broken):
    run(broken)
    lines = (broken / ".stages/sync.jsonl").read_text().splitlines()
    assert len(lines) == 12
    assert len(json.loads(lines[0])["figures"]["curve"]) == 31
