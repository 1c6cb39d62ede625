"""Composition root: the objects that routes and the web page share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wav2lip.errors import InputError
from wav2lip.serve.db.database import Database
from wav2lip.serve.db.locks import lock_database
from wav2lip.serve.engines.registry import EngineRegistry
from wav2lip.serve.jobs.client_jobs import ClientJobs
from wav2lip.serve.jobs.inspection import MediaInspector
from wav2lip.serve.jobs.job import Job
from wav2lip.serve.jobs.model_pool import ModelPool
from wav2lip.serve.jobs.queue import JobQueue
from wav2lip.serve.jobs.retention import RetentionWorker
from wav2lip.serve.jobs.uploads import UploadStore
from wav2lip.serve.jobs.worker_pool import MAX_REPLACED, WorkerPool
from wav2lip.serve.metrics import JobMetrics, ServerMetrics
from wav2lip.serve.settings import Settings
from wav2lip.serve.storage import build_storage

LOCK = "lock"
MARKERS = ("wav2lip-data", "secret", "jobs.sqlite3", LOCK)  # the others are in folders of earlier versions
FOLDERS = ("uploads", "results", "page", "doctor", "incoming", "samples", "copies")

log = logging.getLogger(__name__)


@contextmanager
def exclusive_access(settings: Settings) -> Iterator[None]:
    """Lock the data folder and the database inside the block against other servers, unless they share a storage.

    Raises: InputError if another server uses them, or the data folder holds files of others.
    """
    lock = FileLock(settings.data / LOCK)
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        _claim(settings.data)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"--data={settings.data}: is used by another server or worker; give another folder") from error
    except OSError as error:
        raise InputError(f"--data={settings.data}: is not writable ({error.strerror}); give another folder") from error
    try:
        if settings.database is None:  # inside the data folder
            yield
        else:
            with lock_database(settings.database, settings.storage is not None):
                yield
    finally:
        lock.release()


def _claim(data: Path) -> None:
    """Mark a data folder as a server's, which deletes old files in FOLDERS. Raises: InputError for files of others."""
    if any((data / name).exists() for name in MARKERS):
        return
    for name in FOLDERS:
        folder = data / name
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(
                f"--data={data}: has a folder {name} with files that no server wrote, and a server deletes old files "
                "there; give an empty folder"
            )
    (data / MARKERS[0]).write_text("Data of a server of lip-sync jobs.\n", encoding="utf-8")


class Service:
    """Uploads, queue, models and threads of a server; no thread runs before `start`."""

    def __init__(self, settings: Settings):
        """Open the database and create folders. Raises: InputError if either cannot be used."""
        self.settings = settings
        self.on_stop: list[Callable[[], object]] = []  # called when the server stops
        settings.data.mkdir(parents=True, exist_ok=True)
        self.database = Database(settings.database_url)
        self.models = ModelPool(settings)
        self.engines = EngineRegistry(settings, self.models)
        self.inspector = MediaInspector(settings)
        self.storage = build_storage(settings, self.database.identity)
        self.uploads = UploadStore(settings, self.database, self.storage, self.inspector)
        self.queue = JobQueue(settings, self.database, self.storage)
        self.jobs = ClientJobs(settings, self.database, self.storage, self.queue, self.engines)
        self.metrics = ServerMetrics(self.engines.engines)
        self._workers = (
            None
            if settings.no_worker
            else WorkerPool(settings, self.database, self.storage, self.queue, self.engines, self._on_job_finish)
        )
        self._retention = RetentionWorker(settings, self.database, self.storage)

    def start(self) -> None:
        """Start all threads."""
        self.queue.start()
        self._retention.start()
        if self._workers is not None:
            self._workers.start()

    def stop(self) -> None:
        """Requeue running jobs, stop all threads and child processes, and close the database."""
        self.inspector.close()
        for callback in self.on_stop:
            callback()
        if self._workers is not None:
            self._workers.stop()
        self._retention.stop()
        self.queue.stop()
        self.database.close()

    @property
    def problem(self) -> str:
        """Reason why jobs may not run, in a few words; empty if all workers run."""
        return "" if self._workers is None else self._workers.problem

    def _on_job_finish(self, job: Job, state: str, seconds: float) -> None:
        self.metrics.record_job(job.engine, state, seconds)
        _log_job(job, state, seconds)


class WorkerService:
    """Queue, models and threads of a worker process, which has no HTTP API."""

    def __init__(self, settings: Settings):
        """Open the database and load the models. Raises: InputError if either cannot be used."""
        self.database = Database(settings.database_url)
        storage = build_storage(settings, self.database.identity)
        engines = EngineRegistry(settings, ModelPool(settings))
        engines.load_all()
        self._metrics, self._port = JobMetrics(engines.engines), settings.metrics_port
        self._queue = JobQueue(settings, self.database, storage)
        self._workers = WorkerPool(settings, self.database, storage, self._queue, engines, self._on_job_finish)

    def start(self) -> None:
        """Start all threads. Raises: InputError if the port of the metrics cannot be used."""
        if self._port is not None:
            self._metrics.listen(self._port)
        self._queue.start()
        self._workers.start()

    def stop(self) -> None:
        """Requeue running jobs, stop all threads and close the database."""
        self._workers.stop()
        self._queue.stop()
        self.database.close()

    @property
    def problem(self) -> str:
        """See `WorkerPool.problem`."""
        return self._workers.problem

    @property
    def is_exhausted(self) -> bool:
        """True if only a new process helps: too many threads hang in earlier jobs."""
        return self._workers.num_hanging >= MAX_REPLACED

    def _on_job_finish(self, job: Job, state: str, seconds: float) -> None:
        self._metrics.record_job(job.engine, state, seconds)
        _log_job(job, state, seconds)


def _log_job(job: Job, state: str, seconds: float) -> None:
    log.info("job %s (%s) of %s: %s after %.1f s", job.id, job.engine, job.client, state, seconds)
