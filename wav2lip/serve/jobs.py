"""The jobs of all clients: asked for, waited for, cancelled, fetched."""

from __future__ import annotations

import secrets
import threading
import time
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from wav2lip.errors import InputError
from wav2lip.serve.database import Database
from wav2lip.serve.generators import Generators
from wav2lip.serve.job import Given, Job, JobOptions, Progress
from wav2lip.serve.records import TOKEN, JobRecord, UploadRecord
from wav2lip.serve.refusals import Full, NotNow, NotThere, TooMany
from wav2lip.serve.settings import Settings
from wav2lip.serve.uploads import ID_BYTES, Upload, shown_name

LISTED = 100  # jobs of a client that are listed, the newest
POISONOUS = 3  # times a job may be running when the server dies


class Jobs:
    """The queue, as clients see it and as workers take from it. The database is the queue: what is there survives."""

    def __init__(self, settings: Settings, database: Database, generators: Generators):
        self.folder = settings.data.resolve() / "results"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._settings = settings
        self._database = database
        self._generators = generators
        self._progress: dict[str, Progress] = {}  # of running jobs, by id
        self._stopping: set[str] = set()  # ids of running jobs that are to be cancelled
        self.changed = threading.Condition()  # told of whatever clients or workers wait for

    # What clients ask ------------------------------------------------------------------------------------------------

    def submit(
        self, client: str, face: Upload, audio: Upload, model: str = "", options: JobOptions | None = None
    ) -> Job:  # fmt: skip
        """Put a job into the queue.

        face, audio: this client's. model: a checkpoint's name; the default one if empty.
        Raises: InputError, NotThere for another's files or model, TooMany, Full.
        """
        model, options = self._generators.check(model), options or JobOptions()
        face.require("face")
        audio.require("audio")
        with self._database.writing() as session:
            for upload in (face, audio):
                kept = session.get(UploadRecord, upload.id)
                if kept is None or kept.client != client or kept.removed is not None:
                    raise NotThere(f"{upload.name}: is not kept any more; upload it again")
            self._check_room(session, client)
            record = JobRecord(
                id=secrets.token_urlsafe(ID_BYTES), client=client, state="queued", model=model,
                options=options.as_json(), face_id=face.id, audio_id=audio.id, created=time.time(), without_face=[],
                begun=0,
            )  # fmt: skip
            session.add(record)
            session.flush()
            session.refresh(record)
            job = self._seen(session, record)
        self._tell()
        return job

    def get(self, client: str, job_id: str) -> Job:
        """A client's job. Raises: NotThere, for another's too."""
        with self._database.reading() as session:
            return self._seen(session, _owned(session, client, job_id))

    def list(self, client: str, most: int = LISTED) -> list[Job]:
        """A client's jobs, the newest first."""
        newest = select(JobRecord).where(JobRecord.client == client).order_by(JobRecord.number.desc()).limit(most)
        with self._database.reading() as session:
            return [self._seen(session, record) for record in session.scalars(newest)]

    def cancel(self, client: str, job_id: str) -> Job:
        """Stop a job that waits or runs; nothing changes for one that has ended. A running one ends within a frame.

        Raises: NotThere, for another's too.
        """
        with self._database.writing() as session:
            record = _owned(session, client, job_id)
            if record.state == "queued":
                record.state, record.finished = "cancelled", time.time()
            elif record.state == "running":
                record.stopping = True
                self._stopping.add(record.id)
            session.flush()
            job = self._seen(session, record)
        self._tell()
        return job

    def result(self, client: str, job_id: str) -> Path:
        """The video that was made. Raises: NotThere, for another's too; NotNow if there is none (yet, or any more)."""
        job = self.get(client, job_id)
        if not job.ended:
            raise NotNow(f"job {job.id} is {job.state}; ask again when it is done")
        if job.state != "done":
            raise NotNow(f"job {job.id} is {job.state} and has no result; ask for it anew")
        if not job.kept:
            raise NotNow(f"the result of job {job.id} was removed after {self._settings.keep_hours:g} h; make it anew")
        return self.path(job.id)

    def wait(self, client: str, job_id: str, timeout: float) -> Job:
        """A client's job once it has ended, or as it is after that many seconds. Raises: NotThere."""
        until = time.monotonic() + timeout
        while True:
            job = self.get(client, job_id)
            left = until - time.monotonic()
            if job.ended or left <= 0:
                return job
            with self.changed:
                self.changed.wait(min(left, 0.2))

    def remove(self, client: str, job_id: str) -> Job:
        """Stop a job and remove its result, now. Raises: NotThere, for another's too."""
        self.cancel(client, job_id)
        with self._database.writing() as session:
            record = _owned(session, client, job_id)
            if record.state == "done" and record.removed is None:
                self.path(record.id).unlink(missing_ok=True)
                record.removed = time.time()
            session.flush()
            return self._seen(session, record)

    def counts(self) -> dict[str, int]:
        """How many jobs of all clients wait and run."""
        with self._database.reading() as session:
            return {
                state: session.scalars(select(func.count()).where(JobRecord.state == state)).one()
                for state in ("queued", "running")
            }

    # What workers do -------------------------------------------------------------------------------------------------

    def path(self, job_id: str) -> Path:
        """Where the result of a job lies once it is done."""
        return self.folder / f"{job_id}.mp4"

    def take(self) -> Job | None:
        """The next job, now running; None if none may run. First come, first served, among clients with room.

        One whose options this version cannot use, as another version stored them, fails instead.
        """
        with self._database.writing() as session:
            running = dict(session.execute(_counts("running")).tuples().all())
            busy = [name for name, count in running.items() if count >= self._settings.running_per_client]
            first = select(JobRecord).where(JobRecord.state == "queued", JobRecord.client.not_in(busy))
            first = first.order_by(JobRecord.number).limit(1)
            while (record := session.scalars(first).first()) is not None:
                try:
                    JobOptions.from_json(record.options)
                    break
                except InputError as error:
                    record.state, record.finished, record.error = "failed", time.time(), str(error)
            else:
                return None
            record.state, record.started, record.begun = "running", time.time(), record.begun + 1
            self._progress[record.id] = Progress("loading")
            return self._seen(session, record)

    def report(self, job_id: str, progress: Progress) -> None:
        """Say how far a running job is."""
        self._progress[job_id] = progress

    def to_be_stopped(self, job_id: str) -> bool:
        """Whether its client wants a running job no more."""
        return job_id in self._stopping

    def end(self, job_id: str, state: str, **facts: object) -> str:
        """A running job ended; facts: columns of its record. Returns: how it ended.

        One that its client has cancelled is cancelled, though its last frame was made before that was heard.
        """
        with self._database.writing() as session:
            record = session.scalars(select(JobRecord).where(JobRecord.id == job_id)).one()
            if record.stopping:
                state, facts = "cancelled", {}
                self.path(job_id).unlink(missing_ok=True)
            record.state, record.finished = state, time.time()
            for column, fact in facts.items():
                setattr(record, column, fact)
        self._forget(job_id)
        return state

    def put_back(self, job_id: str) -> None:
        """A running job was stopped by no fault of its own: it waits where it was, unless it is wanted no more."""
        with self._database.writing() as session:
            record = session.scalars(select(JobRecord).where(JobRecord.id == job_id)).one()
            if record.stopping:
                record.state, record.finished = "cancelled", time.time()
            else:
                record.state, record.started, record.begun = "queued", None, record.begun - 1
        self._forget(job_id)

    def recover(self) -> int:
        """What was running when the server died waits again, unless it was cancelled, or ran then too often.

        Returns: how many wait.
        """
        with self._database.writing() as session:
            for record in session.scalars(select(JobRecord).where(JobRecord.state == "running")):
                if record.stopping:
                    record.state, record.finished = "cancelled", time.time()
                elif record.begun < POISONOUS:
                    record.state, record.started = "queued", None
                else:
                    record.state, record.finished = "failed", time.time()
                    record.error = f"the server ended {POISONOUS} times while this job ran; try it with other files"
            waiting = session.scalars(select(func.count()).where(JobRecord.state == "queued")).one()
        return waiting

    # ------------------------------------------------------------------------------------------------------------------

    def _check_room(self, session: Session, client: str) -> None:
        waiting = dict(session.execute(_counts("queued")).tuples().all())
        if waiting.get(client, 0) >= self._settings.queued_per_client:
            raise TooMany(f"{waiting[client]} of your jobs wait already; wait for one, or cancel one")
        if sum(waiting.values()) >= self._settings.queue_length:
            raise Full(f"{sum(waiting.values())} jobs wait already, which is all there may be; try again later")

    def _seen(self, session: Session, record: JobRecord) -> Job:
        position = None
        if record.state == "queued":
            before = select(func.count()).where(JobRecord.state == "queued", JobRecord.number <= record.number)
            position = session.scalars(before).one()
        progress = Progress()
        if record.state == "running":
            progress = self._progress.get(record.id, Progress("loading"))
        elif record.state == "done":
            progress = Progress("done", record.frames or 0, record.frames or 0)
        return Job(
            id=record.id, client=record.client, state=record.state, model=record.model,  # type: ignore[arg-type]
            options=JobOptions.shown(record.options), face=_given(record.face), audio=_given(record.audio),
            created=record.created, started=record.started, finished=record.finished, progress=progress,
            position=position, error=record.error,
            without_face=tuple((start, end) for start, end in record.without_face), frames=record.frames,
            fps=record.fps, checkpoint_sha256=record.checkpoint_sha256, result_sha256=record.result_sha256,
            result_size=record.result_size, kept=record.state == "done" and record.removed is None,
        )  # fmt: skip

    def _forget(self, job_id: str) -> None:
        self._progress.pop(job_id, None)
        self._stopping.discard(job_id)
        self._tell()

    def _tell(self) -> None:
        with self.changed:
            self.changed.notify_all()


def _counts(state: str):  # type: ignore[no-untyped-def]
    """How many jobs of each client are in a state."""
    return select(JobRecord.client, func.count()).where(JobRecord.state == state).group_by(JobRecord.client)


def _owned(session: Session, client: str, job_id: str) -> JobRecord:
    """Another client's job is told from one that never was by nobody."""
    known = job_id.isprintable() and len(job_id) <= TOKEN
    record = session.scalars(select(JobRecord).where(JobRecord.id == job_id)).first() if known else None
    if record is None or record.client != client:
        raise NotThere(f"there is no job {shown_name(job_id)}; give the id of one of yours")
    return record


def _given(record: UploadRecord) -> Given:
    return Given(record.id, record.name, record.sha256, record.still)
