"""Delete uploads and results past their retention period; keep their database rows."""

from __future__ import annotations

import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select

from wav2lip.serve.db.database import Database
from wav2lip.serve.db.tables import JobRecord, UploadRecord, has_input
from wav2lip.serve.jobs.queue import result_key
from wav2lip.serve.jobs.uploads import upload_key
from wav2lip.serve.settings import SECONDS_PER_HOUR, Settings
from wav2lip.serve.storage import FOLDERS, STORED_NAME, Storage

SWEEP_INTERVAL_S = 60.0
# Names in other folders than the storage's; files under other names are not the server's and never deleted.
TEMPORARY_NAME = re.compile(r"tmp[a-z0-9_]{8}")
EXAMINATION_NAME = re.compile(r"[0-9a-f]{16}")
PAGE_NAME = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}|[\w-]{32}", re.ASCII)  # Gradio's digests, and copies of results
DOCTOR_TIMEOUT_S = 600.0  # of the page's data doctor, which reads its clips meanwhile

log = logging.getLogger(__name__)


class RetentionWorker:
    """Thread that deletes expired and orphaned files."""

    def __init__(self, settings: Settings, database: Database, storage: Storage):
        self._retention_s = settings.keep_hours * SECONDS_PER_HOUR
        self._page_age_s = max(settings.upload_seconds, DOCTOR_TIMEOUT_S)
        self._orphan_age_s = max(settings.upload_seconds, settings.job_seconds)  # younger files may still be written
        data = settings.data.resolve()
        self._gradio_folder = data / "page"
        self._doctor_folder = data / "doctor"
        self._database, self._storage = database, storage
        self._first_seen: dict[Path | str, float] = {}  # monotonic times of files without a row
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention")

    def start(self) -> None:
        """Delete expired files and incomplete files of a killed server, then start the thread.

        Incomplete files may be those of another server if the database is shared; then they are deleted later.
        """
        self._try_sweep(orphan_age_s=None if self._database.is_shared else 0.0)
        self._thread.start()

    def stop(self) -> None:
        """Stop and join the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def sweep(self, now: float, orphan_age_s: float | None = None) -> int:
        """Delete expired files and return their number.

        now: seconds since the epoch. orphan_age_s: time for which a file without a row must have been a candidate
        before it is deleted; None: the time that an upload or job may take.
        """
        job_age_s, page_age_s = self._orphan_age_s, self._page_age_s
        if orphan_age_s is not None:
            job_age_s = page_age_s = orphan_age_s
        folders = [*_subfolders(self._gradio_folder, PAGE_NAME), *_subfolders(self._doctor_folder, EXAMINATION_NAME)]
        ages: dict[Path | str, float] = dict.fromkeys(self._find_orphans(), job_age_s)
        # Gradio leaves incomplete uploads, and empty files beside complete ones, under these names.
        ages |= {path: page_age_s for path in find_temporary(self._gradio_folder) if path.is_file()}
        for folder in folders:
            ages |= dict.fromkeys(_find_old_files(folder, now - self._retention_s), page_age_s)
        deleted = self._delete_results(now) + self._delete_uploads(now) + self._delete_candidates(ages)
        for folder in folders:
            _delete_empty_folders(folder, now - self._retention_s)
        self._storage.delete_old_copies()
        return deleted

    def _run(self) -> None:
        while not self._stop.wait(SWEEP_INTERVAL_S):
            self._try_sweep()

    def _try_sweep(self, orphan_age_s: float | None = None) -> None:
        try:
            deleted = self.sweep(time.time(), orphan_age_s)
        except Exception:  # a full disk, an unreachable database or storage may be temporary
            log.exception("cannot delete expired files; retrying in %.0f s", SWEEP_INTERVAL_S)
        else:
            if deleted:
                log.info("deleted %d expired files", deleted)

    def _delete_results(self, now: float) -> int:
        expired = select(JobRecord).where(
            JobRecord.state == "done", JobRecord.removed.is_(None), JobRecord.finished < now - self._retention_s
        )
        return self._delete_recorded(expired, lambda job: result_key(job.result_name), now)

    def _delete_uploads(self, now: float) -> int:
        unfinished_jobs = select(JobRecord.number).where(
            JobRecord.state.in_(("queued", "running")), has_input(UploadRecord.id)
        )
        expired = select(UploadRecord).where(
            UploadRecord.removed.is_(None), UploadRecord.created < now - self._retention_s, ~unfinished_jobs.exists()
        )
        return self._delete_recorded(expired, lambda upload: upload_key(upload.id), now)

    def _delete_recorded(self, expired: Select[Any], get_key: Callable[[Any], str], now: float) -> int:
        """Mark rows, then delete their files without blocking other writers; files that remain are unmarked."""
        with self._database.write_session() as session:
            records = session.scalars(expired).all()
            for record in records:
                record.removed = now
        remaining = [record for record in records if not self._storage.delete(get_key(record))]
        if remaining:
            with self._database.write_session() as session:
                for record in remaining:
                    session.merge(record).removed = None
        return len(records) - len(remaining)

    def _delete_candidates(self, ages: dict[Path | str, float]) -> int:
        """Delete files that are candidates for their age in seconds: the clock may leap while they are written.

        ages: of local files by path, and of those in the storage by key.
        """
        now = time.monotonic()
        self._first_seen = {file: self._first_seen.get(file, now) for file in ages}
        old = [file for file, seen in self._first_seen.items() if now - seen >= ages[file]]
        return sum(_delete(file, math.inf) if isinstance(file, Path) else self._storage.delete(file) for file in old)

    def _find_orphans(self) -> list[str]:
        """Return the keys of files without a row: incomplete ones, and those of a killed server."""
        keys = [f"{folder}/{name}" for folder in FOLDERS for name in self._storage.names(folder)]
        with self._database.read_session() as session:
            uploads = session.scalars(select(UploadRecord.id).where(UploadRecord.removed.is_(None)))
            results = select(JobRecord.result_name).where(JobRecord.state == "done", JobRecord.removed.is_(None))
            recorded = {upload_key(upload_id) for upload_id in uploads}
            recorded |= {result_key(name) for name in session.scalars(results) if name is not None}
        return [key for key in keys if key not in recorded and STORED_NAME.fullmatch(key.partition("/")[2])]


def find_temporary(folder: Path) -> list[Path]:
    """Return the files and folders in a folder that have names of Python's tempfile."""
    return [path for path in _list(folder) if TEMPORARY_NAME.fullmatch(path.name)]


def _subfolders(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    return [path for path in _list(folder) if pattern.fullmatch(path.name) and path.is_dir()]


def _list(folder: Path) -> list[Path]:
    """Return the content of a folder, nothing of a missing one."""
    return list(folder.iterdir()) if folder.is_dir() else []


def _find_old_files(folder: Path, before: float) -> list[Path]:
    """Return the files below a folder last modified before a time."""
    old = []
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # deleted by Gradio or a request meanwhile
                if Path(parent, name).stat().st_mtime < before:
                    old.append(Path(parent, name))
    return old


def _delete_empty_folders(folder: Path, before: float) -> None:
    """Delete a folder and those below it that are empty and were last modified before a time."""
    for parent, _, _ in os.walk(folder, topdown=False):
        _delete(Path(parent), before)


def _delete(path: Path, before: float) -> bool:
    """Delete a file, or an empty folder, last modified before a time; returns True for a deleted file.

    Files that cannot be deleted, e.g. open ones on Windows, are left for the next sweep.
    """
    try:
        if path.stat().st_mtime > before:
            return False
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
            return False
        path.unlink()
    except FileNotFoundError:  # deleted by Gradio or a request meanwhile
        return False
    except OSError as error:
        log.warning("%s: cannot be deleted (%s); retrying in %.0f s", path, error.strerror, SWEEP_INTERVAL_S)
        return False
    return True
