"""The doctor command."""

import json
import wave

import cv2
import numpy as np
import pytest

import preprocess.__main__
import preprocess.doctor
from preprocess.curation.clip_inputs import locate_clips
from preprocess.curation.outcomes import InputRecords
from preprocess.doctor import describe_fitness, find_faults, sample_clips, sample_videos
from preprocess.ingest import Source, find_videos
from preprocess.sync.apply_offset import apply_offset
from tests.helpers.commands import run_main
from tests.helpers.preprocess import astronaut_video, noise, write_video
from wav2lip.execution.manifest import Record
from wav2lip.synthetic import write_videos


def run_doctor(*arguments):
    return run_main(preprocess.doctor.main, *arguments)


def make_summary(kept=90.0, agreement=True, clips=9, expert="bootstrap"):
    conclusion = "no agreement found: the audio belongs to other videos"
    sync = {"agreement_found": agreement, "conclusion": conclusion, "expert": expert}
    dark = {"clip": "a/0", "status": "rejected", "cause": "dark", "reason": "its face is dark"}
    dropped = [{"stage": "quality", "cause": "dark", "seconds": 100.0 - kept, "inputs": 1}]
    totals = {"clips_kept": clips, "seconds_in": 100.0, "seconds_kept": kept}
    return {"totals": totals, "sync": sync, "dropped": dropped, "clips": [dark], "inputs": []}


def test_find_faults_is_empty_for_good_data():
    assert find_faults(make_summary()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agreement": False}, "no agreement found"),
        ({"agreement": None}, "whether lips and audio agree; pass --expert FILE, or add data"),
        ({"agreement": None, "expert": "syncnet.pth"}, "whether lips and audio agree; add longer videos"),
        ({"kept": 30.0}, "only 30% of the data can be used, most of the rest is dropped by: dark"),
        ({"clips": 0, "kept": 0.0}, "no clip can be used: dark (1 of 1), for example a/0: its face is dark"),
    ],
)
def test_find_faults_names_each_fault(changes, message):
    (fault,) = find_faults(make_summary(**changes))
    assert message in fault


def test_probable_agreement_is_no_fault():
    summary = make_summary(agreement=None)
    summary["sync"]["agreement_probable"] = True
    assert find_faults(summary) == []


@pytest.mark.parametrize(("minutes", "verdict"), [
    (1.3, "FIT for a trial, or to fine-tune a checkpoint (1 min 18 s); too little to train from scratch."),
    (60, "FIT to fine-tune a checkpoint (1 h); training from scratch needs 5 hours or more."),
    (300, "FIT to train on."),
])  # fmt: skip
def test_verdict_agrees_with_the_amount(minutes, verdict):
    assert describe_fitness(60.0 * minutes) == verdict


@pytest.mark.parametrize("given", [".", "group", "group/3", ".."])
def test_clips_are_found_from_any_level(foreign, given, caplog):
    caplog.set_level("INFO")
    root, clips = locate_clips(foreign / given)
    assert root.resolve() == foreign.resolve()
    assert clips == (["group/3"] if given == "group/3" else [f"group/{n}" for n in range(6)])
    assert (str(root) in caplog.text) == (given != ".")


def test_foreign_clips_are_examined_and_not_changed(tmp_path):
    astronaut_video(tmp_path / "videos" / "a.mkv", seconds=3)
    completed = run_main(
        preprocess.__main__.main, f"videos={tmp_path}/videos", f"out={tmp_path}/dataset", "detector=haar", "workers=0",
        "stages=[probe,shots,faces,segments,crops]",
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr
    clip = tmp_path / "dataset" / "a" / "000000"
    foreign = tmp_path / "foreign" / "group" / "take"
    foreign.mkdir(parents=True)
    for file in [*clip.glob("*.jpg"), clip / "audio.wav"]:
        (foreign / file.name).write_bytes(file.read_bytes())
    (tmp_path / "foreign" / "group" / "broken").mkdir()
    (tmp_path / "foreign" / "group" / "broken" / "audio.wav").write_bytes(b"not audio")
    before = {path: path.read_bytes() for path in (tmp_path / "foreign").rglob("*") if path.is_file()}
    process = run_doctor(tmp_path / "foreign", "--out", tmp_path / "out", "--workers", "0")
    assert process.returncode == 1, process.stderr  # one clip is too little to measure sync
    assert "2 inputs: 1 used, 1 rejected" in process.stdout
    assert "NOT YET: too little data" in process.stdout
    assert "group/take" in (tmp_path / "out" / "report.html").read_text()
    after = {path: path.read_bytes() for path in (tmp_path / "foreign").rglob("*") if path.is_file()}
    assert after == before


@pytest.fixture
def foreign(tmp_path):
    """Six clips of another tool, without clip.json."""
    for number in range(6):
        clip = tmp_path / "foreign" / "group" / f"{number}"
        clip.mkdir(parents=True)
        for frame in range(75):
            cv2.imwrite(str(clip / f"{frame}.jpg"), np.full((96, 96, 3), 10 * number + frame, np.uint8))
        with wave.open(str(clip / "audio.wav"), "wb") as wav:
            wav.setparams((1, 2, 16_000, 0, "NONE", ""))
            wav.writeframes(np.random.default_rng(number).integers(-9000, 9000, 48_000).astype("<i2").tobytes())
    return tmp_path / "foreign"


def test_corrected_foreign_clips_have_report(foreign, tmp_path):
    apply_offset(foreign, "group/0", 3, {"sync_offset": 3})  # its clip.json has neither source nor frames
    process = run_doctor(foreign, "--out", tmp_path / "out", "--workers", "0")
    assert process.returncode == 1, process.stderr
    dataset = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert [clip["frames"] for clip in dataset["clips"]] == [72, 75, 75, 75, 75, 75]


def test_doctor_does_not_recover_backups_of_killed_run(foreign, tmp_path):
    backup = foreign / ".stages/sync/backup/group"
    backup.mkdir(parents=True)
    (foreign / "group/0").rename(backup / "0")
    run_doctor(foreign, "--out", tmp_path / "out", "--workers", "0")
    assert (backup / "0" / "audio.wav").exists() and not (foreign / "group/0").exists()


def test_sample_clips_has_the_minutes(tmp_path):
    inputs = [InputRecords(Source(tmp_path, c, c, 0, 0), Record("probe", c, "", data={"seconds": 6.0}), [])
                 for c in (f"g/{n:03}" for n in range(100))]  # fmt: skip
    sample = sample_clips(inputs, minutes=1)
    assert [video.source.clip for video in (sample[0], sample[-1])] == ["g/000", "g/099"]
    assert len(sample) == 10
    assert sample_clips(inputs, minutes=30) == inputs
    assert len(sample_clips(inputs, minutes=0.01)) == 6  # the minimum


def test_negative_minutes_exit_2(tmp_path):
    process = run_doctor(tmp_path, "--minutes", "-5")
    assert process.returncode == 2 and "--minutes -5: must be above 0" in process.stderr


def test_empty_folder_exits_2(tmp_path):
    (tmp_path / "empty").mkdir()
    process = run_doctor(tmp_path / "empty", "--out", tmp_path / "out")
    assert process.returncode == 2
    assert "contains no video" in process.stderr
    assert "Traceback" not in process.stderr
    assert run_doctor(tmp_path / "none").returncode == 2


def test_sample_videos_has_the_minutes(tmp_path):
    for n in range(12):
        write_video(tmp_path / f"{n:02d}.mkv", wav=noise())
    (tmp_path / "bad.mkv").write_bytes(b"no video")
    sources = find_videos(tmp_path)
    sample = sample_videos(sources, minutes=4 / 60)
    assert 4 <= len(sample) <= 5  # one second each, and the corrupt one if it is sampled
    assert sample_videos(sources, minutes=4 / 60) == sample
    assert sample_videos(sources, minutes=60) == sources


@pytest.mark.slow
def test_synthetic_heads_are_fit_until_audio_is_swapped(tmp_path):
    videos = write_videos(tmp_path / "good", count=16, seconds=5)
    good_run = run_doctor(tmp_path / "good", "--out", tmp_path / "one", "--detector", "haar")
    assert good_run.returncode == 0, good_run.stdout + good_run.stderr
    assert "FIT for a trial" in good_run.stdout
    swapped = tmp_path / "swapped"
    for video, other in zip(videos, [*videos[5:], *videos[:5]], strict=True):
        swap_audio(video, other, swapped / video.relative_to(tmp_path / "good"))
    bad_run = run_doctor(swapped, "--out", tmp_path / "two", "--detector", "haar")
    assert bad_run.returncode == 1, bad_run.stdout + bad_run.stderr
    assert "no agreement found" in bad_run.stdout


def swap_audio(video, other, outfile):
    """Write the frames of one video with the audio of another."""
    from wav2lip.media import VideoWriter, read_frames

    outfile.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(outfile, 25, other) as writer:
        for frame in read_frames(video, 25):
            writer.write(frame)
