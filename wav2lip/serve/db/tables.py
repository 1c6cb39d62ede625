"""SQLAlchemy tables: one row per upload, job and change of a job, kept after their files are deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ColumnElement,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Text,
    false,
    or_,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    InstrumentedAttribute,
    Mapped,
    attribute_keyed_dict,
    mapped_column,
    relationship,
)

MAX_NAME = 200  # characters of a client, file or model name
MAX_ID = 64  # characters
SHA256_DIGITS = 64
MAX_STATE = 16  # characters of a state, an engine or a role
DAY_DIGITS = 10  # 2026-03-01


def today() -> str:
    """Return the current day in UTC."""
    return datetime.now(UTC).date().isoformat()


class Base(DeclarativeBase):
    """Metadata of all tables; migrations/ must produce the same schema."""


class UploadRecord(Base):
    """Uploaded file. Times are seconds since the epoch."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(MAX_ID), primary_key=True)  # also the file's name on disk
    client: Mapped[str] = mapped_column(String(MAX_NAME), index=True)
    name: Mapped[str] = mapped_column(String(MAX_NAME))  # the client's file name; for display only
    sha256: Mapped[str] = mapped_column(String(SHA256_DIGITS))
    size: Mapped[int] = mapped_column(BigInteger)  # bytes
    width: Mapped[int | None]  # pixels of an image or video
    height: Mapped[int | None]
    still: Mapped[bool]  # an image
    seconds: Mapped[float | None] = mapped_column(Float)  # duration of the audio
    video_seconds: Mapped[float | None] = mapped_column(Float)  # duration of a video; None: of an earlier version
    created: Mapped[float] = mapped_column(Float)
    day: Mapped[str] = mapped_column(String(DAY_DIGITS), default=today, server_default="")  # when it was created
    removed: Mapped[float | None] = mapped_column(Float)  # when the file was deleted


class JobRecord(Base):
    """Job and its outcome. Times are seconds since the epoch."""

    __tablename__ = "jobs"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)  # queue order
    id: Mapped[str] = mapped_column(String(MAX_ID), unique=True)
    client: Mapped[str] = mapped_column(String(MAX_NAME), index=True)
    state: Mapped[str] = mapped_column(String(MAX_STATE), index=True)
    engine: Mapped[str] = mapped_column(String(MAX_STATE), default="wav2lip", server_default="wav2lip")
    model: Mapped[str] = mapped_column(String(MAX_NAME))
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    face_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"))
    audio_id: Mapped[str | None] = mapped_column(ForeignKey("uploads.id"))
    seconds: Mapped[float] = mapped_column(Float, default=0.0, server_default="0")  # of the video until it is made
    checkpoint_sha256: Mapped[str | None] = mapped_column(String(SHA256_DIGITS))
    created: Mapped[float] = mapped_column(Float)
    day: Mapped[str] = mapped_column(String(DAY_DIGITS), default=today, server_default="")  # when it was created
    started: Mapped[float | None] = mapped_column(Float)
    finished: Mapped[float | None] = mapped_column(Float)
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")  # without those of orderly stops
    runs: Mapped[int] = mapped_column(Integer, default=0, server_default="0")  # number of the current or last run
    lease_expires: Mapped[float | None] = mapped_column(Float)  # of the run; its worker renews it
    stage: Mapped[str | None] = mapped_column(String(MAX_STATE))  # progress of the run, for other processes
    frames_done: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    frames_total: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())  # while running
    error: Mapped[str | None] = mapped_column(Text)
    without_face: Mapped[list[Any]] = mapped_column(JSON)  # spans in seconds
    frames: Mapped[int | None]
    fps: Mapped[float | None] = mapped_column(Float)
    result_name: Mapped[str | None] = mapped_column(String(100))  # of the file; differs between runs
    result_sha256: Mapped[str | None] = mapped_column(String(SHA256_DIGITS))
    result_size: Mapped[int | None] = mapped_column(BigInteger)  # bytes
    removed: Mapped[float | None] = mapped_column(Float)  # when the result was deleted

    face: Mapped[UploadRecord] = relationship(foreign_keys=[face_id], lazy="joined", innerjoin=True)
    audio: Mapped[UploadRecord | None] = relationship(foreign_keys=[audio_id], lazy="joined")
    other_inputs: Mapped[dict[str, JobInputRecord]] = relationship(
        lazy="selectin", cascade="all, delete-orphan", collection_class=attribute_keyed_dict("role")
    )


class JobInputRecord(Base):
    """Input of a job besides its face and audio."""

    __tablename__ = "job_inputs"

    job_number: Mapped[int] = mapped_column(ForeignKey("jobs.number"), primary_key=True)
    role: Mapped[str] = mapped_column(String(MAX_STATE), primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"), index=True)

    upload: Mapped[UploadRecord] = relationship(lazy="joined", innerjoin=True)


def has_input(upload_id: InstrumentedAttribute[str] | str) -> ColumnElement[bool]:
    """Build the condition that a job has an upload among its inputs."""
    return or_(
        JobRecord.face_id == upload_id,
        JobRecord.audio_id == upload_id,
        JobRecord.other_inputs.any(JobInputRecord.upload_id == upload_id),
    )


class JobEventRecord(Base):
    """Change of a job's state. Times are seconds since the epoch."""

    __tablename__ = "job_events"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    job_number: Mapped[int] = mapped_column(ForeignKey("jobs.number"), index=True)
    time: Mapped[float] = mapped_column(Float)
    event: Mapped[str] = mapped_column(String(MAX_STATE))  # queued, started, lost, requeued, or a final state
    run: Mapped[int]  # number of the run, from 1; 0: before the first
    worker: Mapped[str | None] = mapped_column(String(MAX_NAME))  # process that has stored the event


class SecretRecord(Base):
    """Secret, or identity of the database, that all servers of a PostgreSQL database share."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(String(MAX_ID), primary_key=True)
    value: Mapped[bytes] = mapped_column(LargeBinary)


class ClientRecord(Base):
    """Quota of a client per day; None: no limit."""

    __tablename__ = "clients"

    name: Mapped[str] = mapped_column(String(MAX_NAME), primary_key=True)
    jobs: Mapped[int | None]
    video_seconds: Mapped[float | None] = mapped_column(Float)
    upload_mib: Mapped[int | None]
