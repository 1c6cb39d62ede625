"""Temporary PostgreSQL server for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.helpers.serve import find_free_port


class PostgresqlServer:
    """PostgreSQL server in a temporary folder."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(folder, "nobody")
            self._run = partial(self._run, user="nobody")
        self.port = find_free_port()
        self.url = f"postgresql+psycopg://me@127.0.0.1:{self.port}/postgres"
        self._run(["initdb", "-D", folder / "db", "-U", "me", "-A", "trust", "-E", "UTF8"])

    def start(self) -> None:
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run(["pg_ctl", "-D", self._folder / "db", "-w", "-l", self._folder / "log", "-o", options, "start"])

    def stop(self) -> None:
        """Stop without waiting for transactions, as a crash does."""
        self._run(["pg_ctl", "-D", self._folder / "db", "-m", "immediate", "stop"])


@contextmanager
def postgresql_server() -> Iterator[PostgresqlServer]:
    """Run a temporary PostgreSQL server; skip the test if its programs are missing."""
    pytest.importorskip("psycopg", reason="pip install 'wav2lip-toolkit[postgres]'")
    if not all(map(shutil.which, ("initdb", "pg_ctl"))):
        pytest.skip("no PostgreSQL server here: initdb and pg_ctl are not on the PATH")
    with tempfile.TemporaryDirectory() as name:
        server = PostgresqlServer(Path(name))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a temporary PostgreSQL server and yield its URL."""
    with postgresql_server() as server:
        yield server.url
