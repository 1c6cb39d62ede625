"""Whole runs: resumption, crashes, and the outcome of each input."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from preprocess import pipeline
from preprocess.ingest import find_videos
from preprocess.report.table import format_table
from tests.helpers.preprocess import (
    DARK,
    DEADLY,
    FAULTY,
    StubDetector,
    make_chunked_job,
    make_full_job,
    noise,
    write_video,
)
from wav2lip.dataset.clip import Clip, read_info
from wav2lip.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def run(videos, out, detector=None, **options):
    changes = {name: options.pop(name) for name in ("overwrite", "retry", "stages") if name in options}
    return pipeline.run(find_videos(videos), replace(make_full_job(out, detector, **options), **changes)).dataset


def outcomes(dataset):
    return {entry["source"]: (entry["status"], entry["cause"]) for entry in dataset["inputs"]}


def contents(out):
    """Return the bytes of every file except the records, whose order depends on timing."""
    files = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    return {path: (out / path).read_bytes() for path in files if path.parts[0] != ".stages"}


def list_children(pid):
    """Return process ids; none on a system without /proc."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def wait_for_exit(pids):
    deadline = time.monotonic() + 60  # a worker may still be importing modules
    while any(Path(f"/proc/{pid}").exists() and "Z" not in state(pid) for pid in pids):
        assert time.monotonic() < deadline, "workers did not exit with their run"
        time.sleep(0.05)


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"


def read_mtimes(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name not in ("lock", "out")}


@pytest.fixture(scope="module")
def bad_videos(tmp_path_factory):
    """Two good videos among bad ones of all kinds."""
    folder = tmp_path_factory.mktemp("bad")
    good = write_video(folder / "good.mkv", wav=noise()).read_bytes()
    write_video(folder / "mute.mkv")
    write_video(folder / "audio_only.mkv", [], wav=noise())
    write_video(folder / "dark.mkv", levels=[DARK] * 25, wav=noise())
    write_video(folder / "still.mkv", [0.0], wav=noise())
    write_video(folder / "brief.mkv", [n / 25 for n in range(10)], wav=noise())
    write_video(folder / "blip.mkv", wav=noise(0.05))
    mov = write_video(folder / "no_index.mov", wav=noise()).read_bytes()
    (folder / "no_index.mov").write_bytes(mov[: len(mov) // 2])
    (folder / "text.mp4").write_text("this is a text file\n" * 99)
    (folder / "empty.mp4").write_bytes(b"")
    long_video = write_video(
        folder / "cut_off.mkv", [n / 25 for n in range(100)], [60 + n for n in range(100)], noise(4.0, seed=1)
    )
    long_video.write_bytes(long_video.read_bytes()[: long_video.stat().st_size - 4000])
    (folder / "photo.png").write_bytes(good)  # skipped because of its suffix
    return folder


EXPECTED = {
    "good.mkv": ("ok", ""),
    "cut_off.mkv": ("ok", ""),
    "mute.mkv": ("rejected", "no audio track"),
    "audio_only.mkv": ("rejected", "no video track"),
    "dark.mkv": ("rejected", "no face"),
    "still.mkv": ("rejected", "too few faces"),
    "brief.mkv": ("rejected", "too few faces"),
    "blip.mkv": ("rejected", "too little audio"),
    "no_index.mov": ("rejected", "unreadable"),
    "text.mp4": ("rejected", "unreadable"),
    "empty.mp4": ("rejected", "unreadable"),
}


def test_bad_inputs_are_reported_and_others_processed(bad_videos, tmp_path):
    dataset = run(bad_videos, tmp_path / "out")
    assert outcomes(dataset) == EXPECTED
    rows = {line.split()[1]: line for line in format_table(dataset).splitlines()[1:12]}
    assert sorted(rows) == sorted(EXPECTED)
    for name, (status, cause) in EXPECTED.items():
        assert rows[name].startswith(status)
        assert str(bad_videos) not in rows[name]  # the row names the input
        assert cause == "" or len(rows[name].split(maxsplit=2)[2]) > 20
    assert "a face in 10 of its 10 frames" in rows["brief.mkv"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".stages", "cut_off", "dataset.json", "filelists", "good", "packed", "report.html"
    ]  # fmt: skip


def test_every_second_is_kept_or_dropped_with_cause(bad_videos, tmp_path):
    dataset = run(bad_videos, tmp_path / "out", min_clip_seconds=0.8, max_clip_seconds=1.5)
    written = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert written == json.loads(json.dumps(dataset))
    for entry in written["inputs"]:
        dropped_seconds = sum(span["to"] - span["from"] for span in entry["dropped"])
        assert entry["seconds_kept"] + dropped_seconds == pytest.approx(entry["seconds"], abs=1e-6), entry["source"]
        assert all(span["stage"] and span["cause"] for span in entry["dropped"])
        assert entry["status"] == "ok" or entry["seconds"] == 0 or entry["dropped"]
    totals = written["totals"]
    assert totals["seconds_kept"] + sum(loss["seconds"] for loss in written["dropped"]) == pytest.approx(
        totals["seconds_in"], abs=0.01
    )
    assert (totals["inputs"], totals["inputs_used"]) == (11, 2)


def test_unusual_file_names_are_processed(tmp_path):
    names = ["take.1.mkv", "take.2.mkv", "my talk.mkv", 'it\'s "1" $x;&.mkv', "-i.mkv", "日本/ü.mkv"]
    for seed, name in enumerate(names):
        write_video(tmp_path / "in" / name, wav=noise(seed=seed))
    dataset = run(tmp_path / "in", tmp_path / "out")
    assert outcomes(dataset) == {name: ("ok", "") for name in names}
    lines = [line for path in (tmp_path / "out/filelists").iterdir() for line in path.read_text().splitlines()]
    assert sorted(lines) == sorted(clip["clip"] for clip in dataset["clips"])
    assert all(len(Clip.open(tmp_path / "out" / line).frames) == 25 and " " not in line for line in lines)
    assert {"take.1/00000", "take.2/00000", "my_talk/00000"} < set(lines)


def test_filelists_folder_replaces_that_of_data_set(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    job = replace(make_full_job(tmp_path / "out"), filelists=tmp_path / "filelists")
    pipeline.run(find_videos(tmp_path / "in"), job)
    assert sorted(path.name for path in (tmp_path / "filelists").iterdir()) == ["test.txt", "train.txt", "val.txt"]
    assert (tmp_path / "filelists/train.txt").read_text() == "a/00000\n"
    assert not (tmp_path / "out/filelists").exists()


def test_second_run_changes_no_file(bad_videos, tmp_path):
    first = run(bad_videos, tmp_path / "out")
    before = read_mtimes(tmp_path / "out")
    second = run(bad_videos, tmp_path / "out", detector=object())  # not called
    assert read_mtimes(tmp_path / "out") == before
    assert second == first


def test_only_changed_inputs_are_processed_again(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    write_video(tmp_path / "in" / "b.mkv", wav=noise(seed=1))
    write_video(tmp_path / "in" / "mute.mkv")
    run(tmp_path / "in", tmp_path / "out")
    mtimes = read_mtimes(tmp_path / "out" / "a")
    write_video(tmp_path / "in" / "b.mkv", [n / 25 for n in range(30)], wav=noise(2, seed=2))
    write_video(tmp_path / "in" / "mute.mkv", wav=noise(seed=3))
    dataset = run(tmp_path / "in", tmp_path / "out")
    assert read_mtimes(tmp_path / "out" / "a") == mtimes
    assert len(Clip.open(tmp_path / "out/b/00000").frames) == 30
    assert outcomes(dataset)["mute.mkv"] == ("ok", "")


def test_deleted_clip_is_written_again(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out/a/00000/clip.json").unlink()
    run(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out/a/00000/clip.json").exists()


def test_clips_of_other_settings_are_removed(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", [n / 25 for n in range(100)], wav=noise(4))
    run(tmp_path / "in", tmp_path / "out", min_clip_seconds=0.8, max_clip_seconds=1.0)
    assert len(list((tmp_path / "out/a").iterdir())) == 4
    run(tmp_path / "in", tmp_path / "out", min_clip_seconds=0.8, max_clip_seconds=2.0)
    assert sorted(path.name for path in (tmp_path / "out/a").iterdir()) == ["000000", "000050"]
    run(tmp_path / "in", tmp_path / "out", min_clip_seconds=0.8, max_clip_seconds=2.0, chunk_minutes=2 / 60)
    assert sorted(path.name for path in (tmp_path / "out/a").iterdir()) == ["000000", "000050"]


def test_single_stage_uses_records_of_earlier_runs(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    with pytest.raises(InputError, match="1 inputs .*add faces to stages="):
        run(tmp_path / "in", tmp_path / "out", stages=("probe", "shots", "segments"))
    assert run(tmp_path / "in", tmp_path / "out", stages=("faces",)) is None
    assert not (tmp_path / "out/a").exists()
    assert run(tmp_path / "in", tmp_path / "out", stages=("segments", "crops")) is None
    assert (tmp_path / "out/a/00000/0.jpg").exists()
    assert run(tmp_path / "in", tmp_path / "out", stages=("quality",)) is None
    run(tmp_path / "in", tmp_path / "out", stages=("splits",))
    assert (tmp_path / "out/filelists/train.txt").read_text() == "a/00000\n"
    assert not (tmp_path / "out/report.html").exists()
    with pytest.raises(InputError, match="stages=colours"):
        run(tmp_path / "in", tmp_path / "out", stages=("colours",))


def test_retry_processes_rejected_inputs(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    write_video(tmp_path / "in" / "dark.mkv", levels=[DARK] * 25, wav=noise(seed=1))
    run(tmp_path / "in", tmp_path / "out")
    lines = (tmp_path / "out/.stages/faces.jsonl").read_text().count("\n")
    run(tmp_path / "in", tmp_path / "out", retry=True)
    assert (tmp_path / "out/.stages/faces.jsonl").read_text().count("\n") == lines + 1
    run(tmp_path / "in", tmp_path / "out", overwrite=True)
    assert (tmp_path / "out/.stages/faces.jsonl").read_text().count("\n") == lines + 3


def test_crashed_worker_fails_its_video_only(tmp_path, capfd):
    for seed, (name, level) in enumerate({"a": 100, "b": DEADLY, "c": 100, "d": FAULTY, "e": 100}.items()):
        write_video(tmp_path / "in" / f"{name}.mkv", levels=[level] * 25, wav=noise(seed=seed))
    dataset = run(tmp_path / "in", tmp_path / "out", StubDetector(is_fatal=True), workers=2)
    good = ("ok", "")
    expected = {"a": good, "b": ("failed", "killed its worker"), "c": good, "d": ("failed", "program fault"), "e": good}
    assert outcomes(dataset) == {f"{name}.mkv": outcome for name, outcome in expected.items()}
    reasons = {entry["source"]: entry["reason"] for entry in dataset["inputs"]}
    assert "SIGKILL" in reasons["b.mkv"]
    assert "exit code 1" in reasons["d.mkv"]
    assert "simulated fault" in capfd.readouterr().err
    assert not (tmp_path / "out" / ".partial").exists()
    assert set(outcomes(run(tmp_path / "in", tmp_path / "out")).values()) == {good}


@pytest.fixture(scope="module")
def speakers(tmp_path_factory):
    """Short videos and one of several chunks, with the data set of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("speakers")
    for n in range(4):
        levels = [40 + 20 * n + k % 60 for k in range(60)]
        write_video(folder / "in" / f"speaker{n}" / "talk.mkv", [k / 25 for k in range(60)], levels, noise(2.4, n))
    levels = [60 + k % 90 for k in range(200)]
    write_video(folder / "in" / "long" / "talk.mkv", [k / 25 for k in range(200)], levels, noise(8.0, 9))
    pipeline.run(find_videos(folder / "in"), make_chunked_job(folder / "whole" / "out"))  # the report contains "out"
    return folder


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_killed_run_resumes_to_same_data_set(speakers, tmp_path, seed):
    out = tmp_path / "out"
    rng = np.random.default_rng(seed)
    command = [sys.executable, "-m", "tests.helpers.preprocess_run", str(speakers / "in"), str(out)]
    for _ in range(2):  # the second run is killed too
        process = subprocess.Popen(command, cwd=ROOT)
        deadline = time.monotonic() + 60
        while not (out / ".stages/probe.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 4.0))
        workers = list_children(process.pid)
        process.send_signal(signal.SIGKILL) if os.name == "posix" else process.kill()
        process.wait()
        wait_for_exit(workers)
        for clip in out.glob("[!.]*/[!.]*"):
            if clip.is_dir() and clip.parent.name not in ("packed", "filelists"):
                assert len(list(clip.glob("*.jpg"))) == read_info(clip)["frames"]  # complete, or absent
    pipeline.run(find_videos(speakers / "in"), make_chunked_job(out))
    assert contents(out) == contents(speakers / "whole" / "out")
    assert not (out / ".partial").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_file_in_the_way_is_named(tmp_path, workers):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("a file where the clip's folder has to be")
    with pytest.raises(InputError, match=r"out/a.*: (Not a directory|File exists); a .*check the path"):
        run(tmp_path / "in", tmp_path / "out", workers=workers)


def test_clips_of_other_videos_stay_unlisted(tmp_path, caplog):
    write_video(tmp_path / "one" / "a.mkv", wav=noise())
    write_video(tmp_path / "two" / "b.mkv", wav=noise(seed=1))
    run(tmp_path / "one", tmp_path / "out")
    dataset = run(tmp_path / "two", tmp_path / "out")
    assert [clip["clip"] for clip in dataset["clips"]] == ["b/00000"]
    assert "clips of other videos" in caplog.text
    assert (tmp_path / "out/a/00000/0.jpg").exists()


def test_duplicate_recording_is_kept_once(tmp_path):
    video = write_video(tmp_path / "in" / "a.mkv", [n / 25 for n in range(100)], wav=noise(4))
    (tmp_path / "in" / "copy.mkv").write_bytes(video.read_bytes())
    dataset = run(tmp_path / "in", tmp_path / "out")
    assert sorted(clip["cause"] for clip in dataset["clips"]) == ["", "duplicate"]


def test_rejected_video_leaves_no_clip_and_no_list(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    run(tmp_path / "in", tmp_path / "out")
    write_video(tmp_path / "in" / "a.mkv", levels=[DARK] * 25, wav=noise(seed=1))
    dataset = run(tmp_path / "in", tmp_path / "out")
    assert outcomes(dataset) == {"a.mkv": ("rejected", "no face")}
    assert not list((tmp_path / "out").rglob("*.jpg"))
    assert not list((tmp_path / "out").rglob("train.txt"))


def test_crash_keeps_previous_clip(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", levels=[DEADLY] * 25, wav=noise())
    run(tmp_path / "in", tmp_path / "out")
    dataset = run(tmp_path / "in", tmp_path / "out", StubDetector(is_fatal=True), workers=1, max_gap_frames=2)
    assert outcomes(dataset)["a.mkv"] == ("failed", "killed its worker")
    assert (tmp_path / "out/a/00000/0.jpg").exists()


def test_overwrite_writes_clips_again(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    run(tmp_path / "in", tmp_path / "out")
    crop = tmp_path / "out/a/00000/7.jpg"
    original_bytes = crop.read_bytes()
    crop.write_bytes(b"")
    run(tmp_path / "in", tmp_path / "out")
    assert crop.read_bytes() == b""
    run(tmp_path / "in", tmp_path / "out", overwrite=True)
    assert crop.read_bytes() == original_bytes


def test_shifted_audio_is_restored_when_sync_is_off(tmp_path):
    from preprocess.sync.apply_offset import apply_offset

    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    run(tmp_path / "in", tmp_path / "out")
    audio = tmp_path / "out/a/00000/audio.wav"
    original = audio.read_bytes()
    apply_offset(tmp_path / "out", "a/00000", 3, {})
    assert audio.read_bytes() != original
    run(tmp_path / "in", tmp_path / "out")
    assert audio.read_bytes() == original


def test_corrupt_section_is_dropped_in_every_chunk(tmp_path):
    long_video = write_video(
        tmp_path / "in" / "a.ts", [n / 25 for n in range(250)], [40 + n % 200 for n in range(250)], noise(10)
    )
    content = bytearray(long_video.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 4] = bytes(len(content) // 4)
    long_video.write_bytes(bytes(content))
    dataset = run(tmp_path / "in", tmp_path / "out", min_clip_seconds=0.8, max_clip_seconds=1.5, chunk_minutes=2 / 60)
    (entry,) = dataset["inputs"]
    dropped_seconds = sum(span["to"] - span["from"] for span in entry["dropped"])
    assert entry["seconds_kept"] + dropped_seconds == pytest.approx(entry["seconds"], abs=1e-6)
    assert entry["seconds_kept"] < entry["seconds"] - 1
