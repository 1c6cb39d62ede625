"""Lock a database against servers that look for its files elsewhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy
from filelock import FileLock, Timeout
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from wav2lip.errors import InputError
from wav2lip.serve.db.database import WRITE_LOCK_ID, create_engine, unusable

SERVERS_LOCK_ID = WRITE_LOCK_ID + 1  # PostgreSQL advisory lock, held while a process runs
CHECK_INTERVAL_S = 5.0  # a restart of PostgreSQL ends its locks

log = logging.getLogger(__name__)


@contextmanager
def lock_database(url: str, shares_files: bool) -> Iterator[None]:
    """Lock a database inside the block: against all other servers, or with shares_files against those without.

    shares_files: the files are in a storage that all processes use; only with PostgreSQL.
    Raises: InputError if another server uses it or it cannot be reached.
    """
    engine = create_engine(url)
    if engine.dialect.name == "postgresql":
        with _lock_postgresql(engine, shares_files):
            yield
        return
    if engine.url.database in (None, "", ":memory:"):
        yield
        return
    try:
        lock = FileLock(f"{engine.url.database}.lock").acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"--database={engine.url.render_as_string()}: is used by another server; give another one, or PostgreSQL "
            "for several servers"
        ) from error
    except OSError as error:
        raise unusable(engine, error) from error
    with lock:
        yield


@contextmanager
def _lock_postgresql(engine: sqlalchemy.Engine, shares_files: bool) -> Iterator[None]:
    lock = AdvisoryLock(engine, shares_files)
    try:
        try:
            is_locked = lock.renew()
        except DBAPIError as error:
            raise unusable(engine, error) from error
        if not is_locked:
            raise InputError(
                f"--database={engine.url.render_as_string()}: is used by another server or worker, and one of both has "
                "no --storage; give all of them the same --storage, or another database"
            )
        lock.start()
        yield
    finally:
        lock.release()


class AdvisoryLock:
    """Lock on a database of PostgreSQL, which ends with its connection; a thread acquires it again after a loss."""

    def __init__(self, engine: sqlalchemy.Engine, is_shared: bool):
        """is_shared: others may hold a shared lock too."""
        self._engine = engine
        self._try_lock = func.pg_try_advisory_lock_shared if is_shared else func.pg_try_advisory_lock
        self._connection: sqlalchemy.Connection | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="database-lock", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def renew(self) -> bool:
        """Acquire the lock if it is not held any more; returns False if another process holds it.

        Raises: DBAPIError while the database is unreachable.
        """
        if self._connection is not None:
            try:
                self._connection.scalar(select(1))
            except DBAPIError:
                self._connection.invalidate()
                self._connection.close()
                self._connection = None
            else:
                return True
        # Autocommit avoids an open transaction.
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        if connection.scalar(select(self._try_lock(SERVERS_LOCK_ID))):
            self._connection = connection
            return True
        connection.close()
        return False

    def release(self) -> None:
        """Stop the thread and release the lock."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()

    def _run(self) -> None:
        while not self._stop.wait(CHECK_INTERVAL_S):
            try:
                if not self.renew():
                    log.error("the database is used by another server since an outage; stop one and give --storage")
            except DBAPIError as error:
                log.warning("the database cannot be locked now (%s)", str(error).splitlines()[0])
