"""Database access: connect, migrate to the newest schema, and serialize writers."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import event, func, select
from sqlalchemy.exc import ArgumentError, DBAPIError, InternalError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from wav2lip.errors import InputError
from wav2lip.serve.db.tables import SecretRecord

IDENTITY = "identity"  # row of the table with secrets
MIGRATIONS = Path(__file__).parent / "migrations"
WRITE_LOCK_ID = 0x7732_6C69_7053_7276  # PostgreSQL advisory lock; any constant that other programs do not use
SQLITE_BUSY_TIMEOUT_MS = 30_000
# Connections of PostgreSQL. A process that stops within a transaction must not block the others.
IDLE_TRANSACTION_TIMEOUT_S = 15
DEAD_PEER_TIMEOUT_S = 15
KEEPALIVES = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 2}
OUTAGES = (OperationalError, InternalError)  # the second: PostgreSQL has ended the transaction of a stalled process


class Database:
    """Sessions of a database, usable from any thread."""

    def __init__(self, url: str):
        """Connect and migrate. url: SQLAlchemy URL. Raises: InputError if the database cannot be used."""
        self.engine = create_engine(url)
        self._write_lock = threading.RLock()
        try:
            migrate(self.engine)
        except (DBAPIError, CommandError) as error:
            raise unusable(self.engine, error) from error

    @property
    def is_shared(self) -> bool:
        """True if servers and workers on several machines may use the database at once."""
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def read_session(self) -> Iterator[Session]:
        """Open a session for queries."""
        with Session(self.engine) as session:
            yield session

    @contextmanager
    def write_session(self) -> Iterator[Session]:
        """Open the only writing session of all processes; committed at the end of the block, rolled back if it raises.

        Writers are serialized, so that a count stays valid until the row that depends on it is added. Keep it short.
        """
        with self._write_lock, Session(self.engine, expire_on_commit=False) as session, session.begin():
            if self.is_shared:
                session.execute(select(func.pg_advisory_xact_lock(WRITE_LOCK_ID)))
            yield session

    @contextmanager
    def update_session(self) -> Iterator[Session]:
        """Open a writing session beside others, for statements that are valid in any order; only if `is_shared`."""
        with Session(self.engine) as session, session.begin():
            yield session

    def now(self, session: Session) -> float:
        """Return seconds since the epoch by one clock for all processes: that of PostgreSQL."""
        return session.scalars(select(_epoch(func.clock_timestamp()))).one() if self.is_shared else time.time()

    def uptime_s(self, session: Session) -> float:
        """Return for how long processes could connect, in seconds; only if `is_shared`."""
        return session.scalars(select(_epoch(func.clock_timestamp() - func.pg_postmaster_start_time()))).one()

    def identity(self) -> str:
        """Return a random name of this database, which a copy or a restored backup of it has too."""
        with self.write_session() as session:
            record = session.get(SecretRecord, IDENTITY)
            if record is None:
                record = SecretRecord(name=IDENTITY, value=secrets.token_hex(16).encode())
                session.add(record)
            return record.value.decode()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _epoch(value: sqlalchemy.ColumnElement[Any]) -> sqlalchemy.ColumnElement[float]:
    return sqlalchemy.cast(sqlalchemy.extract("epoch", value), sqlalchemy.Float)


def migrate(engine: sqlalchemy.Engine, revision: str = "head") -> None:
    """Upgrade the tables to a revision; of several processes, one after the other."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(WRITE_LOCK_ID)))
        command.upgrade(_alembic_config(connection), revision)


def _alembic_config(connection: sqlalchemy.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def unusable(engine: sqlalchemy.Engine, error: Exception) -> InputError:
    """Build the error for a database that cannot be used."""
    return InputError(
        f"--database={engine.url.render_as_string()}: cannot be used ({str(error).splitlines()[0]}); check that it "
        "exists, is writable and was not created by a newer version"
    )


def create_engine(url: str) -> sqlalchemy.Engine:
    """Create an engine for a URL of SQLAlchemy. Raises: InputError for an unusable URL."""
    try:
        arguments = {}
        if sqlalchemy.make_url(url).get_backend_name() == "postgresql":
            arguments = {"connect_timeout": DEAD_PEER_TIMEOUT_S, "tcp_user_timeout": DEAD_PEER_TIMEOUT_S * 1000}
            arguments |= KEEPALIVES
        engine = sqlalchemy.create_engine(url, pool_pre_ping=True, connect_args=arguments)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise InputError(
            f"--database={_strip_password(url)}: {error}; give a URL such as postgresql+psycopg://USER@HOST/NAME, and "
            "pip install 'wav2lip-toolkit[postgres]' for PostgreSQL"
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
    elif engine.dialect.name == "postgresql":
        if engine.dialect.driver != "psycopg":
            raise InputError(
                f"--database={_strip_password(url)}: the driver {engine.dialect.driver} cannot wait for notifications; "
                "give postgresql+psycopg://USER@HOST/NAME"
            )
        event.listen(engine, "connect", _configure_postgresql)
    return engine


def _strip_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if rest else "URL"


def _configure_sqlite(connection, _record) -> None:  # type: ignore[no-untyped-def]
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", f"busy_timeout = {SQLITE_BUSY_TIMEOUT_MS}", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _configure_postgresql(connection, _record) -> None:  # type: ignore[no-untyped-def]
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_TIMEOUT_S}s'")
    connection.commit()
