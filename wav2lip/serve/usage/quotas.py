"""Quotas of clients per day in UTC: jobs, seconds of video and uploaded bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from wav2lip.errors import InputError
from wav2lip.serve.db.database import Database
from wav2lip.serve.db.tables import MAX_NAME, ClientRecord, JobRecord, UploadRecord, today
from wav2lip.serve.errors import RateLimited
from wav2lip.serve.settings import MIB

REMEDY = "try again tomorrow (UTC), or ask the operator of the server for more"


@dataclass(frozen=True)
class Quota:
    """Limits of a client per day; None: no limit."""

    jobs: int | None = None
    video_seconds: float | None = None
    upload_mib: int | None = None

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if value is not None and not value >= 0:  # also rejects NaN
                raise InputError(f"--{limit.name}={value}: must be at least 0; omit it for no limit")


def set_quota(database: Database, client: str, quota: Quota) -> None:
    """Set the limits of a client, which may be unknown yet. Raises: InputError for an impossible name."""
    if not client or not client.isprintable() or len(client) > MAX_NAME:
        raise InputError(f"NAME={client[:MAX_NAME]!r}: must be a printable name of at most {MAX_NAME} characters")
    with database.write_session() as session:
        session.merge(ClientRecord(name=client, **asdict(quota)))


def list_quotas(database: Database) -> dict[str, Quota]:
    """Return the limits of all clients that have any, sorted by name."""
    with database.read_session() as session:
        records = session.scalars(select(ClientRecord).order_by(ClientRecord.name))
        return {record.name: _quota(record) for record in records}


def check_job(session: Session, client: str, seconds: float) -> None:
    """Check that a client may submit a job whose video takes `seconds`.

    A queued or running job counts with the duration checked at its submission, a finished one with that of its video.
    Raises: RateLimited.
    """
    quota = _get_quota(session, client)
    mine = JobRecord.client == client, JobRecord.day == today()
    if quota.jobs is not None:
        count = session.scalars(select(func.count()).where(*mine)).one()
        if count >= quota.jobs:
            raise RateLimited(f"your {quota.jobs} jobs per day are used up; {REMEDY}")
    if quota.video_seconds is not None:
        finished = select(func.sum(JobRecord.frames / JobRecord.fps)).where(*mine, JobRecord.state == "done")
        unfinished = select(func.sum(JobRecord.seconds)).where(*mine, JobRecord.state.in_(("queued", "running")))
        used = sum(session.scalars(total).one() or 0.0 for total in (finished, unfinished))
        if used + seconds > quota.video_seconds:
            raise RateLimited(
                f"the job takes {seconds:.1f} s, but only {max(0.0, quota.video_seconds - used):.1f} s of video are "
                f"left of your {quota.video_seconds:g} s per day; shorten it, {REMEDY}"
            )


def check_upload(session: Session, client: str, size: int) -> None:
    """Check that a client may store a file of `size` bytes; deleted files count too. Raises: RateLimited."""
    quota = _get_quota(session, client)
    if quota.upload_mib is None:
        return
    mine = UploadRecord.client == client, UploadRecord.day == today()
    used = int(session.scalars(select(func.sum(UploadRecord.size)).where(*mine)).one() or 0)
    if used + size > quota.upload_mib * MIB:
        raise RateLimited(f"your {quota.upload_mib} MiB of uploads per day are used up; {REMEDY}")


def _get_quota(session: Session, client: str) -> Quota:
    record = session.get(ClientRecord, client)
    return Quota() if record is None else _quota(record)


def _quota(record: ClientRecord) -> Quota:
    return Quota(**{limit.name: getattr(record, limit.name) for limit in fields(Quota)})
