"""Storage of files: a folder, fsspec's memory as an object store, and S3."""

from __future__ import annotations

import os
import shutil
import time
from functools import partial

import pytest
from fsspec.core import url_to_fs

from tests.helpers.serve import OPTIONS, find_free_port, list_files, submit_job, wait_for_end
from wav2lip.errors import InputError
from wav2lip.serve import service
from wav2lip.serve.errors import NotFound
from wav2lip.serve.settings import POSTGRESQL, Settings
from wav2lip.serve.storage import RemoteStorage, build_storage

IDENTITY = partial(str, "first database")
OLD, USED, NEW = (name * 8 for name in ("old_", "used", "new_"))  # as long as ids


@pytest.fixture
def memory(tmp_path):
    """Two machines that share an object store."""
    url = f"memory://{tmp_path.name}"
    return tuple(RemoteStorage(url, tmp_path / name, max_age_s=60.0) for name in ("first", "second"))


def test_file_of_one_machine_is_read_on_another(memory):
    first, second = memory
    first.path("uploads/a").write_bytes(b"content")
    first.save("uploads/a")
    assert second.names("uploads") == ["a"] and second.names("results") == []
    assert second.fetch("uploads/a").read_bytes() == b"content"
    assert first.delete("uploads/a") and first.delete("uploads/a")  # the second time it is absent
    assert second.names("uploads") == [] and not first.path("uploads/a").exists()


def test_missing_file_is_reported_and_leaves_no_copy(memory):
    with pytest.raises(NotFound, match="uploads/b: does not exist"):
        memory[0].fetch("uploads/b")
    assert list_files(memory[0].folder) == []


def test_copies_are_deleted_after_their_last_use(memory):
    storage = memory[0]
    for name in (OLD, USED, NEW, "notes.txt"):
        storage.path(f"uploads/{name}").write_bytes(b"x")
        storage.save(f"uploads/{name}")
    before = time.time() - 100
    for name in (OLD, USED, "notes.txt"):
        os.utime(storage.path(f"uploads/{name}"), (before, before))
    storage.fetch(f"uploads/{USED}")
    storage.delete_old_copies()
    assert {path.name for path in list_files(storage.folder)} == {USED, NEW, "notes.txt"}
    assert storage.fetch(f"uploads/{OLD}").read_bytes() == b"x"  # from the store again


def test_deleted_folder_of_copies_is_logged_and_created_again(memory, caplog):
    storage = memory[0]
    storage.path(f"uploads/{OLD}").write_bytes(b"x")
    storage.save(f"uploads/{OLD}")
    shutil.rmtree(storage.folder)
    storage.delete_old_copies()  # called by the watchdog's thread
    assert "uploads: cannot be read now" in caplog.text
    assert storage.fetch(f"uploads/{OLD}").read_bytes() == b"x"


@pytest.mark.parametrize("url", ["nothing://x", "s3://"])
def test_unusable_url_is_reported(tmp_path, url):
    with pytest.raises(InputError, match=f"--storage={url}"):
        build_storage(Settings(data=tmp_path, storage=url, database=POSTGRESQL), IDENTITY)


@pytest.mark.parametrize("database", [None, "sqlite:///x"])
def test_storage_needs_postgresql(tmp_path, database):
    with pytest.raises(InputError, match=r"--storage=s3://bucket: needs --database=postgresql") as error:
        Settings(data=tmp_path, storage="s3://user:hush@bucket", database=database)
    assert "hush" not in str(error.value)


@pytest.mark.parametrize("scheme", ["", "memory:/"])
def test_storage_with_files_of_others_is_refused(tmp_path, scheme):
    folder = f"{scheme}{tmp_path}/files"
    settings = Settings(data=tmp_path / "data", storage=folder, database=POSTGRESQL)
    filesystem, root = url_to_fs(folder)
    filesystem.makedirs(f"{root}/results")
    filesystem.pipe_file(f"{root}/results/mine.mp4", b"x")
    with pytest.raises(InputError, match="results.*no file wav2lip-storage"):
        build_storage(settings, IDENTITY)
    filesystem.rm_file(f"{root}/results/mine.mp4")
    build_storage(settings, IDENTITY)
    filesystem.pipe_file(f"{root}/results/job.mp4", b"x")
    assert build_storage(settings, IDENTITY).names("results") == ["job.mp4"]


@pytest.mark.parametrize("scheme", ["", "memory:/"])
def test_storage_of_another_database_is_refused(tmp_path, scheme):
    settings = Settings(data=tmp_path / "data", storage=f"{scheme}{tmp_path}/files", database=POSTGRESQL)
    storage = build_storage(settings, IDENTITY)
    build_storage(settings, IDENTITY)
    with pytest.raises(InputError, match=r"belongs to another database than --database .*wav2lip-storage"):
        build_storage(settings, partial(str, "second database"))
    storage.path("wav2lip-storage").write_text("Servers of lip-sync jobs delete files in uploads and results.\n")
    storage.save("wav2lip-storage")  # the marker of an earlier version, which the first database takes over
    build_storage(settings, partial(str, "second database"))
    with pytest.raises(InputError, match="another database"):
        build_storage(settings, IDENTITY)


def test_data_folder_that_is_not_writable_is_named(tmp_path):
    (tmp_path / "uploads").write_text("x")
    with pytest.raises(InputError, match="--data="):
        build_storage(Settings(data=tmp_path), IDENTITY)


def start_with_storage(start_server, url, tmp_path, monkeypatch):  # type: ignore[no-untyped-def]
    """Start a server that needs no PostgreSQL."""
    monkeypatch.setattr(service, "build_storage", lambda *_: RemoteStorage(url, tmp_path / "copies", 60.0))
    return start_server()


class Outage:
    """File system that does not respond."""

    def __getattr__(self, name):  # type: ignore[no-untyped-def]
        raise ConnectionError("http://user:hush@10.0.0.1: connection refused")


def test_outage_is_reported_to_clients_without_its_address(start_server, media, tmp_path, monkeypatch, caplog):
    client = start_with_storage(start_server, f"memory://{tmp_path.name}-outage", tmp_path, monkeypatch)
    monkeypatch.setattr(client.app.state.service.storage, "_files", Outage())
    response = submit_job(client, media, **OPTIONS)
    assert response.status_code == 503
    assert response.json() == {"error": "the storage of files does not respond; try again later"}
    assert "10.0.0.1: connection refused" in caplog.text and "hush" not in caplog.text


def test_sweep_at_start_survives_an_outage(start_server, tmp_path, monkeypatch):
    monkeypatch.setattr(RemoteStorage, "names", lambda storage, _folder: Outage().ls)
    client = start_with_storage(start_server, f"memory://{tmp_path.name}-sweep", tmp_path, monkeypatch)
    assert client.get("/healthz").status_code == 200


def test_jobs_run_with_an_object_store(start_server, media, tmp_path, monkeypatch):
    client = start_with_storage(start_server, f"memory://{tmp_path.name}-jobs", tmp_path, monkeypatch)
    run_job_and_delete_it(client, media)


def run_job_and_delete_it(client, media) -> None:  # type: ignore[no-untyped-def]
    """Run a job from the store alone, and delete its files."""
    storage = client.app.state.service.storage
    job = wait_for_end(client, submit_job(client, media, **OPTIONS).json()["id"])
    assert job["state"] == "done", job
    for path in list_files(storage.folder):  # as on another machine
        path.unlink()
    assert client.get(job["result"], headers={"Range": "bytes=4-7"}).content == b"ftyp"
    assert storage.names("results") == [f"{job['id']}.mp4"] and len(storage.names("uploads")) == 2
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 200
    for part in ("face", "audio"):
        assert client.delete(f"/v1/uploads/{job[part]['id']}").status_code == 204
    assert storage.names("results") == [] and storage.names("uploads") == []


@pytest.mark.slow
def test_jobs_run_with_s3(start_server, media, tmp_path, monkeypatch):
    pytest.importorskip("s3fs", reason="pip install 'wav2lip-toolkit[s3]'")
    boto3 = pytest.importorskip("boto3", reason="pip install 'wav2lip-toolkit[test]'")
    server = pytest.importorskip("moto.server", reason="pip install 'wav2lip-toolkit[test]'").ThreadedMotoServer(
        "127.0.0.1", find_free_port(), verbose=False
    )
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "test",
                            "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="wav2lip")
        run_job_and_delete_it(start_with_storage(start_server, "s3://wav2lip/files", tmp_path, monkeypatch), media)
    finally:
        server.stop()
