"""RetentionWorker: expired and orphaned files are deleted, rows are kept."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.helpers.serve import list_files, result_path
from wav2lip.serve.errors import Conflict, NotFound
from wav2lip.serve.jobs.retention import RetentionWorker
from wav2lip.serve.ui.doctor import Doctor

HOUR_S = 3600
ID = "Aa0_-bcd" * 4  # of an upload or job
DIGEST = "0f" * 32  # of a file of the page


@pytest.fixture
def service(make_service):
    """Service that keeps files for an hour."""
    return make_service(keep_hours=1.0)


@pytest.fixture
def retention(service):
    return RetentionWorker(service.settings, service.database, service.storage)


def finish_next_job(service) -> str:  # type: ignore[no-untyped-def]
    job = service.queue.dequeue()
    result_path(service, job).write_bytes(b"a video")
    service.queue.finish(job, "done", frames=1, result_size=7)
    return job.id


def test_sweep_deletes_expired_files_of_finished_jobs(service, retention, add_job):
    add_job(service)
    queued = add_job(service)
    finished = finish_next_job(service)
    assert retention.sweep(time.time() + HOUR_S - 100) == 0
    assert retention.sweep(time.time() + HOUR_S + 100) == 3  # a result and its two uploads
    assert {path.name for path in list_files(service.uploads.folder)} == {queued.face.id, queued.audio.id}
    with pytest.raises(Conflict, match="after 1 h"):
        service.jobs.result_path("ann", finished)
    with pytest.raises(NotFound):
        service.uploads.get("ann", service.jobs.get("ann", finished).face.id)
    assert service.jobs.get("ann", finished).state == "done" and service.jobs.get("ann", finished).face.sha256
    assert service.uploads.stored_bytes() == sum(path.stat().st_size for path in list_files(service.uploads.folder))


def test_sweep_at_start_deletes_incomplete_files(service, retention, add_job):
    complete = add_job(service)
    incomplete = [
        service.uploads.folder / f"{ID}.partial",
        service.storage.path(f"results/{ID}.2.mp4"),
        service.storage.path(f"results/.{ID}.7.silent.partial.mp4"),
    ]
    for path in incomplete:
        path.write_bytes(b"half")
    assert retention.sweep(time.time()) == 0  # they may be in progress
    assert retention.sweep(time.time(), orphan_age_s=0.0) == 3
    assert not any(path.exists() for path in incomplete)
    assert service.uploads.path(complete.face.id).exists()


def test_sweep_deletes_aborted_gradio_uploads(service, retention, tmp_path, monkeypatch):
    incomplete, complete = tmp_path / "data/page/tmpabc_4_89", tmp_path / "data/page" / DIGEST / "tmp.mp4"
    for path in (incomplete, complete):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    start = time.monotonic()
    assert retention.sweep(time.time()) == 0
    for after_s, deleted in [(service.settings.upload_seconds - 10, 0), (service.settings.upload_seconds + 10, 1)]:
        monkeypatch.setattr(time, "monotonic", lambda after_s=after_s: start + after_s)
        assert retention.sweep(time.time()) == deleted
    assert complete.exists() and not incomplete.exists()


def test_leap_of_the_clock_deletes_nothing_in_the_making(service, retention, tmp_path):
    making = [service.uploads.folder / f"{ID}.partial", service.storage.path(f"results/.{ID}.1.partial.mp4"),
              tmp_path / "data/page/tmpabc_4_89", tmp_path / "data/doctor" / DIGEST[:16] / "clips/a.mp4"]  # fmt: skip
    for path in making:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    for _ in range(2):
        assert retention.sweep(time.time() + 400 * 24 * HOUR_S) == 0
    assert all(path.exists() for path in making)


def test_sweep_retries_files_that_are_open(service, retention, media, monkeypatch, caplog):
    first, second = (service.uploads.save("ann", media / "audio.wav", "audio.wav") for _ in range(2))
    page = service.settings.data / "page" / DIGEST
    page.mkdir(parents=True)
    unlink = Path.unlink
    for name in ("a", "b"):
        (page / name).write_bytes(b"x")

    def unlink_unless_open(path: Path, missing_ok: bool = False) -> None:  # as on Windows while a player has it open
        if path.name in (first.id, "a"):
            raise PermissionError(13, "the file is open")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink_unless_open)
    later = time.time() + HOUR_S + 100
    assert retention.sweep(later, orphan_age_s=0.0) == 2
    assert service.uploads.path(first.id).exists() and not service.uploads.path(second.id).exists()
    assert (page / "a").exists() and not (page / "b").exists()
    assert service.uploads.get("ann", first.id) and "the file is open" in caplog.text
    monkeypatch.undo()
    assert retention.sweep(later, orphan_age_s=0.0) == 2
    assert not service.uploads.path(first.id).exists()


def test_sweep_deletes_expired_gradio_files(retention, tmp_path):
    old, new = tmp_path / "data/page" / DIGEST / "old.mp4", tmp_path / "data/page" / ID / "new.mp4"
    for path in (old, new):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    before = time.time() - HOUR_S - 400
    os.utime(old, (before, before))
    os.utime(old.parent, (before, before))
    assert retention.sweep(time.time(), orphan_age_s=0.0) == 1
    assert new.exists() and not old.exists()


def test_files_of_others_are_never_deleted(service, retention, tmp_path):
    """As with --data=. in a folder of videos."""
    names = ["uploads/a.mp4", "results/result_voice.mp4", "results/.hidden/x", "page/notes.txt", "page/tmp",
             "page/my/a.mp4", "page/tmpdir_12/a", "doctor/letter.pdf", "doctor/visits/1.pdf", "a.mp4"]  # fmt: skip
    files = [tmp_path / "data" / name for name in names]
    before = time.time() - 400 * 24 * HOUR_S
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (before, before))
        os.utime(path.parent, (before, before))
    (tmp_path / "data/page/empty").mkdir()
    os.utime(tmp_path / "data/page/empty", (before, before))
    assert retention.sweep(time.time(), orphan_age_s=0.0) == 0
    Doctor(tmp_path / "data/doctor")
    assert all(path.exists() for path in files) and (tmp_path / "data/page/empty").exists()
