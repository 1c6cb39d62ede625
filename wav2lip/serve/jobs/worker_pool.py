"""Worker threads that run jobs, and the watchdog that replaces them."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from wav2lip.errors import USER_ERRORS
from wav2lip.hashing import hash_file
from wav2lip.lipsync import Cancelled, Result
from wav2lip.serve.db.database import OUTAGES, Database
from wav2lip.serve.engines.interface import JobFiles
from wav2lip.serve.engines.registry import EngineRegistry
from wav2lip.serve.errors import StorageError
from wav2lip.serve.jobs.job import Job, Progress
from wav2lip.serve.jobs.queue import JobQueue, result_key, result_name
from wav2lip.serve.jobs.uploads import upload_key
from wav2lip.serve.settings import Settings
from wav2lip.serve.storage import Storage

T = TypeVar("T")

RETRY_INTERVAL_S = 5.0  # the database or the storage is unreachable
WATCH_INTERVAL_S = 5.0  # interval of the watchdog
POLL_INTERVAL_S = 5.0  # idle workers; a notification wakes them earlier
RENEWALS_PER_LEASE = 6
MAX_RENEWAL_INTERVAL_S = 1.0  # progress is stored with the lease, for other processes
STOP_TIMEOUT_S = 8.0  # a decoder that does not return within it is left to the end of the process
MAX_REPLACED = 3  # threads that hang in a job at once; more need a new process
INTERNAL_ERROR = "internal error; see the traceback with the job's id in the server's log"

log = logging.getLogger(__name__)


class Worker(threading.Thread):
    """Thread that runs one job after the other, and the time of its last sign of progress."""

    def __init__(self, name: str, work: Callable[[Worker], None]):
        super().__init__(name=name, daemon=True)  # daemon: a decoder that hangs must not keep the process alive
        self._work = work
        self.job: Job | None = None
        self.lost_job: Job | None = None  # its lease has expired and another worker may run it
        self.started = self.progressed = time.monotonic()  # start and last progress of the job
        self.is_replaced = False
        self._job_lock = threading.Lock()

    def take_job(self) -> Job | None:
        """Return the job and leave none, so that only one thread reports its end."""
        with self._job_lock:
            job, self.job = self.job, None
        return job

    def run(self) -> None:
        """Work; an error that `WorkerPool._run` does not expect ends the thread, which the watchdog replaces."""
        try:
            self._work(self)
        except Exception:
            log.exception("%s ended", self.name)

    @property
    def idle_s(self) -> float:
        """Seconds since the last progress of a running job; 0 without a job."""
        return 0.0 if self.job is None else time.monotonic() - self.progressed


class WorkerPool:
    """Threads that run queued jobs until they are stopped; one that hangs or ends is replaced."""

    def __init__(
        self, settings: Settings, database: Database, storage: Storage, queue: JobQueue, engines: EngineRegistry,
        on_finish: Callable[[Job, str, float], object],
    ):  # fmt: skip
        """on_finish: called with each finished job, its state and its run time in seconds."""
        self._settings, self._is_shared = settings, database.is_shared
        self._storage, self._queue, self._engines = storage, queue, engines
        self._on_finish = on_finish
        self._stop = threading.Event()
        self._workers = [self._create(number) for number in range(settings.workers)]
        self._replaced: list[Worker] = []
        self._watchdog = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._renewal = threading.Thread(target=self._renew_leases, name="renewal", daemon=True)

    def start(self) -> None:
        """Requeue the jobs of workers that died, and start the threads."""
        self._recover()
        for worker in self._workers:
            worker.start()
        self._watchdog.start()
        if self._is_shared:
            self._renewal.start()

    def stop(self) -> None:
        """Requeue running jobs and join the threads; those that do not end in time are abandoned."""
        self._stop.set()
        self._queue.signal.notify()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for thread in (*self._workers, self._watchdog, self._renewal):
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        for worker in self._workers:
            if (job := worker.job) is not None and worker.is_alive():
                log.warning("job %s does not react to the stop of the server; it is re-queued", job.id)
                worker.is_replaced = True
                self._try_once(lambda job=job: self._queue.requeue(job))  # type: ignore[misc]

    @property
    def problem(self) -> str:
        """Reason why jobs may not run, in a few words; empty if all workers run."""
        if not all(worker.is_alive() for worker in self._workers):
            return "no worker is running"
        if any(worker.idle_s > self._settings.stall_seconds for worker in self._workers):
            return "a worker makes no progress"
        return "workers hang in earlier jobs" if self.num_hanging >= MAX_REPLACED else ""

    @property
    def num_hanging(self) -> int:
        """Number of replaced threads that still hang."""
        return sum(worker.is_alive() for worker in self._replaced)

    def _create(self, number: int) -> Worker:
        return Worker(f"worker-{number}", self._work)

    def _watch(self) -> None:
        while not self._stop.wait(WATCH_INTERVAL_S):
            self.replace_stalled()
            self._storage.delete_old_copies()
            if self._is_shared:
                self._recover()

    def _recover(self) -> None:
        try:
            requeued = self._queue.recover()
        except SQLAlchemyError:
            log.exception("the jobs of workers that died cannot be requeued now")
        else:
            if requeued:
                log.info("re-queued %d unfinished jobs", requeued)

    def _renew_leases(self) -> None:
        interval_s = min(MAX_RENEWAL_INTERVAL_S, self._settings.lease_seconds / RENEWALS_PER_LEASE)
        while not self._stop.wait(interval_s):
            for worker in self._workers:
                if (job := worker.job) is not None and job is not worker.lost_job:
                    self._renew(worker, job)

    def _renew(self, worker: Worker, job: Job) -> None:
        """Renew the lease of a job, or cancel its run if another worker may have taken it."""
        try:
            is_current = self._queue.renew(job)
        except SQLAlchemyError as error:
            log.warning("the lease of job %s cannot be renewed now (%s)", job.id, str(error).splitlines()[0])
            return
        if not is_current and worker.job is job:
            log.warning("the lease of job %s has expired; its run is cancelled", job.id)
            worker.lost_job = job

    def replace_stalled(self) -> None:
        """Replace workers that have ended or whose job makes no progress."""
        limit = self._settings.stall_seconds
        for number, worker in enumerate(self._workers):
            if not worker.is_alive():
                self._replace(number, worker, INTERNAL_ERROR)
            elif worker.idle_s > limit:
                self._replace(number, worker, f"the job made no progress for {limit:g} s; try other files")

    def _replace(self, number: int, worker: Worker, error: str) -> None:
        """Start another thread and end the job of this one, which may hang forever."""
        worker.is_replaced = True
        job = worker.take_job()
        log.error("%s ended or hangs in job %s; replaced", worker.name, job and job.id)
        self._replaced = [*(other for other in self._replaced if other.is_alive()), worker]
        successor = self._create(number)
        successor.start()
        self._workers[number] = successor
        if job is None:
            return
        final_state = self._try_once(lambda: self._queue.finish(job, "failed", error=error))
        if final_state is not None:
            self._on_finish(job, final_state, time.monotonic() - worker.started)

    def _try_once(self, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except SQLAlchemyError:  # the next start of the server, or the end of the lease, ends or requeues the job
            log.exception("the state of a job cannot be stored")
            return None

    def _work(self, worker: Worker) -> None:
        while not self._stop.is_set() and not worker.is_replaced:
            version = self._queue.signal.version
            job = self._retry(self._queue.dequeue)
            if job is not None:
                self._run(worker, job)
            elif not self._stop.is_set():
                self._queue.signal.wait(version, POLL_INTERVAL_S)

    def _retry(self, call: Callable[[], T]) -> T | None:
        """Call the database until it is reachable; None if the server stops (another worker requeues its jobs)."""
        while True:
            try:
                return call()
            except OUTAGES:
                log.exception("the database is unreachable; retrying in %.0f s", RETRY_INTERVAL_S)
            if self._stop.wait(RETRY_INTERVAL_S):
                return None

    def _run(self, worker: Worker, job: Job) -> None:
        """Run a job and store its result or error; no failure of the job ends the worker."""
        worker.started = worker.progressed = time.monotonic()
        worker.job = job
        try:
            self._run_job(worker, job)
        finally:
            self._queue.forget(job)

    def _run_job(self, worker: Worker, job: Job) -> None:
        deadline = worker.started + self._settings.job_seconds
        state, columns = "failed", {}

        def is_cancelled() -> bool:
            worker.progressed = time.monotonic()
            is_ended = worker.is_replaced or worker.lost_job is job or self._stop.is_set()
            return is_ended or self._queue.is_cancelled(job) or worker.progressed > deadline

        try:
            state, columns = "done", self._generate(job, is_cancelled)
        except Cancelled:
            if worker.is_replaced:
                return
            if worker.lost_job is job:
                worker.job = None
                return
            if self._queue.is_cancelled(job):
                state = "cancelled"
            elif self._stop.is_set():
                self._retry(lambda: self._queue.requeue(job))
                worker.job = None
                return
            else:
                limit = self._settings.job_seconds
                columns = {"error": f"the job exceeded the limit of {limit:g} s; try shorter files"}
        except StorageError:  # logged; not an error of the job
            log.warning("job %s is re-queued in %.0f s, as the storage does not respond", job.id, RETRY_INTERVAL_S)
            self._stop.wait(RETRY_INTERVAL_S)
            if not worker.is_replaced:
                self._retry(lambda: self._queue.requeue(job))
                worker.job = None
            return
        except USER_ERRORS as error:
            columns = {"error": self._redact_paths(job, str(error))}
        except Exception:
            log.exception("job %s failed with an internal error", job.id)
            columns = {"error": INTERNAL_ERROR}
        if worker.is_replaced:
            return
        final_state = self._retry(lambda: self._queue.finish(job, state, **columns))
        if worker.take_job() is not None and final_state is not None:
            self._on_finish(job, final_state, time.monotonic() - worker.started)

    def _generate(self, job: Job, is_cancelled: Callable[[], bool]) -> dict[str, object]:
        """Generate the result; returns the columns of the job's record."""
        face = self._storage.fetch(upload_key(job.face.id))
        uploads = [upload for upload in (job.audio, *job.other_audio) if upload is not None]
        audio = [self._storage.fetch(upload_key(upload.id)) for upload in uploads]
        reference = None if job.reference is None else self._storage.fetch(upload_key(job.reference.id))
        key = result_key(result_name(job))
        generated = self._engines.get(job.engine).run(
            job, JobFiles(face, audio, reference, self._storage.path(key)),
            lambda stage, done, total: self._queue.report(job, Progress(stage, done, total)), is_cancelled,
        )  # fmt: skip
        columns = _result_columns(generated.result) | {"checkpoint_sha256": generated.checkpoint_sha256}
        self._storage.save(key)
        return columns

    def _redact_paths(self, job: Job, message: str) -> str:
        """Replace paths on the server by the client's file names, or if they are temporary, by "the file"."""
        for upload in job.inputs:
            key = upload_key(upload.id)
            message = message.replace(str(self._storage.path(key)), upload.name).replace(key, upload.name)
        message = message.replace(str(self._storage.path(result_key(result_name(job)))), "the result")
        message = self._engines.redact(message)
        folders = {self._storage.folder, self._settings.data}
        return re.sub("|".join(re.escape(str(folder)) for folder in folders) + r"[^\s:;,')\]\"]*", "the file", message)


def _result_columns(result: Result) -> dict[str, object]:
    return {
        "frames": result.frames, "fps": float(result.fps), "without_face": [list(span) for span in result.without_face],
        "result_sha256": hash_file(result.outfile), "result_size": result.outfile.stat().st_size,
    }  # fmt: skip
