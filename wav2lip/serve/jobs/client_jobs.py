"""Job queue, client side: submit, list, cancel and fetch a client's own jobs. queue.py is the worker side."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from wav2lip.engines import EngineOptions
from wav2lip.serve.db.database import Database
from wav2lip.serve.db.tables import MAX_ID, JobInputRecord, JobRecord, UploadRecord
from wav2lip.serve.engines.registry import EngineRegistry
from wav2lip.serve.errors import Conflict, NotFound, RateLimited, Unavailable
from wav2lip.serve.jobs.job import OTHER_AUDIO, REFERENCE, Job, JobEvent
from wav2lip.serve.jobs.options import engine_name, job_values, parse_job_options
from wav2lip.serve.jobs.queue import JobQueue, count_by_client, result_key
from wav2lip.serve.jobs.uploads import ID_BYTES, MediaKind, Upload, sanitize_name
from wav2lip.serve.settings import Settings
from wav2lip.serve.storage import Storage
from wav2lip.serve.usage.quotas import check_job

MAX_LISTED_JOBS = 100
CONTENTS: Mapping[str, MediaKind] = {"face": "face", "audio": "audio", REFERENCE: "video"}  # by role


class ClientJobs:
    """Operations of clients on the queue; each sees only its own jobs."""

    def __init__(
        self, settings: Settings, database: Database, storage: Storage, queue: JobQueue, engines: EngineRegistry
    ):  # fmt: skip
        self._settings = settings
        self._database = database
        self._storage = storage
        self._queue = queue
        self._engines = engines

    def submit(
        self, client: str, face: Upload, audio: Upload | None, model: str = "", options: EngineOptions | None = None,
        reference: Upload | None = None, other_audio: Sequence[Upload] = (),
    ) -> Job:  # fmt: skip
        """Add a job to the queue of the engine that the options belong to.

        face, audio, reference: uploads of this client. model: the default one of the engine if empty.
        other_audio: that of the second selected face, and so on.
        Raises: InputError, NotFound for an unknown model or another client's upload, RateLimited, Unavailable.
        """
        options = options or parse_job_options({})
        engine = engine_name(options)
        model = self._engines.resolve_model(engine, model)
        self._engines.get(engine).check(options, (audio is not None) + len(other_audio))
        others = {f"{OTHER_AUDIO}{number}": upload for number, upload in enumerate(other_audio, start=2)}
        if reference is not None:
            others[REFERENCE] = reference
        required = [face.require("face"), *(upload.require("audio") for upload in (audio, *other_audio) if upload)]
        required += [reference.require("video")] if reference is not None else []
        with self._queue.change() as session:
            for upload in required:
                stored = session.get(UploadRecord, upload.id)
                if stored is None or stored.client != client or stored.removed is not None:
                    raise NotFound(f"{upload.name}: was deleted; upload it again")
            self._check_queue_limits(session, client)
            seconds = video_seconds([audio, *other_audio], getattr(options, "idle", None), reference)
            check_job(session, client, seconds)
            record = JobRecord(
                id=secrets.token_urlsafe(ID_BYTES), client=client, state="queued", engine=engine, model=model,
                options=job_values(options), face_id=face.id, audio_id=None if audio is None else audio.id,
                seconds=seconds, created=time.time(), without_face=[], attempts=0,
            )  # fmt: skip
            for role, upload in others.items():
                record.other_inputs[role] = JobInputRecord(role=role, upload_id=upload.id)
            session.add(record)
            session.flush()
            session.refresh(record)
            self._queue.add_event(session, record, "queued")
            return self._queue.snapshot(session, record)

    def get(self, client: str, job_id: str) -> Job:
        """Return a job. Raises: NotFound, also for another client's job."""
        with self._database.read_session() as session:
            return self._queue.snapshot(session, _get_own_record(session, client, job_id))

    def history(self, client: str, job_id: str) -> tuple[JobEvent, ...]:
        """Return the changes of a job's state in their order. Raises: NotFound, also for another client's job."""
        with self._database.read_session() as session:
            return self._queue.history(session, _get_own_record(session, client, job_id))

    def list(self, client: str, limit: int = MAX_LISTED_JOBS) -> list[Job]:
        """Return a client's jobs, the newest first."""
        newest = select(JobRecord).where(JobRecord.client == client).order_by(JobRecord.number.desc()).limit(limit)
        with self._database.read_session() as session:
            return [self._queue.snapshot(session, record) for record in session.scalars(newest)]

    def cancel(self, client: str, job_id: str) -> Job:
        """Cancel a queued job, or a running one within a frame; a finished one is not changed.

        Raises: NotFound, also for another client's job.
        """
        with self._queue.change() as session:
            record = _get_own_record(session, client, job_id)
            self._queue.cancel(session, record)
            session.flush()
            return self._queue.snapshot(session, record)

    def result_path(self, client: str, job_id: str) -> Path:
        """Return a local copy of the video of a job.

        Raises: NotFound, also for another client's job; Conflict without a result.
        """
        with self._database.read_session() as session:
            record = _get_own_record(session, client, job_id)
            job = self._queue.snapshot(session, record)
        if not job.is_finished:
            raise Conflict(f"job {job.id} is {job.state}; retry when it is done")
        if job.state != "done":
            raise Conflict(f"job {job.id} is {job.state} and has no result; submit it again")
        if not job.has_result:
            hours = self._settings.keep_hours
            raise Conflict(f"the result of job {job.id} was deleted after {hours:g} h; submit the job again")
        assert record.result_name is not None
        return self._storage.fetch(result_key(record.result_name))

    def remove(self, client: str, job_id: str) -> Job:
        """Cancel a job and delete its result. Raises: NotFound, also for another client's job."""
        self.cancel(client, job_id)
        with self._database.write_session() as session:
            record = _get_own_record(session, client, job_id)
            name = record.result_name if record.state == "done" and record.removed is None else None
            if name is not None:
                record.removed = time.time()
            session.flush()
            job = self._queue.snapshot(session, record)
        if name is not None:
            self._storage.delete(result_key(name))
        return job

    def _check_queue_limits(self, session: Session, client: str) -> None:
        queued = count_by_client(session, "queued")
        if queued.get(client, 0) >= self._settings.queued_per_client:
            raise RateLimited(
                f"{queued[client]} of your jobs are queued, which is the limit; cancel one or wait until one starts"
            )
        if sum(queued.values()) >= self._settings.queue_length:
            raise Unavailable(f"the queue is full with {sum(queued.values())} jobs; try again later")


def video_seconds(audio: Sequence[Upload | None], idle: float | None, reference: Upload | None) -> float:
    """Return the duration of the video of a job: that of its audio, or without any the idle time or the reference's."""
    seconds = [upload.seconds or 0.0 for upload in audio if upload is not None]
    if not seconds and idle is None and reference is not None:
        return reference.video_seconds or reference.seconds or 0.0
    return max(seconds, default=idle or 0.0)


def _get_own_record(session: Session, client: str, job_id: str) -> JobRecord:
    """Return a client's record; raise NotFound for another client's job too, so that ids cannot be probed."""
    is_id = job_id.isprintable() and len(job_id) <= MAX_ID
    record = session.scalars(select(JobRecord).where(JobRecord.id == job_id)).first() if is_id else None
    if record is None or record.client != client:
        raise NotFound(f"job {sanitize_name(job_id)} does not exist; give the id of one of your jobs")
    return record
