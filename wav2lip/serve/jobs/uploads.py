"""Upload store: copy, limit, validate and delete the files of clients."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from wav2lip.errors import InputError
from wav2lip.serve.db.database import Database
from wav2lip.serve.db.tables import MAX_ID, MAX_NAME, JobRecord, UploadRecord, has_input
from wav2lip.serve.errors import Conflict, NotFound, PayloadTooLarge, RateLimited, Unavailable
from wav2lip.serve.jobs.inspection import MediaInspector
from wav2lip.serve.settings import MIB, Settings
from wav2lip.serve.storage import Storage
from wav2lip.serve.usage.quotas import check_upload

MediaKind = Literal["face", "audio", "video", "any"]  # required content of an upload
Source = BinaryIO | str | PathLike[str]

BLOCK_BYTES = 1 << 20
ID_BYTES = 24  # random bytes in an id
PARTIAL = ".partial"  # suffix of incomplete files


@dataclass(frozen=True)
class Upload:
    """Valid uploaded file."""

    id: str
    client: str
    name: str  # the client's file name; for display only, never used as a path
    sha256: str
    size: int  # bytes
    width: int | None  # pixels; None: neither image nor video
    height: int | None
    still: bool  # an image
    seconds: float | None  # duration of the audio; None: no audio
    video_seconds: float | None  # duration of the video; None: no video, or unknown
    created: float  # seconds since the epoch

    def require(self, kind: MediaKind) -> Upload:
        """Return this upload. Raises: InputError if it has no such content."""
        if kind == "face" and self.width is None:
            raise InputError(f"{self.name}: has no video; give a video or an image with a face")
        if kind == "audio" and not self.seconds:
            raise InputError(f"{self.name}: has no audio; give a file with audio")
        if kind == "video" and (self.width is None or self.still):
            raise InputError(f"{self.name}: is not a video; give a video of a person")
        return self


class UploadStore:
    """Files of all clients in one folder, with a row each in the database."""

    def __init__(self, settings: Settings, database: Database, storage: Storage, inspector: MediaInspector):
        data = settings.data.resolve()
        self._storage = storage
        self.folder = storage.path("uploads")
        self._other_folders = [data / name for name in ("page", "doctor", "incoming")]  # count towards the disk limit
        self._database, self._inspector = database, inspector
        self._max_file_bytes = settings.upload_mib * MIB
        self._disk_bytes = settings.disk_mib * MIB
        self._client_bytes = settings.client_mib * MIB
        self._incoming: Counter[str] = Counter()  # bytes of each client's files without a row yet
        self._counter_lock = threading.Lock()

    def save(self, client: str, source: Source, name: str, kind: MediaKind = "any") -> Upload:
        """Copy and validate a client's file.

        source: a stream, read from its current position, or a path. name: the client's file name.
        Raises: PayloadTooLarge, RateLimited, Unavailable, or InputError for invalid content; no file remains.
        """
        name = sanitize_name(name)
        upload_id = secrets.token_urlsafe(ID_BYTES)
        path = self.path(upload_id)
        partial = path.with_name(upload_id + PARTIAL)
        try:
            with self._count_incoming(client) as add_bytes:
                sha256, size = self._copy(client, source, partial, name, add_bytes)
                media = self._inspector.inspect(client, partial, name)
                upload = Upload(
                    upload_id, client, name, sha256, size, **asdict(media), created=time.time()
                ).require(kind)  # fmt: skip
                os.replace(partial, path)
                self._storage.save(upload_key(upload_id))
                with self._database.write_session() as session:
                    self._check_recorded_bytes(session, client, name, size)
                    session.add(UploadRecord(**{column: getattr(upload, column) for column in _COLUMNS}))
        except BaseException:
            partial.unlink(missing_ok=True)
            self._storage.delete(upload_key(upload_id))
            raise
        return upload

    @contextmanager
    def transaction(self) -> Iterator[Callable[..., Upload]]:
        """Yield a `save` function whose uploads are deleted if the block raises, unless a job uses them."""
        uploads: list[Upload] = []

        def save(client: str, source: Source, name: str, kind: MediaKind = "any") -> Upload:
            uploads.append(self.save(client, source, name, kind))
            return uploads[-1]

        try:
            yield save
        except BaseException:
            for upload in uploads:
                with suppress(Conflict, NotFound):
                    self.remove(upload.client, upload.id)
            raise

    def get(self, client: str, upload_id: str) -> Upload:
        """Return a client's upload. Raises: NotFound if it was deleted or belongs to another client."""
        with self._database.read_session() as session:
            is_id = upload_id.isprintable() and len(upload_id) <= MAX_ID
            record = session.get(UploadRecord, upload_id) if is_id else None
            if record is None or record.client != client or record.removed is not None:
                raise NotFound(f"upload {sanitize_name(upload_id)} does not exist; give the id of one of your uploads")
            return Upload(**{column: getattr(record, column) for column in _COLUMNS})

    def remove(self, client: str, upload_id: str) -> None:
        """Delete a client's file. Raises: NotFound like `get`, Conflict while an unfinished job needs it."""
        upload = self.get(client, upload_id)
        jobs = select(JobRecord.number).where(JobRecord.state.in_(("queued", "running")), has_input(upload.id))
        with self._database.write_session() as session:
            if session.scalars(jobs.limit(1)).first() is not None:
                raise Conflict(f"{upload.name}: is used by an unfinished job; cancel the job or wait for it")
            session.get_one(UploadRecord, upload.id).removed = time.time()
        self._storage.delete(upload_key(upload.id))

    def path(self, upload_id: str) -> Path:
        """Return the local path of an upload's file or of its copy, which may be absent."""
        return self._storage.path(upload_key(upload_id))

    def fetch(self, upload: Upload) -> Path:
        """Return the local path of an upload's file, after making a copy if necessary."""
        return self._storage.fetch(upload_key(upload.id))

    def stored_bytes(self) -> int:
        """Return the disk space of all uploads, results and temporary files."""
        return self._recorded_bytes() + sum(_folder_bytes(folder) for folder in self._other_folders)

    def check_quota(self, client: str, other_bytes: int) -> None:
        """Raise RateLimited if a client has no space left. other_bytes: size of its files elsewhere."""
        if self._recorded_bytes(client) + self._incoming[client] + other_bytes >= self._client_bytes:
            limit = self._client_bytes // MIB
            raise RateLimited(f"your files take {limit} MiB, which is the limit; delete uploads or results first")

    def _recorded_bytes(self, client: str | None = None) -> int:
        """Return the size of the uploads and results of a client, or of all."""
        with self._database.read_session() as session:
            return _recorded_bytes(session, client)

    def _check_recorded_bytes(self, session: Session, client: str, name: str, size: int) -> None:
        """Raise if a file exceeds a limit together with those that other servers have recorded meanwhile."""
        check_upload(session, client, size)
        if _recorded_bytes(session, client) + size > self._client_bytes:
            raise self._too_many_bytes(name)
        if _recorded_bytes(session) + size > self._disk_bytes:
            raise Unavailable("the server's disk limit is reached; try again later")

    def _too_many_bytes(self, name: str) -> RateLimited:
        limit = self._client_bytes // MIB
        return RateLimited(f"{name}: your files would exceed {limit} MiB; delete uploads or results first")

    @contextmanager
    def _count_incoming(self, client: str) -> Iterator[Callable[[int], int]]:
        """Yield a function that counts received bytes with those of all incoming files and returns this file's."""
        file_bytes = 0

        def add_bytes(count: int) -> int:
            nonlocal file_bytes
            with self._counter_lock:
                self._incoming[client] += count
                if not self._incoming[client]:
                    del self._incoming[client]
            file_bytes += count
            return file_bytes

        try:
            yield add_bytes
        finally:
            add_bytes(-file_bytes)

    def _copy(
        self, client: str, source: Source, path: Path, name: str, add_bytes: Callable[[int], int]
    ) -> tuple[str, int]:
        """Copy a file within the limits; returns its SHA-256 and size in bytes."""
        if isinstance(source, str | PathLike):
            with open(source, "rb") as stream:
                return self._copy(client, stream, path, name, add_bytes)
        digest, size, stored_bytes = hashlib.sha256(), 0, self.stored_bytes()
        client_bytes = self._recorded_bytes(client)
        with path.open("xb") as file:
            while block := source.read(BLOCK_BYTES):
                size = add_bytes(len(block))
                if size > self._max_file_bytes:
                    raise PayloadTooLarge(f"{name}: is larger than {self._max_file_bytes // MIB} MiB; shorten it")
                if client_bytes + self._incoming[client] > self._client_bytes:
                    raise self._too_many_bytes(name)
                is_full = stored_bytes + self._incoming.total() > self._disk_bytes
                if is_full or shutil.disk_usage(self.folder).free < BLOCK_BYTES:
                    raise Unavailable("the server's disk limit is reached; try again later")
                digest.update(block)
                file.write(block)
        if not size:
            raise InputError(f"{name}: is empty; give a file with content")
        return digest.hexdigest(), size


_COLUMNS = ("id", "client", "name", "sha256", "size", "width", "height", "still", "seconds", "video_seconds", "created")


def _recorded_bytes(session: Session, client: str | None = None) -> int:
    """Return the size of the uploads and results of a client, or of all."""
    uploads = select(func.coalesce(func.sum(UploadRecord.size), 0)).where(UploadRecord.removed.is_(None))
    results = select(func.coalesce(func.sum(JobRecord.result_size), 0)).where(JobRecord.removed.is_(None))
    if client is not None:
        uploads, results = uploads.where(UploadRecord.client == client), results.where(JobRecord.client == client)
    return sum(int(session.scalars(total).one() or 0) for total in (uploads, results))


def upload_key(upload_id: str) -> str:
    """Return the key of an upload in the storage."""
    return f"uploads/{upload_id}"


def _folder_bytes(folder: Path) -> int:
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # deleted meanwhile
                size += os.stat(Path(parent, name)).st_size
    return size


def sanitize_name(name: str) -> str:
    """Return a client's name as one printable line that fits its column; it is never used as a path."""
    return "".join(character for character in name if character.isprintable())[:MAX_NAME] or "the file"
