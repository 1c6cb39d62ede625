"""Job records: every schema there was becomes today's, and today's is what the code says."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from tests.wav2lip.serve.conftest import ended, submit
from wav2lip.errors import InputError
from wav2lip.serve.database import Database, migrate
from wav2lip.serve.records import Base, JobRecord
from wav2lip.serve.service import claimed
from wav2lip.serve.settings import Settings

OLD_ROWS = [
    "INSERT INTO uploads (id, client, name, sha256, size, still, created) VALUES ('u', 'ann', 'f', 'h', 1, false, 1.0)",
    "INSERT INTO jobs (id, client, state, model, options, face_id, audio_id, created, without_face) "
    "VALUES ('j', 'ann', 'queued', 'thin', '{}', 'u', 'u', 1.0, '[]')",
]


def difference(engine: sqlalchemy.Engine) -> list:
    with engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata)


def test_an_empty_database_gets_the_tables_that_the_code_describes(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'new.sqlite3'}")
    assert difference(database.engine) == []
    database.close()


def test_a_database_of_the_first_version_keeps_its_jobs(tmp_path):
    url = f"sqlite:///{tmp_path / 'old.sqlite3'}"
    engine = sqlalchemy.create_engine(url)
    migrate(engine, "0001")
    with engine.begin() as connection:
        for row in OLD_ROWS:
            connection.execute(text(row))
    engine.dispose()
    database = Database(url)
    assert difference(database.engine) == []
    with database.reading() as session:
        job = session.get_one(JobRecord, 1)
        assert (job.id, job.client, job.state, job.begun, job.face.name) == ("j", "ann", "queued", 0, "f")
        assert job.stopping is False
    database.close()


def test_a_database_of_a_newer_version_is_left_alone_with_a_sentence(tmp_path):
    url = f"sqlite:///{tmp_path / 'newer.sqlite3'}"
    database = Database(url)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(InputError, match="newer version"):
        Database(url)


@pytest.mark.parametrize("url", ["nonsense", "oracle://x", "sqlite:////nowhere/at/all.sqlite3",
                                 "postgresql+psycopg://me:hush@127.0.0.1:9/x"])  # fmt: skip
def test_a_database_that_cannot_be_used_ends_with_a_sentence_without_its_password(url):
    with pytest.raises(InputError, match="--database") as refused:
        Database(url)
    assert "hush" not in str(refused.value)


def test_sqlite_waits_for_others_and_writes_ahead(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    with database.engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA busy_timeout")) == 30_000
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
    database.close()


def test_two_servers_with_folders_of_their_own_do_not_share_a_database(tmp_path):
    check_one_server_at_a_time(f"sqlite:///{tmp_path / 'shared.sqlite3'}", tmp_path)


def check_one_server_at_a_time(url: str, folder: Path) -> None:
    ann, bob = (Settings(data=folder / name, database=url) for name in ("ann", "bob"))
    with claimed(ann), pytest.raises(InputError, match="--database .*: is used by another server"), claimed(bob):
        pass
    with claimed(bob):
        pass


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of its own, where its programs are."""
    pytest.importorskip("psycopg", reason="pip install 'wav2lip-toolkit[postgres]'")
    if not all(map(shutil.which, ("initdb", "pg_ctl"))):
        pytest.skip("no PostgreSQL server here: initdb and pg_ctl are not on the PATH")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(folder, "nobody")
            run = partial(run, user="nobody")
        run(["initdb", "-D", folder / "db", "-U", "me", "-A", "trust", "-E", "UTF8"])
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run(["pg_ctl", "-D", folder / "db", "-w", "-l", folder / "log", "-o", options, "start"])
        try:
            yield f"postgresql+psycopg://me@127.0.0.1:{port}/postgres"
        finally:
            run(["pg_ctl", "-D", folder / "db", "-m", "immediate", "stop"])


@pytest.mark.slow
def test_postgresql_does_all_that_sqlite_does(server, media, tmp_path):
    with postgres() as url:
        check_one_server_at_a_time(url, tmp_path)
        engine = sqlalchemy.create_engine(url)
        migrate(engine, "0001")
        with engine.begin() as connection:
            for row in OLD_ROWS:
                connection.execute(text(row))
        client = server(database=url)
        assert difference(engine) == []
        named = {"file": ("nul\x00'; DROP TABLE jobs; --", (media / "face.mp4").read_bytes())}
        assert client.post("/v1/uploads", files=named).status_code == 201
        for forged in ("'%20OR%20'1'='1", "%00"):
            assert client.get(f"/v1/jobs/{forged}").status_code == 404
        job = ended(client, submit(client, media).json()["id"])
        assert job["state"] == "done" and len(client.get(job["result"]).content) == job["result_size"]
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT state FROM jobs WHERE id = 'j'")) == "failed"  # its file is nowhere
        client.app.state.service.stop()
        engine.dispose()
