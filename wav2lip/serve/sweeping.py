"""Files that were kept long enough go; what was written down of them stays."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from pathlib import Path

from sqlalchemy import or_, select

from wav2lip.serve.database import Database
from wav2lip.serve.jobs import Jobs
from wav2lip.serve.records import JobRecord, UploadRecord
from wav2lip.serve.settings import HOUR, Settings
from wav2lip.serve.uploads import Uploads

EVERY = 60.0  # seconds between two sweeps

log = logging.getLogger(__name__)


class Sweeper:
    """A thread that removes files."""

    def __init__(self, settings: Settings, database: Database, uploads: Uploads, jobs: Jobs):
        self._keep = settings.keep_hours * HOUR
        self._coming = max(settings.upload_seconds, settings.job_seconds)  # a file without a record may still be made
        data = settings.data.resolve()
        self._sent = data / "page"  # what browsers sent to Gradio
        self._sending = settings.upload_seconds
        self._found = data / "doctor"  # what the page's doctor found
        self._database, self._uploads, self._jobs = database, uploads, jobs
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper")

    def start(self) -> None:
        """Sweep now, what a killed server left too, and then again and again."""
        self.sweep(time.time(), leftovers=0.0)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def sweep(self, now: float, leftovers: float | None = None) -> int:
        """Remove what is old; returns how many files went.

        leftovers: seconds after which a file that nothing tells of goes.
        """
        age = self._coming if leftovers is None else leftovers
        gone = self._results(now) + self._old_uploads(now)
        for folder in (self._uploads.folder, self._jobs.folder):
            gone += self._unknown(folder, now - age)
        gone += self._broken_off(now - (self._sending if leftovers is None else leftovers))
        return gone + sum(_older(folder, now - self._keep) for folder in (self._sent, self._found))

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            try:
                gone = self.sweep(time.time())
            except Exception:  # a full disk or a database that is away for a while: it is tried again
                log.exception("files could not be removed; it is tried again in %.0f s", EVERY)
            else:
                if gone:
                    log.info("%d files were kept for long enough and removed", gone)

    def _results(self, now: float) -> int:
        old = select(JobRecord).where(
            JobRecord.state == "done", JobRecord.removed.is_(None), JobRecord.finished < now - self._keep
        )
        with self._database.writing() as session:
            records = session.scalars(old).all()
            return sum(_removed(record, self._jobs.path(record.id), now) for record in records)

    def _old_uploads(self, now: float) -> int:
        needed = select(JobRecord.number).where(
            JobRecord.state.in_(("queued", "running")),
            or_(JobRecord.face_id == UploadRecord.id, JobRecord.audio_id == UploadRecord.id),
        )
        old = select(UploadRecord).where(
            UploadRecord.removed.is_(None), UploadRecord.created < now - self._keep, ~needed.exists()
        )
        with self._database.writing() as session:
            records = session.scalars(old).all()
            return sum(_removed(record, self._uploads.folder / record.id, now) for record in records)

    def _unknown(self, folder: Path, before: float) -> int:
        """Remove files that no record tells of: those of a server that was killed."""
        with self._database.reading() as session:
            uploads = session.scalars(select(UploadRecord.id).where(UploadRecord.removed.is_(None)))
            results = session.scalars(
                select(JobRecord.id).where(JobRecord.state == "done", JobRecord.removed.is_(None))
            )
            known = {*uploads, *(self._jobs.path(job_id).name for job_id in results)}
        return sum(_gone(path, before) for path in folder.iterdir() if path.name not in known)

    def _broken_off(self, before: float) -> int:
        """Remove what Gradio leaves of uploads that did not come whole, and its empty files beside whole ones."""
        return sum(_gone(path, before) for path in self._sent.glob("tmp*"))


def _older(folder: Path, before: float) -> int:
    """Remove files that were last written before a time, and folders that are empty then."""
    gone = 0
    for inside, folders, files in os.walk(folder, topdown=False):  # what is in a folder before the folder
        gone += sum(_gone(Path(inside, name), before) for name in (*files, *folders))
    return gone


def _removed(record: JobRecord | UploadRecord, path: Path, now: float) -> bool:
    """Whether a record's file could be removed; written down then."""
    gone = _gone(path, math.inf) or not path.exists()
    if gone:
        record.removed = now
    return gone


def _gone(path: Path, before: float) -> bool:
    """Remove a file, or an empty folder, that was last written before a time; whether it was a file and is gone.

    One that cannot be removed, as on Windows while it is open, stays until the next sweep and stops no other.
    """
    try:
        if path.stat().st_mtime > before:
            return False
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
            return False
        path.unlink()
    except FileNotFoundError:  # Gradio or its client's request was faster
        return False
    except OSError as error:
        log.warning("%s cannot be removed; it is tried again in %.0f s (%s)", path, EVERY, error.strerror)
        return False
    return True
