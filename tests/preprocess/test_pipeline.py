"""A run does what is left to do, whatever happened to the one before, and says what became of each input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from preprocess import pipeline, report
from preprocess.ingest import find_videos
from tests.preprocess.stubs import DARK, DEADLY, FAULTY, StubDetector, job, noise, write_video
from wav2lip.clips import Clip
from wav2lip.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def run(videos, out, detector=None, workers=0, settings=None, **options):
    sources = find_videos(videos)
    return pipeline.run(sources, job(out, **(settings or {})), detector or StubDetector(), workers=workers, **options)


def fates(result):
    return {outcome.source: (outcome.fate, outcome.cause) for outcome in result.outcomes}


def contents(out):
    """Bytes of every file of a data set but its journal, whose lines come in the order in which work ended."""
    return {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name != "journal.jsonl"}


def children_of(pid):
    """Process ids; empty where the system has no /proc."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def assert_gone(pids):
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() and "Z" not in state(pid) for pid in pids):
        assert time.monotonic() < deadline, "workers outlive the run that started them"
        time.sleep(0.05)


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"


def stamps(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*")}


@pytest.fixture(scope="module")
def bad_videos(tmp_path_factory):
    """One good video among all kinds of bad ones."""
    folder = tmp_path_factory.mktemp("bad")
    good = write_video(folder / "good.mkv", wav=noise()).read_bytes()
    write_video(folder / "mute.mkv")
    write_video(folder / "sound_only.mkv", [], wav=noise())
    write_video(folder / "dark.mkv", levels=[DARK] * 25, wav=noise())
    write_video(folder / "still.mkv", [0.0], wav=noise())
    write_video(folder / "brief.mkv", [n / 25 for n in range(10)], wav=noise())
    write_video(folder / "blip.mkv", wav=noise(0.05))
    mov = write_video(folder / "no_index.mov", wav=noise()).read_bytes()
    (folder / "no_index.mov").write_bytes(mov[: len(mov) // 2])
    (folder / "text.mp4").write_text("this is a text file\n" * 99)
    (folder / "empty.mp4").write_bytes(b"")
    long = write_video(folder / "cut_off.mkv", [n / 25 for n in range(100)], [60 + n for n in range(100)], noise(4.0))
    long.write_bytes(long.read_bytes()[: long.stat().st_size - 4000])
    (folder / "photo.png").write_bytes(good)  # a picture by its name: passed over
    return folder


EXPECTED = {
    "good.mkv": ("ok", ""),
    "cut_off.mkv": ("ok", ""),
    "mute.mkv": ("rejected", "no audio track"),
    "sound_only.mkv": ("rejected", "no video track"),
    "dark.mkv": ("rejected", "no face"),
    "still.mkv": ("rejected", "too few faces"),
    "brief.mkv": ("rejected", "too few faces"),
    "blip.mkv": ("rejected", "too little sound"),
    "no_index.mov": ("rejected", "unreadable"),
    "text.mp4": ("rejected", "unreadable"),
    "empty.mp4": ("rejected", "unreadable"),
}


def test_each_bad_input_has_a_row_with_its_reason_and_the_rest_goes_on(bad_videos, tmp_path):
    result = run(bad_videos, tmp_path / "out")
    assert fates(result) == EXPECTED
    rows = {line.split()[1]: line for line in report.table(result.outcomes, result.earlier).splitlines()[1:12]}
    assert sorted(rows) == sorted(EXPECTED)
    for name, (fate, cause) in EXPECTED.items():
        assert rows[name].startswith(fate)
        assert str(bad_videos) not in rows[name]  # the row has the name already
        assert cause == "" or len(rows[name].split(maxsplit=2)[2]) > 20
    assert "a face in 10 of its 10 frames" in rows["brief.mkv"]
    assert "of the 4.0 s that the file states" in rows["cut_off.mkv"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "cut_off", "dataset.json", "filelists", "good", "journal.jsonl"
    ]  # fmt: skip


def test_dataset_json_has_every_input_and_the_figures(bad_videos, tmp_path):
    run(bad_videos, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert {entry["source"]: (entry["fate"], entry["cause"]) for entry in content["inputs"]} == EXPECTED
    assert content["counts"] == {"ok": 2, "rejected": 9, "failed": 0}
    assert content["causes"]["unreadable"] == 3
    assert content["splits"] == {"train": 1, "val": 1, "test": 0}
    assert content["validation_is_held_out"]


def test_odd_names_come_out_whole(tmp_path):
    names = ["take.1.mkv", "take.2.mkv", "my talk.mkv", 'it\'s "1" $x;&.mkv', "-i.mkv", "日本/ü.mkv"]
    for name in names:
        write_video(tmp_path / "in" / name, wav=noise())
    result = run(tmp_path / "in", tmp_path / "out")
    assert {outcome.source for outcome in result.outcomes} == set(names)
    assert {outcome.fate for outcome in result.outcomes} == {"ok"}
    lines = [line for path in (tmp_path / "out/filelists").iterdir() for line in path.read_text().splitlines()]
    assert sorted(lines) == sorted(outcome.clip for outcome in result.outcomes)
    assert all(len(Clip.open(tmp_path / "out" / line).frames) == 25 and " " not in line for line in lines)
    assert {"take.1/00000", "take.2/00000", "my_talk/00000"} < set(lines)


def test_a_second_run_does_nothing(bad_videos, tmp_path):
    run(bad_videos, tmp_path / "out")
    before = stamps(tmp_path / "out")
    result = run(bad_videos, tmp_path / "out", detector=object())  # of which nothing is asked
    assert stamps(tmp_path / "out") == before
    assert fates(result) == EXPECTED
    shown = report.table(result.outcomes, result.earlier)
    assert "skipped   good.mkv" in shown
    assert "0 made now, 2 done before, 9 rejected" in shown


def test_what_changed_is_done_again_and_nothing_else(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    write_video(tmp_path / "in" / "b.mkv", wav=noise())
    write_video(tmp_path / "in" / "mute.mkv")
    run(tmp_path / "in", tmp_path / "out")
    kept = stamps(tmp_path / "out" / "a")
    write_video(tmp_path / "in" / "b.mkv", [n / 25 for n in range(30)], wav=noise())
    write_video(tmp_path / "in" / "mute.mkv", wav=noise())
    result = run(tmp_path / "in", tmp_path / "out")
    assert result.earlier == {"a/00000"}
    assert stamps(tmp_path / "out" / "a") == kept
    assert len(Clip.open(tmp_path / "out/b/00000").frames) == 30
    assert fates(result)["mute.mkv"] == ("ok", "")


def test_a_clip_that_was_deleted_comes_back(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out/a/00000/clip.json").unlink()
    assert run(tmp_path / "in", tmp_path / "out").earlier == set()


def test_other_settings_retry_and_overwrite_start_again(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    write_video(tmp_path / "in" / "mute.mkv")
    run(tmp_path / "in", tmp_path / "out")
    assert run(tmp_path / "in", tmp_path / "out").earlier == {"a/00000", "mute/00000"}
    assert run(tmp_path / "in", tmp_path / "out", retry=True).earlier == {"a/00000"}
    assert run(tmp_path / "in", tmp_path / "out", overwrite=True).earlier == set()
    assert run(tmp_path / "in", tmp_path / "out", settings={"smooth_window": 7}).earlier == set()


def test_a_torn_last_line_of_the_journal_costs_only_its_video(tmp_path):
    for name in "ab":
        write_video(tmp_path / "in" / f"{name}.mkv", wav=noise())
    run(tmp_path / "in", tmp_path / "out")
    journal = tmp_path / "out" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + lines[1][:40])
    assert len(run(tmp_path / "in", tmp_path / "out").earlier) == 1
    assert len(run(tmp_path / "in", tmp_path / "out").earlier) == 2
    journal.write_bytes(b"{}\n" + lines[0])
    with pytest.raises(InputError, match="line 1 is damaged"):
        run(tmp_path / "in", tmp_path / "out")


def test_a_worker_that_dies_costs_its_own_video_which_the_next_run_tries_again(tmp_path, capfd):
    for name, level in {"a": 100, "b": DEADLY, "c": 100, "d": FAULTY, "e": 100}.items():
        write_video(tmp_path / "in" / f"{name}.mkv", levels=[level] * 25, wav=noise())
    result = run(tmp_path / "in", tmp_path / "out", StubDetector(fatal=True), workers=2)
    good = ("ok", "")
    expected = {"a": good, "b": ("failed", "killed"), "c": good, "d": ("failed", "program fault"), "e": good}
    assert fates(result) == {f"{name}.mkv": fate for name, fate in expected.items()}
    reasons = {outcome.source: outcome.reason for outcome in result.outcomes}
    assert "SIGKILL" in reasons["b.mkv"]
    assert "exit code 1" in reasons["d.mkv"]
    assert "a fault of ours" in capfd.readouterr().err
    assert not (tmp_path / "out" / ".partial").exists()
    again = run(tmp_path / "in", tmp_path / "out")
    assert set(fates(again).values()) == {good}
    assert len(again.earlier) == 3


def test_a_run_killed_at_any_moment_goes_on_to_the_same_data_set(tmp_path):
    for n in range(6):
        levels = [60 + 20 * n + k for k in range(25)]
        write_video(tmp_path / "in" / f"speaker{n}" / "talk.mkv", levels=levels, wav=noise())
    run(tmp_path / "in", tmp_path / "whole")
    command = [sys.executable, "-m", "tests.preprocess.stub_run", str(tmp_path / "in"), str(tmp_path / "out")]
    process = subprocess.Popen(command, cwd=ROOT)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("speaker*/talk")) and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = children_of(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert_gone(workers)
    done = list((tmp_path / "out").glob("speaker*/talk"))
    assert 1 <= len(done) < 6
    for clip in done:
        assert len(list(clip.iterdir())) == 28  # 25 crops, sound, mel, clip.json
    run(tmp_path / "in", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not (tmp_path / "out" / ".partial").exists()


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    from preprocess.journal import Journal

    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    (tmp_path / "out").mkdir()
    settings = job(tmp_path / "out").settings
    with Journal(tmp_path / "out", settings), pytest.raises(InputError, match="another run is writing there"):
        run(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_disk_that_cannot_be_written_ends_the_run_with_a_sentence(tmp_path, workers):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("a file where the clip's folder has to be")
    with pytest.raises(InputError, match=r"out: cannot be written .*run again"):
        run(tmp_path / "in", tmp_path / "out", workers=workers)


def test_clips_of_other_videos_stay_but_are_not_listed(tmp_path, caplog):
    write_video(tmp_path / "one" / "a.mkv", wav=noise())
    write_video(tmp_path / "two" / "b.mkv", wav=noise())
    run(tmp_path / "one", tmp_path / "out")
    assert run(tmp_path / "two", tmp_path / "out").clips == ["b/00000"]
    assert "1 clips of other videos" in caplog.text
    assert (tmp_path / "out/a/00000/0.jpg").exists()
