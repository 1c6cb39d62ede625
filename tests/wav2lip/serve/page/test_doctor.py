"""The doctor as a process: one at a time, bounded, ended with whoever asked."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from wav2lip.errors import InputError
from wav2lip.sample import write_sample
from wav2lip.serve.page.data_tab import told
from wav2lip.serve.page.doctor import NEWS, Doctor, Examination


@pytest.fixture
def clip(tmp_path):
    """Nothing that the doctor could like; the tests with it end before he says so."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(1000))
    return path


@pytest.fixture
def talking(tmp_path):
    return write_sample(tmp_path / "videos", clips=1, seconds=4)[0]


def test_one_examination_at_a_time_and_none_outlives_its_asker(tmp_path, clip):
    doctor = Doctor(tmp_path / "work")
    first = doctor.examine("me", [("mine.mp4", clip)])
    running = next(first)
    process = doctor.process
    assert [path.name for path in (running.folder / "clips").iterdir()] == ["1_mine.mp4"]

    with pytest.raises(InputError, match="looking at other clips"):
        next(doctor.examine("you", [("yours.mp4", clip)]))
    with pytest.raises(InputError, match="no such examination"):
        doctor.find("you", running.id)
    assert process.poll() is None

    first.close()
    assert not running.folder.exists()
    assert process.returncode is not None
    assert doctor.process is None


def test_clips_are_opened_once_they_may_be_examined_and_not_before(tmp_path, clip):
    doctor, opened = Doctor(tmp_path / "work"), []

    def check(name: str, path: Path) -> None:
        opened.append(name)
        raise InputError(f"{name}: is no video")

    first = doctor.examine("me", [("mine.mp4", clip)])
    next(first)
    for clips in ([("yours.mp4", clip)], [("a.mp4", clip)] * 11):
        with pytest.raises(InputError, match=r"looking at other clips|too many"):
            next(doctor.examine("you", clips, check))
    assert opened == []
    first.close()
    with pytest.raises(InputError, match="yours.mp4: is no video"):
        next(doctor.examine("you", [("yours.mp4", clip), ("b.mp4", clip)], check))
    assert opened == ["yours.mp4"] and doctor.process is None
    next(after := doctor.examine("me", [("mine.mp4", clip)]))  # he is free again
    after.close()


def test_one_that_takes_too_long_is_ended_with_a_sentence(tmp_path, clip):
    doctor = Doctor(tmp_path / "work", longest=0.0)
    with pytest.raises(InputError, match="not done after 0 s"):
        next(doctor.examine("me", [("mine.mp4", clip)]))
    assert doctor.process is None


def test_an_expert_that_is_not_there_is_said_at_start(tmp_path):
    with pytest.raises(InputError, match=r"--expert .*none\.pth: is no file"):
        Doctor(tmp_path / "work", expert=tmp_path / "none.pth")


def test_what_the_doctor_says_is_told_without_the_servers_paths(tmp_path):
    (tmp_path / NEWS).write_text(f"reading\nerror: {tmp_path / 'clips' / 'clip_1.mp4'}: has no sound\n")
    assert Examination("me", tmp_path).news() == f"error: {Path('clips/clip_1.mp4')}: has no sound"


@pytest.mark.parametrize("count", [0, 11])
def test_no_clip_and_too_many_are_refused_before_anything_runs(tmp_path, clip, count):
    doctor = Doctor(tmp_path / "work")
    with pytest.raises(InputError, match=r"no clip|too many"):
        next(doctor.examine("me", [("a.mp4", clip)] * count))
    assert doctor.process is None


@pytest.mark.slow
def test_a_short_clip_is_examined_and_its_verdict_and_report_shown(tmp_path, talking):
    doctor = Doctor(tmp_path / "work")
    began = time.monotonic()
    *_, last = doctor.examine("me", [("../../a b'.mp4", talking)])

    assert last.fit is False
    assert last.faults == [
        "nobody knows whether lips and sound agree: there is too little to tell; give --expert or more data"
    ]
    assert time.monotonic() - began < 600
    kept = sorted(path.name for path in doctor.find("me", last.id).report.iterdir())
    assert kept == ["dataset.json", "report.html"]
    page = told(last)
    assert "Not yet" in page
    assert f"page/examinations/{last.id}" in page
    assert not (last.folder / "clips").exists()
