"""Database: migrations, locking and unusable URLs."""

from __future__ import annotations

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from tests.helpers.postgresql import postgresql
from tests.helpers.serve import submit_job, wait_for_end
from wav2lip.errors import InputError
from wav2lip.serve.db.database import Database, migrate
from wav2lip.serve.db.tables import Base, JobRecord
from wav2lip.serve.service import exclusive_access
from wav2lip.serve.settings import Settings

ROWS_OF_FIRST_REVISION = [
    "INSERT INTO uploads (id, client, name, sha256, size, still, created) VALUES ('u', 'ann', 'f', 'h', 1, false, 1.0)",
    "INSERT INTO jobs (id, client, state, model, options, face_id, audio_id, created, without_face) "
    "VALUES ('j', 'ann', 'queued', 'thin', '{}', 'u', 'u', 1.0, '[]')",
]


def schema_difference(engine: sqlalchemy.Engine) -> list:
    with engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata)


def create_first_revision(engine: sqlalchemy.Engine) -> None:
    migrate(engine, "0001")
    with engine.begin() as connection:
        for row in ROWS_OF_FIRST_REVISION:
            connection.execute(text(row))


def test_new_database_has_the_schema_of_the_code(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'new.sqlite3'}")
    assert schema_difference(database.engine) == []
    database.close()


def test_identity_of_a_database_stays_and_differs_from_others(tmp_path):
    urls = [f"sqlite:///{tmp_path / name}.sqlite3" for name in ("first", "first", "second")]
    identities = []
    for url in urls:
        database = Database(url)
        identities.append(database.identity())
        database.close()
    assert identities[0] == identities[1] != identities[2]


def test_migration_from_first_revision_keeps_jobs(tmp_path):
    url = f"sqlite:///{tmp_path / 'old.sqlite3'}"
    engine = sqlalchemy.create_engine(url)
    create_first_revision(engine)
    engine.dispose()
    database = Database(url)
    assert schema_difference(database.engine) == []
    with database.read_session() as session:
        job = session.get_one(JobRecord, 1)
        assert (job.id, job.client, job.state, job.attempts, job.face.name) == ("j", "ann", "queued", 0, "f")
        assert job.cancel_requested is False
    database.close()


def test_database_of_newer_version_is_rejected(tmp_path):
    url = f"sqlite:///{tmp_path / 'newer.sqlite3'}"
    database = Database(url)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(InputError, match="newer version"):
        Database(url)


@pytest.mark.parametrize("url", ["nonsense", "oracle://x", "sqlite:////nowhere/at/all.sqlite3",
                                 "postgresql+psycopg://me:hush@127.0.0.1:9/x"])  # fmt: skip
def test_unusable_url_is_reported_without_password(url):
    with pytest.raises(InputError, match="--database") as error:
        Database(url)
    assert "hush" not in str(error.value)


def test_sqlite_is_configured_for_concurrency(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    with database.engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA busy_timeout")) == 30_000
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
    database.close()


def test_two_servers_cannot_share_a_database_but_postgresql(tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.sqlite3'}"
    first, second = (Settings(data=tmp_path / name, database=url) for name in ("first", "second"))
    another = pytest.raises(InputError, match="--database.*another server")
    with exclusive_access(first), another, exclusive_access(second):
        pass
    with exclusive_access(second):
        pass


@pytest.mark.slow
def test_postgresql_behaves_like_sqlite(start_server, media, tmp_path):
    with postgresql() as url:
        first, second = (Settings(data=tmp_path / name, database=url) for name in ("first", "second"))
        shared = [Settings(data=tmp_path / f"shared{number}", database=url, storage="files") for number in range(2)]
        another = pytest.raises(InputError, match="--storage")
        with exclusive_access(first), another, exclusive_access(second):
            pass
        with exclusive_access(shared[0]), exclusive_access(shared[1]), another, exclusive_access(second):
            pass
        engine = sqlalchemy.create_engine(url)
        create_first_revision(engine)
        client = start_server(database=url)
        assert schema_difference(engine) == []
        hostile_name = {"file": ("nul\x00'; DROP TABLE jobs; --", (media / "face.mp4").read_bytes())}
        assert client.post("/v1/uploads", files=hostile_name).status_code == 201
        for forged_id in ("'%20OR%20'1'='1", "%00"):
            assert client.get(f"/v1/jobs/{forged_id}").status_code == 404
        job = wait_for_end(client, submit_job(client, media).json()["id"])
        assert job["state"] == "done" and len(client.get(job["result"]).content) == job["result_size"]
        with engine.connect() as connection:
            state = connection.scalar(text("SELECT state FROM jobs WHERE id = 'j'"))
            assert state == "failed"  # its upload has no file
        client.app.state.service.stop()
        engine.dispose()
