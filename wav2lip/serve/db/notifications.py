"""Wake-ups of waiting threads, in all processes of a PostgreSQL database by its LISTEN and NOTIFY."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from wav2lip.serve.db.database import Database

CHANNEL = "wav2lip_jobs"
RECEIVE_TIMEOUT_S = 1.0  # until the thread checks whether it must stop
RECONNECT_INTERVAL_S = 1.0

log = logging.getLogger(__name__)


class ChangeSignal:
    """Counter of changes; a thread waits for the next one without missing any since it has read the counter."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.version = 0

    def notify(self) -> None:
        """Count a change and wake up all waiting threads."""
        with self._changed:
            self.version += 1
            self._changed.notify_all()

    def wait(self, version: int, timeout_s: float) -> None:
        """Wait until the counter is no longer at `version`, or the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self.version != version, timeout_s)


def send(database: Database, session: Session, message: str) -> None:
    """Send a message to the listeners of all processes when the session is committed."""
    if database.is_shared:
        session.execute(select(func.pg_notify(CHANNEL, message)))


class Listener(threading.Thread):
    """Thread that receives the messages of all processes; it reconnects after an outage of the database."""

    def __init__(self, database: Database, on_message: Callable[[str], object], on_connect: Callable[[], object]):
        """on_connect: called after each connect, because earlier messages may be lost."""
        super().__init__(name="listener", daemon=True)
        self._database, self._on_message, self._on_connect = database, on_message, on_connect
        self._stop_event = threading.Event()

    def run(self) -> None:
        """Receive messages until `stop`."""
        while not self._stop_event.is_set():
            try:
                self._receive()
            except SQLAlchemyError as error:
                log.warning("notifications of the database are lost (%s); reconnecting", str(error).splitlines()[0])
                self._stop_event.wait(RECONNECT_INTERVAL_S)

    def stop(self) -> None:
        """Stop and join the thread."""
        self._stop_event.set()
        if self.is_alive():
            self.join()

    def _receive(self) -> None:
        import psycopg

        with self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"LISTEN {CHANNEL}"))
            self._on_connect()
            driver_connection = connection.connection.driver_connection
            assert isinstance(driver_connection, psycopg.Connection)
            try:
                while not self._stop_event.is_set():
                    for message in driver_connection.notifies(timeout=RECEIVE_TIMEOUT_S):
                        self._on_message(message.payload)
            except psycopg.Error as error:
                connection.invalidate()
                log.warning("notifications of the database are lost (%s); reconnecting", str(error).splitlines()[0])
            else:
                connection.execute(text(f"UNLISTEN {CHANNEL}"))  # the connection returns to the pool
