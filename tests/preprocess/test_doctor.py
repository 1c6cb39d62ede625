"""The doctor says whether data is fit to train on, and leaves it as it is."""

import json
import subprocess
import sys
import wave
from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocess.doctor import sample_clips, spread_sample, verdict
from preprocess.fates import History
from preprocess.ingest import Source, find_videos
from preprocess.manifest import Record
from preprocess.resync import resync
from tests.preprocess.stubs import noise, write_video
from tests.preprocess.test_command import astronaut_video
from wav2lip.sample import write_sample

ROOT = Path(__file__).resolve().parents[2]


def doctor(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "preprocess.doctor", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )


def content(kept=90.0, agreement=True, clips=9):
    sync = {"agreement_found": agreement, "verdict": "no agreement found: the sound belongs to other pictures"}
    return {"totals": {"clips_kept": clips, "seconds_in": 100.0, "seconds_kept": kept}, "sync": sync}


def test_data_that_agrees_and_is_mostly_kept_is_fit():
    assert verdict(content()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"agreement": False}, "no agreement found"),
        ({"agreement": None}, "nobody knows whether lips and sound agree"),
        ({"kept": 30.0}, "only 30% of it can be used"),
        ({"clips": 0, "kept": 0.0}, "nothing of it can be used"),
    ],
)
def test_each_thing_that_forbids_training_is_said(changes, words):
    (fault,) = verdict(content(**changes))
    assert words in fault


def test_a_folder_of_clips_by_another_tool_is_judged_and_left_as_it_is(tmp_path):
    astronaut_video(tmp_path / "videos" / "a.mkv", seconds=3)
    made = subprocess.run(
        [sys.executable, "-m", "preprocess", f"videos={tmp_path}/videos", f"out={tmp_path}/made", "detector=haar",
         "workers=0", "stages=[probe,shots,faces,segments,crops]"], cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    clip = tmp_path / "made" / "a" / "000000"
    foreign = tmp_path / "foreign" / "group" / "take"
    foreign.mkdir(parents=True)
    for file in [*clip.glob("*.jpg"), clip / "audio.wav"]:
        (foreign / file.name).write_bytes(file.read_bytes())
    (tmp_path / "foreign" / "group" / "broken").mkdir()
    (tmp_path / "foreign" / "group" / "broken" / "audio.wav").write_bytes(b"no sound")
    before = {path: path.read_bytes() for path in (tmp_path / "foreign").rglob("*") if path.is_file()}
    ran = doctor(tmp_path / "foreign", "--out", tmp_path / "out", "--workers", "0")
    assert ran.returncode == 1, ran.stderr  # one clip tells nobody whether lips and sound agree
    assert "2 inputs: 1 used, 1 rejected" in ran.stdout
    assert "NOT YET: nobody knows whether lips and sound agree" in ran.stdout
    assert "group/take" in (tmp_path / "out" / "report.html").read_text()
    after = {path: path.read_bytes() for path in (tmp_path / "foreign").rglob("*") if path.is_file()}
    assert after == before | {foreign / "mel.npy": (foreign / "mel.npy").read_bytes()}


@pytest.fixture
def foreign(tmp_path):
    """Six clips as another tool leaves them: no clip.json."""
    for number in range(6):
        clip = tmp_path / "foreign" / "group" / f"{number}"
        clip.mkdir(parents=True)
        for frame in range(75):
            cv2.imwrite(str(clip / f"{frame}.jpg"), np.full((96, 96, 3), 10 * number + frame, np.uint8))
        with wave.open(str(clip / "audio.wav"), "wb") as wav:
            wav.setparams((1, 2, 16_000, 0, "NONE", ""))
            wav.writeframes(np.random.default_rng(number).integers(-9000, 9000, 48_000).astype("<i2").tobytes())
    return tmp_path / "foreign"


def test_a_foreign_folder_that_sync_corrected_has_a_report_too(foreign, tmp_path):
    resync(foreign, "group/0", 3, {"sync_offset": 3})  # its clip.json says neither source nor frames
    ran = doctor(foreign, "--out", tmp_path / "out", "--workers", "0")
    assert ran.returncode == 1, ran.stderr
    told = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert [clip["frames"] for clip in told["clips"]] == [72, 75, 75, 75, 75, 75]


def test_what_a_killed_run_left_aside_in_a_folder_is_not_the_doctors_to_move(foreign, tmp_path):
    aside = foreign / ".stages/sync/aside/group"
    aside.mkdir(parents=True)
    (foreign / "group/0").rename(aside / "0")
    doctor(foreign, "--out", tmp_path / "out", "--workers", "0")
    assert (aside / "0" / "audio.wav").exists() and not (foreign / "group/0").exists()


def test_clips_are_looked_at_for_as_long_as_asked_for(tmp_path):
    histories = [History(Source(tmp_path, c, c, 0, 0), Record("probe", c, "", figures={"seconds": 6.0}), [])
                 for c in (f"g/{n:03}" for n in range(100))]  # fmt: skip
    some = sample_clips(histories, minutes=1)
    assert [history.source.clip for history in (some[0], some[-1])] == ["g/000", "g/099"]
    assert len(some) == 10
    assert sample_clips(histories, minutes=30) == histories
    assert len(sample_clips(histories, minutes=0.01)) == 6  # fewer tell nothing about one another


def test_a_time_below_zero_is_a_sentence_and_code_2(tmp_path):
    ran = doctor(tmp_path, "--minutes", "-5")
    assert ran.returncode == 2 and "--minutes -5: is not above 0" in ran.stderr


def test_nothing_to_judge_is_a_sentence_and_code_2(tmp_path):
    (tmp_path / "empty").mkdir()
    ran = doctor(tmp_path / "empty", "--out", tmp_path / "out")
    assert ran.returncode == 2
    assert "holds no video" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert doctor(tmp_path / "none").returncode == 2


def test_a_sample_of_videos_is_spread_and_lasts_as_long_as_asked_for(tmp_path):
    for n in range(12):
        write_video(tmp_path / f"{n:02d}.mkv", wav=noise())
    (tmp_path / "bad.mkv").write_bytes(b"no video")
    sources = find_videos(tmp_path)
    some = spread_sample(sources, minutes=4 / 60)
    assert 4 <= len(some) <= 5  # seconds each, and the bad one if it is drawn
    assert spread_sample(sources, minutes=4 / 60) == some
    assert spread_sample(sources, minutes=60) == sources


@pytest.mark.slow
def test_made_up_talking_heads_are_fit_and_with_each_others_sounds_they_are_not(tmp_path):
    videos = write_sample(tmp_path / "good", clips=16, seconds=5)
    good = doctor(tmp_path / "good", "--out", tmp_path / "one", "--detector", "mtcnn")
    assert good.returncode == 0, good.stdout + good.stderr
    assert "FIT to train on" in good.stdout
    swapped = tmp_path / "swapped"
    for video, other in zip(videos, [*videos[5:], *videos[:5]], strict=True):
        dub(video, other, swapped / video.relative_to(tmp_path / "good"))
    bad = doctor(swapped, "--out", tmp_path / "two", "--detector", "mtcnn")
    assert bad.returncode == 1, bad.stdout + bad.stderr
    assert "no agreement found" in bad.stdout


def dub(video, other, outfile):
    """The pictures of one video with the sound of another."""
    from wav2lip.media import VideoWriter, read_frames

    outfile.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(outfile, 25, other) as writer:
        for frame in read_frames(video, 25):
            writer.write(frame)
