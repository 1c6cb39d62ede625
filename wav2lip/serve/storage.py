"""Files of clients, by keys such as uploads/ID: in a folder, or in an object store that several machines share."""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from wav2lip.errors import InputError
from wav2lip.files import flush_file, flush_folder
from wav2lip.serve.errors import NotFound, StorageError
from wav2lip.serve.settings import Settings, without_credentials

FOLDERS = ("uploads", "results")
# Name of a file in FOLDERS: the id of an upload or job, with dots around it while it is incomplete. Other files are not
# those of a server, as with --data=., and are never deleted.
STORED_NAME = re.compile(r"\.?[\w-]{32}(\.[\w.]+)?", re.ASCII)
MARKER = "wav2lip-storage"  # key of a file that says which servers' files those of FOLDERS are
OWNER = "database: "  # begins the line of the marker with the identity of their database

log = logging.getLogger(__name__)


class Storage(Protocol):
    """Files by key; a key is never used for other content, so copies stay valid.

    Methods raise StorageError if an object store does not respond.
    """

    folder: Path  # local folder of the files or of their copies

    def path(self, key: str) -> Path:
        """Return the local path of a file or of its copy, which may be absent."""

    def exists(self, key: str) -> bool:
        """Return True if there is a file."""

    def fetch(self, key: str) -> Path:
        """Return the local path of a file after making a copy if necessary. Raises: NotFound if there is no file."""

    def reload(self, key: str) -> Path:
        """Return as `fetch`, after making a new copy."""

    def save(self, key: str) -> None:
        """Store a complete file that was written to its local path; it is durable when this returns."""

    def delete(self, key: str) -> bool:
        """Delete a file, which may be absent; returns False, after a warning, if it cannot be deleted now."""

    def names(self, folder: str) -> list[str]:
        """Return the names of all files in one of FOLDERS."""

    def delete_old_copies(self) -> None:
        """Delete the local copies that were not used for a while."""


def build_storage(settings: Settings, get_identity: Callable[[], str]) -> Storage:
    """Build the storage of a server or worker.

    get_identity: returns that of the database, to which a storage given by --storage belongs.
    Raises: InputError if it cannot be used.
    """
    if settings.storage is None:
        return LocalStorage(settings.data.resolve(), "--data")
    storage: Storage
    if "://" not in settings.storage:
        storage = LocalStorage(Path(settings.storage).resolve(), "--storage")
    else:
        storage = RemoteStorage(settings.storage, settings.data.resolve() / "copies", settings.job_seconds)
    _claim(storage, settings.storage, get_identity())
    return storage


def _claim(storage: Storage, url: str, identity: str) -> None:
    """Mark a storage as that of the servers of one database, which delete files that it does not know.

    Raises: InputError if it holds files of others, or belongs to another database.
    """
    is_empty = not any(storage.names(folder) for folder in FOLDERS)  # read before the marker, which another may write
    if storage.exists(MARKER):
        owner = _read_owner(storage)
        if owner == identity:
            return
        if owner is not None:
            raise InputError(
                f"--storage={without_credentials(url)}: belongs to another database than --database (its file {MARKER} "
                "says which), and the servers of each would delete the files of the other; give an empty storage, or "
                "the database of this one"
            )
    elif not is_empty:
        raise InputError(
            f"--storage={without_credentials(url)}: holds files in uploads or results, but no file {MARKER}, so they "
            "may not be those of a server, which would delete them; give an empty folder, or create that file"
        )
    try:
        storage.path(MARKER).write_text(
            f"Servers of lip-sync jobs delete files in uploads and results.\n{OWNER}{identity}\n", encoding="utf-8"
        )
    except OSError as error:
        raise InputError(f"--storage={without_credentials(url)}: is not writable ({error.strerror})") from error
    storage.save(MARKER)


def _read_owner(storage: Storage) -> str | None:
    """Return the identity of the database that a storage belongs to; None for a marker of an earlier version."""
    text = storage.reload(MARKER).read_text(encoding="utf-8", errors="replace")
    owners = [line.removeprefix(OWNER).strip() for line in text.splitlines() if line.startswith(OWNER)]
    return owners[0] if owners else None


class LocalStorage:
    """Files in a folder, which several machines may mount."""

    def __init__(self, folder: Path, flag: str):
        """flag: that gives the folder. Raises: InputError if the folder cannot be written."""
        self.folder = folder
        try:
            _create_folders(folder)
        except OSError as error:
            raise InputError(f"{flag}={folder}: is not writable ({error.strerror}); give another folder") from error

    def path(self, key: str) -> Path:
        """See `Storage`."""
        return self.folder / key

    def exists(self, key: str) -> bool:
        """See `Storage`."""
        return self.path(key).exists()

    def fetch(self, key: str) -> Path:
        """See `Storage`; a missing file is reported by its reader."""
        return self.path(key)

    reload = fetch

    def save(self, key: str) -> None:
        """See `Storage`."""
        flush_file(self.path(key))
        flush_folder(self.path(key).parent)

    def delete(self, key: str) -> bool:
        """See `Storage`; files that are open on Windows cannot be deleted."""
        try:
            self.path(key).unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s: cannot be deleted now (%s)", self.path(key), error.strerror)
            return False
        return True

    def names(self, folder: str) -> list[str]:
        """See `Storage`."""
        return [path.name for path in (self.folder / folder).iterdir()]

    def delete_old_copies(self) -> None:
        """See `Storage`; there are no copies."""


class RemoteStorage:
    """Files below a URL of fsspec, such as s3://BUCKET/FOLDER, and copies in a local folder."""

    def __init__(self, url: str, folder: Path, max_age_s: float):
        """folder: of the copies. max_age_s: time after the last use of a copy until it may be deleted.

        Raises: InputError if the URL cannot be used.
        """
        self.folder, self._max_age_s = folder, max_age_s
        self._url = without_credentials(url)
        from fsspec.core import url_to_fs

        try:
            self._files, self._root = url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise InputError(
                f"--storage={self._url}: {_reason(error)}; give a folder or a URL such as s3://BUCKET/FOLDER, and pip "
                "install 'wav2lip-toolkit[s3]' for S3"
            ) from error
        if not self._root.strip("/"):
            raise InputError(f"--storage={self._url}: names no bucket or folder; give a URL such as s3://BUCKET/FOLDER")
        try:
            self._files.exists(self._root)
        except _remote_errors() as error:
            raise InputError(
                f"--storage={self._url}: {_reason(error)}; check the URL, the access and the network"
            ) from error
        _create_folders(folder)

    def path(self, key: str) -> Path:
        """See `Storage`."""
        return self.folder / key

    def exists(self, key: str) -> bool:
        """See `Storage`."""
        with self._storage_errors():
            return bool(self._files.exists(self._remote(key)))

    def fetch(self, key: str) -> Path:
        """See `Storage`."""
        path = self.path(key)
        with suppress(FileNotFoundError):
            os.utime(path)
            return path
        _create_folders(self.folder)  # they may have been deleted
        partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
        try:
            with self._storage_errors():
                self._files.get_file(self._remote(key), str(partial))
            os.replace(partial, path)
        except FileNotFoundError as error:
            raise NotFound(f"{key}: does not exist in the storage any more; upload or submit it again") from error
        finally:
            partial.unlink(missing_ok=True)
        return path

    def reload(self, key: str) -> Path:
        """See `Storage`."""
        self.path(key).unlink(missing_ok=True)
        return self.fetch(key)

    def save(self, key: str) -> None:
        """See `Storage`."""
        with self._storage_errors():
            self._files.put_file(str(self.path(key)), self._remote(key))

    def delete(self, key: str) -> bool:
        """See `Storage`."""
        self.path(key).unlink(missing_ok=True)
        try:
            with suppress(FileNotFoundError):
                self._files.rm_file(self._remote(key))
        except _remote_errors() as error:
            log.warning("%s: cannot be deleted now (%s)", self._remote(key), _reason(error))
            return False
        return True

    def names(self, folder: str) -> list[str]:
        """See `Storage`."""
        try:
            with self._storage_errors():
                return [Path(file).name for file in self._files.ls(self._remote(folder), detail=False)]
        except FileNotFoundError:  # object stores have no empty folders
            return []

    def delete_old_copies(self) -> None:
        """See `Storage`."""
        oldest = time.time() - self._max_age_s
        for folder in FOLDERS:
            try:
                copies = [path for path in (self.folder / folder).iterdir() if STORED_NAME.fullmatch(path.name)]
            except OSError as error:  # deleted, or its disk is unmounted; `fetch` creates it again
                log.warning("%s: cannot be read now (%s)", self.folder / folder, error.strerror)
                continue
            for path in copies:
                try:
                    if path.stat().st_mtime < oldest:
                        path.unlink()
                except FileNotFoundError:  # another thread was faster
                    pass
                except OSError as error:
                    log.warning("%s: cannot be deleted now (%s)", path, error.strerror)

    def _remote(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key}"

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """Log what goes wrong inside the block and raise StorageError instead, except for a missing file."""
        try:
            yield
        except FileNotFoundError:
            raise
        except _remote_errors() as error:
            log.error("--storage=%s: %s", self._url, _reason(error))
            raise StorageError from error


def _create_folders(folder: Path) -> None:
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)


def _remote_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of file systems that mean an outage, wrong credentials or a missing file."""
    errors: Any = (OSError,)
    with suppress(ModuleNotFoundError):
        from botocore.exceptions import BotoCoreError, ClientError

        errors += (BotoCoreError, ClientError)
    return errors


def _reason(error: Exception) -> str:
    """Return the message of an error as one line without credentials."""
    return without_credentials(" ".join(str(error).split()))
