"""Files go after their time, and what a killed server left goes at once; records stay."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.wav2lip.serve.conftest import files_in
from wav2lip.serve.refusals import NotNow, NotThere
from wav2lip.serve.sweeping import Sweeper


@pytest.fixture
def sweeper(service):
    """A service with one job that is done and one that waits, and what sweeps it."""
    one = service(keep_hours=1.0)
    return one, Sweeper(one.settings, one.database, one.uploads, one.jobs)


def job(one, media):  # type: ignore[no-untyped-def]
    face = one.uploads.take("ann", media / "face.mp4", "face.mp4", "face")
    audio = one.uploads.take("ann", media / "sound.wav", "sound.wav", "audio")
    return one.jobs.submit("ann", face, audio)


def finish(one) -> str:  # type: ignore[no-untyped-def]
    taken = one.jobs.take()
    one.jobs.path(taken.id).write_bytes(b"a video")
    one.jobs.end(taken.id, "done", frames=1, result_size=7)
    return taken.id


def test_files_go_after_their_time_but_for_those_of_jobs_that_wait(sweeper, media):
    one, sweep = sweeper
    job(one, media)
    waiting = job(one, media)
    done = finish(one)
    assert sweep.sweep(time.time() + 3500) == 0
    assert sweep.sweep(time.time() + 3700) == 3  # a result and its two uploads
    assert {path.name for path in files_in(one.uploads.folder)} == {waiting.face.id, waiting.audio.id}
    with pytest.raises(NotNow, match="removed after 1 h"):
        one.jobs.result("ann", done)
    with pytest.raises(NotThere):
        one.uploads.get("ann", one.jobs.get("ann", done).face.id)
    assert one.jobs.get("ann", done).state == "done" and one.jobs.get("ann", done).face.sha256
    assert one.uploads.kept() == sum(path.stat().st_size for path in files_in(one.uploads.folder))


def test_what_a_killed_server_left_half_written_goes_at_start_and_not_while_it_may_be_coming(sweeper, media):
    one, sweep = sweeper
    kept = job(one, media)
    halves = [one.uploads.folder / "x.partial", one.jobs.folder / "y.mp4", one.jobs.folder / ".z.partial.mp4"]
    for half in halves:
        half.write_bytes(b"half")
    assert sweep.sweep(time.time()) == 0
    assert sweep.sweep(time.time(), leftovers=0.0) == 3
    assert not any(half.exists() for half in halves)
    assert (one.uploads.folder / kept.face.id).exists()


def test_what_an_upload_to_the_page_left_when_it_was_broken_off_goes_after_the_time_of_an_upload(sweeper, tmp_path):
    one, sweep = sweeper
    begun, whole = tmp_path / "data/page/tmpabc", tmp_path / "data/page/0f/tmp.mp4"
    for path in (begun, whole):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert sweep.sweep(time.time() + one.settings.upload_seconds - 10) == 0
    assert sweep.sweep(time.time() + one.settings.upload_seconds + 10) == 1
    assert whole.exists() and not begun.exists()


def test_a_file_that_cannot_be_removed_yet_stops_no_other_and_is_tried_again(sweeper, media, monkeypatch, caplog):
    one, sweep = sweeper
    first, second = (one.uploads.take("ann", media / "sound.wav", "sound.wav") for _ in range(2))
    page = one.settings.data / "page"
    page.mkdir()
    unlink = Path.unlink
    for name in ("a", "b"):
        (page / name).write_bytes(b"x")

    def held(path: Path, missing_ok: bool = False) -> None:  # as Windows does while a player has it open
        if path.name in (first.id, "a"):
            raise PermissionError(13, "the file is open")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", held)
    later = time.time() + 3700
    assert sweep.sweep(later) == 2
    assert first.path.exists() and not second.path.exists()
    assert (page / "a").exists() and not (page / "b").exists()
    assert one.uploads.get("ann", first.id) and "the file is open" in caplog.text
    monkeypatch.undo()
    assert sweep.sweep(later) == 2
    assert not first.path.exists()


def test_what_browsers_sent_to_the_page_goes_too(sweeper, tmp_path):
    _, sweep = sweeper
    old, new = tmp_path / "data/page/a/old.mp4", tmp_path / "data/page/b/new.mp4"
    for path in (old, new):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 4000,) * 2)
    os.utime(old.parent, (time.time() - 4000,) * 2)
    assert sweep.sweep(time.time()) == 1
    assert new.exists() and not old.exists()
