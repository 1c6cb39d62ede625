"""What the database keeps: of each upload and of each job, one row that outlives their files."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Float, ForeignKey, Integer, String, Text, false
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

NAME = 200  # characters of what people call a thing
TOKEN = 64  # characters of an id that cannot be guessed
SHA256 = 64  # hexadecimal digits


class Base(DeclarativeBase):
    """The tables; migrations/ has how they came to be."""


class UploadRecord(Base):
    """A file that a client gave."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(TOKEN), primary_key=True)  # and the name of the file
    client: Mapped[str] = mapped_column(String(NAME), index=True)
    name: Mapped[str] = mapped_column(String(NAME))  # as the client called it; only ever shown
    sha256: Mapped[str] = mapped_column(String(SHA256))
    size: Mapped[int] = mapped_column(BigInteger)  # bytes
    width: Mapped[int | None]  # pixels, of a picture or video
    height: Mapped[int | None]
    still: Mapped[bool]  # a picture
    seconds: Mapped[float | None] = mapped_column(Float)  # of sound
    created: Mapped[float] = mapped_column(Float)  # seconds since 1970, as all times here
    removed: Mapped[float | None] = mapped_column(Float)  # when the file was


class JobRecord(Base):
    """A result that a client asked for, and what became of it."""

    __tablename__ = "jobs"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)  # order of the queue
    id: Mapped[str] = mapped_column(String(TOKEN), unique=True)
    client: Mapped[str] = mapped_column(String(NAME), index=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    model: Mapped[str] = mapped_column(String(NAME))
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    face_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"))
    audio_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"))
    checkpoint_sha256: Mapped[str | None] = mapped_column(String(SHA256))  # of the weights that made the result
    created: Mapped[float] = mapped_column(Float)
    started: Mapped[float | None] = mapped_column(Float)
    finished: Mapped[float | None] = mapped_column(Float)
    begun: Mapped[int] = mapped_column(Integer, default=0, server_default="0")  # times, but for orderly stops
    stopping: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())  # unwanted while it runs
    error: Mapped[str | None] = mapped_column(Text)
    without_face: Mapped[list[Any]] = mapped_column(JSON)  # spans of seconds
    frames: Mapped[int | None]
    fps: Mapped[float | None] = mapped_column(Float)
    result_sha256: Mapped[str | None] = mapped_column(String(SHA256))
    result_size: Mapped[int | None] = mapped_column(BigInteger)  # bytes
    removed: Mapped[float | None] = mapped_column(Float)  # when the result was

    face: Mapped[UploadRecord] = relationship(foreign_keys=[face_id], lazy="joined", innerjoin=True)
    audio: Mapped[UploadRecord] = relationship(foreign_keys=[audio_id], lazy="joined", innerjoin=True)
