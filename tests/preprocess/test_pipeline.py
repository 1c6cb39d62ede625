"""A run does what is left to do, whatever happened to the one before, and says what became of each input."""

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

from preprocess import pipeline, report
from preprocess.ingest import find_videos
from tests.preprocess.stubs import DARK, DEADLY, FAULTY, StubDetector, noise, whole_job, write_video
from wav2lip.clips import Clip, read_info
from wav2lip.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def run(videos, out, detector=None, **options):
    changes = {name: options.pop(name) for name in ("overwrite", "retry", "stages") if name in options}
    return pipeline.run(find_videos(videos), replace(whole_job(out, detector, **options), **changes)).dataset


def fates(dataset):
    return {entry["source"]: (entry["fate"], entry["cause"]) for entry in dataset["inputs"]}


def contents(out):
    """Bytes of every file of a data set but its state, in which records come in the order in which work ended."""
    files = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    return {path: (out / path).read_bytes() for path in files if path.parts[0] != ".stages"}


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
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name not in ("lock", "out")}


@pytest.fixture(scope="module")
def bad_videos(tmp_path_factory):
    """Two good videos among all kinds of bad ones."""
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
    long = write_video(
        folder / "cut_off.mkv", [n / 25 for n in range(100)], [60 + n for n in range(100)], noise(4.0, seed=1)
    )
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
    dataset = run(bad_videos, tmp_path / "out")
    assert fates(dataset) == EXPECTED
    rows = {line.split()[1]: line for line in report.table(dataset).splitlines()[1:12]}
    assert sorted(rows) == sorted(EXPECTED)
    for name, (fate, cause) in EXPECTED.items():
        assert rows[name].startswith(fate)
        assert str(bad_videos) not in rows[name]  # the row has the name already
        assert cause == "" or len(rows[name].split(maxsplit=2)[2]) > 20
    assert "a face in 10 of its 10 frames" in rows["brief.mkv"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".stages", "cut_off", "dataset.json", "filelists", "good", "packed", "report.html"
    ]  # fmt: skip


def test_every_second_of_every_input_is_kept_or_told_of(bad_videos, tmp_path):
    dataset = run(bad_videos, tmp_path / "out", shortest=0.8, longest=1.5)
    written = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert written == json.loads(json.dumps(dataset))
    for entry in written["inputs"]:
        lost = sum(span["to"] - span["from"] for span in entry["lost"])
        assert entry["kept_seconds"] + lost == pytest.approx(entry["seconds"], abs=1e-6), entry["source"]
        assert all(span["stage"] and span["cause"] for span in entry["lost"])
        assert entry["fate"] == "ok" or entry["seconds"] == 0 or entry["lost"]
    totals = written["totals"]
    assert totals["seconds_kept"] + sum(loss["seconds"] for loss in written["lost"]) == pytest.approx(
        totals["seconds_in"], abs=0.01
    )
    assert (totals["inputs"], totals["inputs_used"]) == (11, 2)


def test_odd_names_come_out_whole(tmp_path):
    names = ["take.1.mkv", "take.2.mkv", "my talk.mkv", 'it\'s "1" $x;&.mkv', "-i.mkv", "日本/ü.mkv"]
    for seed, name in enumerate(names):
        write_video(tmp_path / "in" / name, wav=noise(seed=seed))
    dataset = run(tmp_path / "in", tmp_path / "out")
    assert fates(dataset) == {name: ("ok", "") for name in names}
    lines = [line for path in (tmp_path / "out/filelists").iterdir() for line in path.read_text().splitlines()]
    assert sorted(lines) == sorted(clip["clip"] for clip in dataset["clips"])
    assert all(len(Clip.open(tmp_path / "out" / line).frames) == 25 and " " not in line for line in lines)
    assert {"take.1/00000", "take.2/00000", "my_talk/00000"} < set(lines)


def test_a_second_run_does_nothing(bad_videos, tmp_path):
    first = run(bad_videos, tmp_path / "out")
    before = stamps(tmp_path / "out")
    second = run(bad_videos, tmp_path / "out", detector=object())  # of which nothing is asked
    assert stamps(tmp_path / "out") == before
    assert second == first


def test_what_changed_is_done_again_and_nothing_else(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    write_video(tmp_path / "in" / "b.mkv", wav=noise(seed=1))
    write_video(tmp_path / "in" / "mute.mkv")
    run(tmp_path / "in", tmp_path / "out")
    kept = stamps(tmp_path / "out" / "a")
    write_video(tmp_path / "in" / "b.mkv", [n / 25 for n in range(30)], wav=noise(2, seed=2))
    write_video(tmp_path / "in" / "mute.mkv", wav=noise(seed=3))
    dataset = run(tmp_path / "in", tmp_path / "out")
    assert stamps(tmp_path / "out" / "a") == kept
    assert len(Clip.open(tmp_path / "out/b/00000").frames) == 30
    assert fates(dataset)["mute.mkv"] == ("ok", "")


def test_a_clip_that_was_deleted_comes_back(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out/a/00000/clip.json").unlink()
    run(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out/a/00000/clip.json").exists()


def test_clips_that_other_settings_do_not_give_are_removed(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", [n / 25 for n in range(100)], wav=noise(4))
    run(tmp_path / "in", tmp_path / "out", shortest=0.8, longest=1.0)
    assert len(list((tmp_path / "out/a").iterdir())) == 4
    run(tmp_path / "in", tmp_path / "out", shortest=0.8, longest=2.0)
    assert sorted(path.name for path in (tmp_path / "out/a").iterdir()) == ["000000", "000050"]
    run(tmp_path / "in", tmp_path / "out", shortest=0.8, longest=2.0, part_minutes=2 / 60)
    assert sorted(path.name for path in (tmp_path / "out/a").iterdir()) == ["000000", "000050"]


def test_a_stage_alone_uses_what_the_others_found_out_before(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    with pytest.raises(InputError, match="1 inputs lack what the stage faces finds out.*add faces to stages="):
        run(tmp_path / "in", tmp_path / "out", stages=("probe", "shots", "segments"))
    assert run(tmp_path / "in", tmp_path / "out", stages=("faces",)) is None
    assert not (tmp_path / "out/a").exists()
    assert run(tmp_path / "in", tmp_path / "out", stages=("segments", "crops")) is None
    assert (tmp_path / "out/a/00000/0.jpg").exists()
    assert run(tmp_path / "in", tmp_path / "out", stages=("quality",)) is None
    run(tmp_path / "in", tmp_path / "out", stages=("splits",))
    assert (tmp_path / "out/filelists/train.txt").read_text() == "a/00000\n"
    assert not (tmp_path / "out/report.html").exists()
    with pytest.raises(InputError, match="stages=colours: unknown"):
        run(tmp_path / "in", tmp_path / "out", stages=("colours",))


def test_what_was_rejected_is_tried_again_on_request(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    write_video(tmp_path / "in" / "dark.mkv", levels=[DARK] * 25, wav=noise(seed=1))
    run(tmp_path / "in", tmp_path / "out")
    lines = (tmp_path / "out/.stages/faces.jsonl").read_text().count("\n")
    run(tmp_path / "in", tmp_path / "out", retry=True)
    assert (tmp_path / "out/.stages/faces.jsonl").read_text().count("\n") == lines + 1
    run(tmp_path / "in", tmp_path / "out", overwrite=True)
    assert (tmp_path / "out/.stages/faces.jsonl").read_text().count("\n") == lines + 3


def test_a_worker_that_dies_costs_its_own_video_which_the_next_run_tries_again(tmp_path, capfd):
    for seed, (name, level) in enumerate({"a": 100, "b": DEADLY, "c": 100, "d": FAULTY, "e": 100}.items()):
        write_video(tmp_path / "in" / f"{name}.mkv", levels=[level] * 25, wav=noise(seed=seed))
    dataset = run(tmp_path / "in", tmp_path / "out", StubDetector(fatal=True), workers=2)
    good = ("ok", "")
    expected = {"a": good, "b": ("failed", "killed"), "c": good, "d": ("failed", "program fault"), "e": good}
    assert fates(dataset) == {f"{name}.mkv": fate for name, fate in expected.items()}
    reasons = {entry["source"]: entry["reason"] for entry in dataset["inputs"]}
    assert "SIGKILL" in reasons["b.mkv"]
    assert "exit code 1" in reasons["d.mkv"]
    assert "a fault of ours" in capfd.readouterr().err
    assert not (tmp_path / "out" / ".partial").exists()
    assert set(fates(run(tmp_path / "in", tmp_path / "out")).values()) == {good}


@pytest.fixture(scope="module")
def speakers(tmp_path_factory):
    """Videos of which one is long enough for several parts, and what they become."""
    folder = tmp_path_factory.mktemp("speakers")
    for n in range(4):
        levels = [40 + 20 * n + k % 60 for k in range(60)]
        write_video(folder / "in" / f"speaker{n}" / "talk.mkv", [k / 25 for k in range(60)], levels, noise(2.4, n))
    levels = [60 + k % 90 for k in range(200)]
    write_video(folder / "in" / "long" / "talk.mkv", [k / 25 for k in range(200)], levels, noise(8.0, 9))
    pipeline.run(find_videos(folder / "in"), killable(folder / "whole" / "out"))  # the report says "out"
    return folder


def killable(out, detector=None, workers=0):
    return whole_job(out, detector, workers, shortest=0.8, longest=1.2, part_minutes=2 / 60)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_a_run_killed_at_any_moment_goes_on_to_the_same_data_set(speakers, tmp_path, seed):
    out = tmp_path / "out"
    rng = np.random.default_rng(seed)
    command = [sys.executable, "-m", "tests.preprocess.stub_run", str(speakers / "in"), str(out)]
    for _ in range(2):  # the second run is killed too
        process = subprocess.Popen(command, cwd=ROOT)
        deadline = time.monotonic() + 60
        while not (out / ".stages/probe.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 4.0))
        workers = children_of(process.pid)
        process.send_signal(signal.SIGKILL) if os.name == "posix" else process.kill()
        process.wait()
        assert_gone(workers)
        for clip in out.glob("[!.]*/[!.]*"):
            if clip.is_dir() and clip.parent.name not in ("packed", "filelists"):
                assert len(list(clip.glob("*.jpg"))) == read_info(clip)["frames"]  # whole, or not there
    pipeline.run(find_videos(speakers / "in"), killable(out))
    assert contents(out) == contents(speakers / "whole" / "out")
    assert not (out / ".partial").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_disk_that_cannot_be_written_ends_the_run_with_a_sentence(tmp_path, workers):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("a file where the clip's folder has to be")
    with pytest.raises(InputError, match=r"out: cannot be written .*run again"):
        run(tmp_path / "in", tmp_path / "out", workers=workers)


def test_clips_of_other_videos_stay_but_are_not_listed(tmp_path, caplog):
    write_video(tmp_path / "one" / "a.mkv", wav=noise())
    write_video(tmp_path / "two" / "b.mkv", wav=noise(seed=1))
    run(tmp_path / "one", tmp_path / "out")
    dataset = run(tmp_path / "two", tmp_path / "out")
    assert [clip["clip"] for clip in dataset["clips"]] == ["b/00000"]
    assert "1 clips of other videos" in caplog.text
    assert (tmp_path / "out/a/00000/0.jpg").exists()


def test_the_same_recording_twice_is_kept_once(tmp_path):
    video = write_video(tmp_path / "in" / "a.mkv", [n / 25 for n in range(100)], wav=noise(4))
    (tmp_path / "in" / "copy.mkv").write_bytes(video.read_bytes())
    dataset = run(tmp_path / "in", tmp_path / "out")
    assert sorted(clip["cause"] for clip in dataset["clips"]) == ["", "duplicate"]


def test_a_video_that_gives_nothing_any_more_leaves_no_clip_and_no_list_behind(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    run(tmp_path / "in", tmp_path / "out")
    write_video(tmp_path / "in" / "a.mkv", levels=[DARK] * 25, wav=noise(seed=1))
    dataset = run(tmp_path / "in", tmp_path / "out")
    assert fates(dataset) == {"a.mkv": ("rejected", "no face")}
    assert not list((tmp_path / "out").rglob("*.jpg"))
    assert not list((tmp_path / "out").rglob("train.txt"))


def test_a_crash_while_a_clip_is_cut_again_leaves_the_one_there_was(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", levels=[DEADLY] * 25, wav=noise())
    run(tmp_path / "in", tmp_path / "out")
    dataset = run(tmp_path / "in", tmp_path / "out", StubDetector(fatal=True), workers=1, longest_gap=2)
    assert fates(dataset)["a.mkv"] == ("failed", "killed")
    assert (tmp_path / "out/a/00000/0.jpg").exists()


def test_overwrite_cuts_clips_again(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    run(tmp_path / "in", tmp_path / "out")
    crop = tmp_path / "out/a/00000/7.jpg"
    whole = crop.read_bytes()
    crop.write_bytes(b"")
    run(tmp_path / "in", tmp_path / "out")
    assert crop.read_bytes() == b""
    run(tmp_path / "in", tmp_path / "out", overwrite=True)
    assert crop.read_bytes() == whole


def test_sound_that_sync_has_moved_is_as_it_was_once_sync_is_off(tmp_path):
    from preprocess.resync import resync

    write_video(tmp_path / "in" / "a.mkv", wav=noise())
    run(tmp_path / "in", tmp_path / "out")
    sound = tmp_path / "out/a/00000/audio.wav"
    recorded = sound.read_bytes()
    resync(tmp_path / "out", "a/00000", 3, {})
    assert sound.read_bytes() != recorded
    run(tmp_path / "in", tmp_path / "out")
    assert sound.read_bytes() == recorded


def test_a_file_that_breaks_off_is_lost_from_there_in_every_part(tmp_path):
    long = write_video(
        tmp_path / "in" / "a.ts", [n / 25 for n in range(250)], [40 + n % 200 for n in range(250)], noise(10)
    )
    content = bytearray(long.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 4] = bytes(len(content) // 4)
    long.write_bytes(bytes(content))
    dataset = run(tmp_path / "in", tmp_path / "out", shortest=0.8, longest=1.5, part_minutes=2 / 60)
    (entry,) = dataset["inputs"]
    lost = sum(span["to"] - span["from"] for span in entry["lost"])
    assert entry["kept_seconds"] + lost == pytest.approx(entry["seconds"], abs=1e-6)
    assert entry["kept_seconds"] < entry["seconds"] - 1
