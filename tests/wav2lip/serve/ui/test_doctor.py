"""The doctor as a subprocess: one at a time, with a time limit, killed with its generator."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from wav2lip.errors import InputError
from wav2lip.serve.jobs.limited_process import ProcessLimits
from wav2lip.serve.ui.doctor import LOG_FILE, Doctor, Examination
from wav2lip.serve.ui.tabs.data import render_examination
from wav2lip.synthetic import write_videos


@pytest.fixture
def clip(tmp_path):
    """A file that is no video; tests with it end before the doctor rejects it."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(1000))
    return path


@pytest.fixture
def talking_head(tmp_path):
    return write_videos(tmp_path / "videos", count=1, seconds=4)[0]


def test_one_examination_at_a_time_and_closing_kills_it(tmp_path, clip):
    doctor = Doctor(tmp_path / "work")
    examinations = doctor.examine("me", [("mine.mp4", clip)])
    running = next(examinations)
    process = doctor.process
    assert [path.name for path in (running.folder / "clips").iterdir()] == ["1_mine.mp4"]

    with pytest.raises(InputError, match="busy"):
        next(doctor.examine("you", [("yours.mp4", clip)]))
    with pytest.raises(InputError, match="no such examination"):
        doctor.find("you", running.id)
    assert process.poll() is None

    examinations.close()
    assert not running.folder.exists()
    assert process.returncode is not None
    assert doctor.process is None


def test_process_has_limits_like_an_inspection(tmp_path, clip):
    doctor = Doctor(tmp_path / "work", timeout_s=100.0)
    next(examinations := doctor.examine("me", [("mine.mp4", clip)]))
    process = doctor.process
    assert process.args[1:3] == ["-m", "wav2lip.serve.jobs.limited_process"]
    limits = ProcessLimits(**json.loads(process.args[3]))
    assert limits.memory_mib == 8192 and limits.cpu_seconds >= 100 and limits.file_mib == 4096
    assert process.args[4] == "preprocess.doctor"
    examinations.close()


def test_clips_are_checked_only_when_the_doctor_is_free(tmp_path, clip):
    doctor, checked = Doctor(tmp_path / "work"), []

    def check(name: str, path: Path) -> None:
        checked.append(name)
        raise InputError(f"{name}: is no video")

    first = doctor.examine("me", [("mine.mp4", clip)])
    next(first)
    for clips in ([("yours.mp4", clip)], [("a.mp4", clip)] * 11):
        with pytest.raises(InputError, match=r"busy|at most"):
            next(doctor.examine("you", clips, check))
    assert checked == []
    first.close()
    with pytest.raises(InputError, match=r"yours\.mp4: is no video"):
        next(doctor.examine("you", [("yours.mp4", clip), ("b.mp4", clip)], check))
    assert checked == ["yours.mp4"] and doctor.process is None
    next(after := doctor.examine("me", [("mine.mp4", clip)]))  # the failure released the doctor
    after.close()


def test_timeout_kills_the_process(tmp_path, clip):
    doctor = Doctor(tmp_path / "work", timeout_s=0.0)
    with pytest.raises(InputError, match="within 0 s"):
        next(doctor.examine("me", [("mine.mp4", clip)]))
    assert doctor.process is None


def test_missing_expert_is_rejected_at_start(tmp_path):
    with pytest.raises(InputError, match=r"--expert=.*none\.pth"):
        Doctor(tmp_path / "work", expert=tmp_path / "none.pth")


def test_last_message_hides_paths_of_the_server(tmp_path):
    (tmp_path / LOG_FILE).write_text(f"reading\nerror: {tmp_path / 'clips' / 'clip_1.mp4'}: has no audio\n")
    assert Examination("me", tmp_path).last_message() == f"error: {Path('clips/clip_1.mp4')}: has no audio"


@pytest.mark.parametrize("count", [0, 11])
def test_number_of_clips_is_checked_before_anything_runs(tmp_path, clip, count):
    doctor = Doctor(tmp_path / "work")
    with pytest.raises(InputError, match=r"no clip|at most"):
        next(doctor.examine("me", [("a.mp4", clip)] * count))
    assert doctor.process is None


@pytest.mark.slow
def test_short_clip_gets_a_verdict_and_a_report(tmp_path, talking_head):
    doctor = Doctor(tmp_path / "work")
    start = time.monotonic()
    *_, last = doctor.examine("me", [("../../a b'.mp4", talking_head)])

    assert last.fit is False
    (fault,) = last.faults
    assert "--expert" in fault  # 4 s are too little data for a sync verdict
    assert time.monotonic() - start < 600
    files = sorted(path.name for path in doctor.find("me", last.id).report.iterdir())
    assert files == ["dataset.json", "report.html"]
    page = render_examination(last)
    assert "Not yet" in page
    assert f"page/examinations/{last.id}" in page
    assert not (last.folder / "clips").exists()
