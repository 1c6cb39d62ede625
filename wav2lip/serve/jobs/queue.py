"""Job queue, worker side: dequeue, report, renew, finish, requeue and recover. client_jobs.py is the client side.

The database is the queue, so jobs survive a restart, and several processes may share PostgreSQL. A run has a lease that
its worker renews; once it has expired, another worker takes the job. The outcome of a run counts only while it is the
job's current one.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import ColumnElement, func, or_, select, true, update
from sqlalchemy.orm import Session

from wav2lip.errors import InputError
from wav2lip.serve.db.database import Database
from wav2lip.serve.db.notifications import ChangeSignal, Listener, send
from wav2lip.serve.db.tables import MAX_NAME, JobEventRecord, JobInputRecord, JobRecord, UploadRecord
from wav2lip.serve.jobs.job import FINAL_STATES, OTHER_AUDIO, REFERENCE, Job, JobEvent, Progress, UploadRef
from wav2lip.serve.jobs.options import parse_job_options, parse_stored_options
from wav2lip.serve.settings import Settings
from wav2lip.serve.storage import Storage

MAX_ATTEMPTS = 3  # runs of a job that end with a crash of their process
CHANGE = ""  # messages between the processes of a database
CANCEL = "cancel "  # with a job's id


class JobQueue:
    """FIFO queue of all clients' jobs."""

    def __init__(self, settings: Settings, database: Database, storage: Storage):
        self._storage = storage
        self.signal = ChangeSignal()  # a job was added or its state has changed
        self._running_per_client = settings.running_per_client
        self._lease_s = settings.lease_seconds
        self._database = database
        self._worker = f"{socket.gethostname()}:{os.getpid()}"[:MAX_NAME]
        self._progress: dict[tuple[str, int], Progress] = {}  # runs in this process, by job's id and number
        self._cancelled: set[tuple[str, int]] = set()
        self._listener = Listener(database, self._receive, self.signal.notify) if database.is_shared else None

    def start(self) -> None:
        """Receive changes and cancellations of other processes."""
        if self._listener is not None:
            self._listener.start()

    def stop(self) -> None:
        """Stop receiving."""
        if self._listener is not None:
            self._listener.stop()

    @contextmanager
    def change(self) -> Iterator[Session]:
        """Open a writing session; at its end the workers of all processes look for a job."""
        with self._database.write_session() as session:
            yield session
            send(self._database, session, CHANGE)
        self.signal.notify()

    def dequeue(self) -> Job | None:
        """Mark the next job as running and return it; None if no client may run one.

        A job with options that another version has stored and this one does not support fails instead.
        """
        job = None
        try:
            with self._database.write_session() as session:
                job = self._start_next(session)
        except BaseException:
            if job is not None:
                self.forget(job)
            raise
        return job

    def _start_next(self, session: Session) -> Job | None:
        running = count_by_client(session, "running")
        busy = [client for client, count in running.items() if count >= self._running_per_client]
        queued = select(JobRecord).where(JobRecord.state == "queued", JobRecord.client.not_in(busy))
        queued = queued.order_by(JobRecord.number).limit(1)
        while (record := session.scalars(queued).first()) is not None:
            try:
                parse_job_options(record.options, record.engine, _reference(record))
                break
            except InputError as error:
                record.error = str(error)
                self.set_state(session, record, "failed")
        else:
            return None
        record.state, record.started, record.attempts = "running", time.time(), record.attempts + 1
        record.runs += 1
        record.lease_expires = self._database.now(session) + self._lease_s
        record.stage, record.frames_done, record.frames_total = None, 0, 0
        self.add_event(session, record, "started")
        job = self.snapshot(session, record)
        self._progress[job.id, job.run] = Progress("loading")  # before the commit, after which it can be cancelled
        return job

    def report(self, job: Job, progress: Progress) -> None:
        """Update the progress of a run in this process."""
        self._progress[job.id, job.run] = progress

    def renew(self, job: Job) -> bool:
        """Renew the lease of a run and store its progress; False if it is no longer the job's current run."""
        progress = self._progress.get((job.id, job.run), Progress("loading"))
        current = update(JobRecord).where(
            JobRecord.id == job.id, JobRecord.state == "running", JobRecord.runs == job.run
        )
        with self._database.update_session() as session:
            cancel_requested = session.scalars(
                current.values(
                    lease_expires=self._database.now(session) + self._lease_s, stage=progress.stage,
                    frames_done=progress.done, frames_total=progress.total,
                ).returning(JobRecord.cancel_requested)
            ).first()  # fmt: skip
        if cancel_requested:  # the notification was lost
            self.cancel_running(job.id)
        return cancel_requested is not None

    def cancel(self, session: Session, record: JobRecord) -> None:
        """Cancel a queued job, or a running one within a frame; a finished one is not changed."""
        if record.state == "queued":
            self.set_state(session, record, "cancelled")
        elif record.state == "running":
            record.cancel_requested = True
            self.cancel_running(record.id)
            send(self._database, session, CANCEL + record.id)

    def cancel_running(self, job_id: str) -> None:
        """Make `is_cancelled` true for a job, if it runs in this process."""
        self._cancelled.update(run for run in tuple(self._progress) if run[0] == job_id)

    def is_cancelled(self, job: Job) -> bool:
        """True if the client has cancelled the job of a run in this process."""
        return (job.id, job.run) in self._cancelled

    def finish(self, job: Job, state: str, **columns: object) -> str | None:
        """Store the outcome of a run of a job and return the job's final state.

        columns: values of its record. A job that was cancelled after its last frame still ends as cancelled. A run
        that is not the job's current one changes nothing and returns None.
        """
        with self.change() as session:
            record = _get_record(session, job.id)
            if not _is_current(record, job):
                is_stored = record.runs == job.run and record.state in FINAL_STATES  # by a call without an answer
                return record.state if is_stored else None
            if record.cancel_requested:
                state, columns = "cancelled", {}
            elif state == "done":
                record.result_name = result_name(job)
            for column, value in columns.items():
                setattr(record, column, value)
            self.set_state(session, record, state)
        if state == "cancelled":
            self._storage.delete(result_key(result_name(job)))
        self.forget(job)
        return state

    def requeue(self, job: Job) -> None:
        """Return a running job to its place in the queue without counting the attempt, unless it is cancelled."""
        with self.change() as session:
            record = _get_record(session, job.id)
            if not _is_current(record, job):
                return
            if record.cancel_requested:
                self.set_state(session, record, "cancelled")
            else:
                record.state, record.started, record.attempts = "queued", None, record.attempts - 1
                self.add_event(session, record, "requeued")
        self.forget(job)

    def recover(self) -> int:
        """Requeue the jobs whose process has died and return their number: those with an expired lease.

        Call it regularly with PostgreSQL, once at the start with another database: no second process uses it, so every
        running job is meant. Cancelled jobs end. A job fails after MAX_ATTEMPTS, so that one that crashes its process
        is not retried forever.
        """
        with self._database.read_session() as session:
            lost = select(JobRecord.id).where(JobRecord.state == "running", self._is_lost(session))
            if session.scalars(lost.limit(1)).first() is None:
                return 0
        requeued = 0
        with self.change() as session:
            lost_runs = select(JobRecord).where(JobRecord.state == "running", self._is_lost(session))
            lost_runs = lost_runs.with_for_update(of=JobRecord)  # a worker may be renewing its lease
            for record in session.scalars(lost_runs.order_by(JobRecord.number)):
                self.add_event(session, record, "lost")
                if record.cancel_requested:
                    self.set_state(session, record, "cancelled")
                elif record.attempts < MAX_ATTEMPTS:
                    record.state, record.started = "queued", None
                    requeued += 1
                else:
                    record.error = f"the server stopped during all {MAX_ATTEMPTS} attempts; try other files"
                    self.set_state(session, record, "failed")
        return requeued

    def _is_lost(self, session: Session) -> ColumnElement[bool]:
        """Return the condition of running jobs without a worker; workers renew their leases after an outage first."""
        if not self._database.is_shared:
            return true()
        if self._database.uptime_s(session) < self._lease_s:
            return ~true()
        return or_(JobRecord.lease_expires.is_(None), JobRecord.lease_expires < self._database.now(session))

    def counts(self) -> dict[str, int]:
        """Return the number of queued and running jobs of all clients."""
        with self._database.read_session() as session:
            return {
                state: session.scalars(select(func.count()).where(JobRecord.state == state)).one()
                for state in ("queued", "running")
            }

    def snapshot(self, session: Session, record: JobRecord) -> Job:
        """Return the current state of a job, with its position in the queue or its progress."""
        position = None
        if record.state == "queued":
            ahead = select(func.count()).where(JobRecord.state == "queued", JobRecord.number <= record.number)
            position = session.scalars(ahead).one()
        progress = Progress()
        if record.state == "running":
            stored = Progress(record.stage or "loading", record.frames_done, record.frames_total)
            progress = self._progress.get((record.id, record.runs), stored)
        elif record.state == "done":
            progress = Progress("done", record.frames or 0, record.frames or 0)
        reference = record.other_inputs.get(REFERENCE)
        return Job(
            id=record.id, client=record.client, state=record.state, engine=record.engine,  # type: ignore[arg-type]
            model=record.model,
            options=parse_stored_options(record.options, record.engine, _reference(record)),
            face=_upload_ref(record.face), audio=None if record.audio is None else _upload_ref(record.audio),
            other_audio=tuple(_upload_ref(other.upload) for other in _other_audio(record)),
            reference=None if reference is None else _upload_ref(reference.upload),
            created=record.created, run=record.runs, started=record.started, finished=record.finished,
            progress=progress,
            position=position, error=record.error,
            without_face=tuple((start, end) for start, end in record.without_face), frames=record.frames,
            fps=record.fps, checkpoint_sha256=record.checkpoint_sha256, result_sha256=record.result_sha256,
            result_size=record.result_size, has_result=record.state == "done" and record.removed is None,
        )  # fmt: skip

    def set_state(self, session: Session, record: JobRecord, state: str) -> None:
        """End a job in a final state."""
        record.state, record.finished, record.lease_expires = state, time.time(), None
        self.add_event(session, record, state)

    def add_event(self, session: Session, record: JobRecord, event: str) -> None:
        """Add a change to the history of a job."""
        session.add(
            JobEventRecord(
                job_number=record.number, time=time.time(), event=event, run=record.runs, worker=self._worker
            )
        )

    def history(self, session: Session, job: JobRecord) -> tuple[JobEvent, ...]:
        """Return the changes of a job's state in their order."""
        events = select(JobEventRecord).where(JobEventRecord.job_number == job.number)
        records = session.scalars(events.order_by(JobEventRecord.number))
        return tuple(JobEvent(record.time, record.event, record.run) for record in records)

    def forget(self, job: Job) -> None:
        """Delete the state in memory of a run that has ended in this process."""
        self._progress.pop((job.id, job.run), None)
        self._cancelled.discard((job.id, job.run))

    def _receive(self, message: str) -> None:
        if message.startswith(CANCEL):
            self.cancel_running(message.removeprefix(CANCEL))
        else:
            self.signal.notify()


def result_name(job: Job) -> str:
    """Return the name of the result of a job's current run; a late run cannot overwrite the result of another."""
    return f"{job.id}.mp4" if job.run == 1 else f"{job.id}.{job.run}.mp4"


def result_key(name: str) -> str:
    """Return the key of a result in the storage."""
    return f"results/{name}"


def count_by_client(session: Session, state: str) -> dict[str, int]:
    """Return the number of jobs in a state of each client that has any."""
    counts = select(JobRecord.client, func.count()).where(JobRecord.state == state).group_by(JobRecord.client)
    return {client: count for client, count in session.execute(counts)}


def _get_record(session: Session, job_id: str) -> JobRecord:
    return session.scalars(select(JobRecord).where(JobRecord.id == job_id)).one()


def _is_current(record: JobRecord, job: Job) -> bool:
    """Return True if a run is the current one of its job: another worker may have taken it over."""
    return record.state == "running" and record.runs == job.run


def _reference(record: JobRecord) -> Path | None:
    """Return the reference video of a job by its id, which the worker replaces by its path."""
    return Path(record.other_inputs[REFERENCE].upload_id) if REFERENCE in record.other_inputs else None


def _other_audio(record: JobRecord) -> list[JobInputRecord]:
    """Return the audio of the second selected face, and so on."""
    numbers = sorted(int(role.removeprefix(OTHER_AUDIO)) for role in record.other_inputs if role != REFERENCE)
    return [record.other_inputs[f"{OTHER_AUDIO}{number}"] for number in numbers]


def _upload_ref(record: UploadRecord) -> UploadRef:
    return UploadRef(record.id, record.name, record.sha256, record.still)
