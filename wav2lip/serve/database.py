"""The database: opened, brought to the newest schema, and one writer at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from filelock import FileLock, Timeout
from sqlalchemy import event, func, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from wav2lip.errors import InputError

MIGRATIONS = Path(__file__).parent / "migrations"
CLAIM = 0x7732_6C69_7053_7276  # PostgreSQL's advisory lock that a server holds on its database
BUSY = 30_000  # milliseconds to wait for another program that reads or writes the SQLite file


class Database:
    """Sessions with it, from any thread."""

    def __init__(self, url: str):
        """url: SQLAlchemy's. Raises: InputError if it cannot be reached or used."""
        self.engine = _engine(url)
        self._writing = threading.RLock()
        try:
            migrate(self.engine)
        except (DBAPIError, CommandError) as error:
            why = str(error).splitlines()[0]
            raise _unusable(self.engine, why) from error

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for looking."""
        with Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """The one session that writes; kept when the block ends, undone when it raises.

        One at a time, so that what was counted before a row is added still holds when it is. Nothing slow in here.
        """
        with self._writing, Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Let go of its connections."""
        self.engine.dispose()


def migrate(engine: sqlalchemy.Engine, revision: str = "head") -> None:
    """Bring the tables to a revision."""
    with engine.begin() as connection:
        command.upgrade(migration_config(connection), revision)


def migration_config(connection: sqlalchemy.Connection) -> Config:
    """What Alembic needs to know, without a file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def claimed(url: str) -> Iterator[None]:
    """Keep other servers off a database in this block: each takes what runs in it for what it ran itself before.

    Raises: InputError if one is there already, or it cannot be reached.
    """
    engine = _engine(url)
    with ExitStack() as held:
        held.callback(engine.dispose)
        try:
            free = _claim(engine, held)
        except (DBAPIError, OSError) as error:
            raise _unusable(engine, str(error).splitlines()[0]) from error
        if not free:
            raise InputError(f"--database {engine.url.render_as_string()}: is used by another server; give another one")
        yield


def _claim(engine: sqlalchemy.Engine, held: ExitStack) -> bool:
    """Whether nobody else had it; it is let go with `held`, and where this process dies."""
    if engine.dialect.name == "postgresql":
        connection = held.enter_context(engine.connect())
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")  # or it would be one long transaction
        return bool(connection.scalar(select(func.pg_try_advisory_lock(CLAIM))))
    if engine.url.database in (None, "", ":memory:"):
        return True
    lock = FileLock(f"{engine.url.database}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    held.callback(lock.release)
    return True


def _unusable(engine: sqlalchemy.Engine, why: str) -> InputError:
    return InputError(
        f"--database {engine.url.render_as_string()}: cannot be used ({why}); check that it is there, may be written "
        "to and is not of a newer version"
    )


def _engine(url: str) -> sqlalchemy.Engine:
    try:
        engine = sqlalchemy.create_engine(url, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise InputError(
            f"--database {_without_password(url)}: {error}; give a URL as postgresql+psycopg://USER@HOST/NAME, and pip "
            "install 'wav2lip-toolkit[postgres]' for PostgreSQL"
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if rest else "URL"


def _set_up_sqlite(connection, _record) -> None:  # type: ignore[no-untyped-def]
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", f"busy_timeout = {BUSY}", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
