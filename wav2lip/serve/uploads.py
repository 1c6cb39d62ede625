"""Files that clients give: counted as they come, looked into, and kept under names made here."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Literal

from sqlalchemy import func, or_, select

from wav2lip.errors import InputError
from wav2lip.serve.contents import Contents, Limits, look_into
from wav2lip.serve.database import Database
from wav2lip.serve.records import NAME, JobRecord, UploadRecord
from wav2lip.serve.refusals import Full, NotNow, NotThere, TooLarge
from wav2lip.serve.settings import MIB, Settings

Kind = Literal["face", "audio", "any"]  # what a file is to be used as

BLOCK = 1 << 20  # bytes read at a time
ID_BYTES = 24  # of randomness in an id
PARTIAL = ".partial"  # ending of a file that is not whole yet


@dataclass(frozen=True)
class Upload:
    """A file that a client gave and that was looked into."""

    id: str
    client: str
    name: str  # the client's for it; to be shown, never to be opened
    path: Path
    sha256: str
    size: int  # bytes
    width: int | None  # pixels; None: no picture and no video
    height: int | None
    still: bool  # a picture
    seconds: float | None  # of sound; None: none
    created: float  # seconds since 1970

    def require(self, kind: Kind) -> Upload:
        """Itself. Raises: InputError if it cannot be used as that."""
        if kind == "face" and self.width is None:
            raise InputError(f"{self.name}: has no pictures; give a video or a picture with a face")
        if kind == "audio" and not self.seconds:
            raise InputError(f"{self.name}: has no sound; give a file with sound")
        return self


class Uploads:
    """The files of all clients."""

    def __init__(self, settings: Settings, database: Database):
        data = settings.data.resolve()
        self.folder = data / "uploads"
        self._unrecorded = [data / name for name in ("page", "doctor", "coming")]  # what else fills the disk
        self._database = database
        self._largest = settings.upload_mib * MIB
        self._room = settings.disk_mib * MIB
        self._limits = Limits(settings.media_seconds, settings.frame_pixels)
        self._coming = 0  # bytes of files that are not recorded yet
        self._counting = threading.Lock()
        self.folder.mkdir(parents=True, exist_ok=True)

    def take(self, client: str, source: BinaryIO | str | PathLike[str], name: str, kind: Kind = "any") -> Upload:
        """Keep a copy of a client's file.

        source: a stream, read from where it stands, or a file. name: what the client calls it. kind: what it must be.
        Raises: TooLarge, Full, or InputError if it is not what it must be; then nothing is kept.
        """
        name = shown_name(name)
        upload_id = secrets.token_urlsafe(ID_BYTES)
        path, partial = self.folder / upload_id, self.folder / (upload_id + PARTIAL)
        try:
            with self._counted() as count:
                if isinstance(source, str | PathLike):
                    with open(source, "rb") as opened:
                        sha256, size = self._copy(opened, partial, name, count)
                else:
                    sha256, size = self._copy(source, partial, name, count)
                contents = look_into(partial, name, self._limits)
                upload = _upload(upload_id, client, name, path, sha256, size, contents).require(kind)
                partial.rename(path)
                with self._database.writing() as session:
                    session.add(UploadRecord(**{key: getattr(upload, key) for key in _COLUMNS}))
        except BaseException:
            partial.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            raise
        return upload

    @contextmanager
    def together(self) -> Iterator[Callable[..., Upload]]:
        """Gives `take`; what it took is removed again where the block raises, as when the second file is none.

        What a job needs by then stays with that job.
        """
        taken: list[Upload] = []

        def take(client: str, source: BinaryIO | str | PathLike[str], name: str, kind: Kind = "any") -> Upload:
            taken.append(self.take(client, source, name, kind))
            return taken[-1]

        try:
            yield take
        except BaseException:
            for upload in taken:
                with suppress(NotNow, NotThere):
                    self.remove(upload.client, upload.id)
            raise

    def get(self, client: str, upload_id: str) -> Upload:
        """A client's file. Raises: NotThere if it is not there any more, or another's."""
        with self._database.reading() as session:
            record = session.get(UploadRecord, upload_id[:NAME]) if upload_id.isprintable() else None
            if record is None or record.client != client or record.removed is not None:
                raise NotThere(f"there is no upload {shown_name(upload_id)}; give the id of one of yours that is kept")
            return self.of(record)

    def remove(self, client: str, upload_id: str) -> None:
        """Remove a client's file, now. Raises: NotThere, for another's too; NotNow while a job needs it."""
        upload = self.get(client, upload_id)
        needed = select(JobRecord.number).where(
            JobRecord.state.in_(("queued", "running")),
            or_(JobRecord.face_id == upload.id, JobRecord.audio_id == upload.id),
        )
        with self._database.writing() as session:
            if session.scalars(needed.limit(1)).first() is not None:
                raise NotNow(f"{upload.name}: is needed by a job of yours; cancel that first, or wait for it")
            upload.path.unlink(missing_ok=True)
            session.get_one(UploadRecord, upload.id).removed = time.time()

    def path(self, upload_id: str) -> Path:
        """Where the file of an upload lies while it is kept."""
        return self.folder / upload_id

    def of(self, record: UploadRecord) -> Upload:
        """What a row says, with where its file lies."""
        return Upload(path=self.path(record.id), **{key: getattr(record, key) for key in _COLUMNS})

    def kept(self) -> int:
        """Bytes of all files and results that are kept, with what the page was sent and shows."""
        with self._database.reading() as session:
            uploads = select(func.coalesce(func.sum(UploadRecord.size), 0)).where(UploadRecord.removed.is_(None))
            results = select(func.coalesce(func.sum(JobRecord.result_size), 0)).where(JobRecord.removed.is_(None))
            recorded = sum(int(session.scalars(kept).one() or 0) for kept in (uploads, results))
        return recorded + sum(_size_of(folder) for folder in self._unrecorded)

    @contextmanager
    def _counted(self) -> Iterator[list[int]]:
        """The bytes of one file that is coming, as a list of one number, counted with those of all others."""
        count = [0]
        try:
            yield count
        finally:
            with self._counting:
                self._coming -= count[0]

    def _copy(self, source: BinaryIO, path: Path, name: str, count: list[int]) -> tuple[str, int]:
        """Copy a stream to a file; returns its SHA-256 and its size in bytes."""
        digest = hashlib.sha256()
        kept = self.kept()
        with path.open("xb") as file:
            while block := source.read(BLOCK):
                with self._counting:
                    self._coming += len(block)
                count[0] += len(block)
                if count[0] > self._largest:
                    raise TooLarge(f"{name}: is larger than {self._largest // MIB} MiB; give a smaller file")
                if kept + self._coming > self._room or shutil.disk_usage(self.folder).free < BLOCK:
                    raise Full("the server has no room for more files at present; try again later")
                digest.update(block)
                file.write(block)
        if not count[0]:
            raise InputError(f"{name}: is empty; give a file with content")
        return digest.hexdigest(), count[0]


_COLUMNS = ("id", "client", "name", "sha256", "size", "width", "height", "still", "seconds", "created")


def _upload(
    upload_id: str, client: str, name: str, path: Path, sha256: str, size: int, contents: Contents
) -> Upload:  # fmt: skip
    return Upload(
        upload_id, client, name, path, sha256, size, contents.width, contents.height, contents.still,
        contents.seconds, time.time(),
    )  # fmt: skip


def _size_of(folder: Path) -> int:
    """Bytes of the files below a folder; none of one that goes meanwhile."""
    size = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.stat(Path(inside, name)).st_size
    return size


def shown_name(name: str) -> str:
    """A name that a client gave, as one line that can be stored and shown; no part of it is ever used as a path."""
    return "".join(sign for sign in name if sign.isprintable())[:NAME] or "the file"
