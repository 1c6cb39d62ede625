"""UploadStore: size limits, ownership and rollback."""

from __future__ import annotations

import io
import os
import wave

import pytest

from tests.helpers.serve import list_files, png_bytes, save_upload
from wav2lip.serve.errors import Conflict, NotFound, PayloadTooLarge, RateLimited, Unavailable


def wav_bytes(size: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(48_000)
        wav.writeframes(bytes(size))
    return file.getvalue()


def test_save_rejects_large_file(make_service):
    uploads = make_service(upload_mib=1).uploads
    with pytest.raises(PayloadTooLarge, match="1 MiB"):
        save_upload(uploads, bytes((1 << 20) + 1))
    assert list_files(uploads.folder) == []


def test_save_enforces_disk_limit_until_removal(make_service):
    uploads = make_service(disk_mib=1).uploads
    content = wav_bytes(700_000)
    first = save_upload(uploads, content)
    with pytest.raises(Unavailable, match="disk"):
        save_upload(uploads, content)
    uploads.remove("ann", first.id)
    assert save_upload(uploads, content).size == len(content)


def test_save_enforces_quota_of_each_client(make_service):
    uploads = make_service(client_mib=1).uploads
    content = wav_bytes(700_000)
    first = save_upload(uploads, content)
    with pytest.raises(RateLimited, match="your files would exceed 1 MiB"):
        save_upload(uploads, content)
    assert uploads.save("bob", io.BytesIO(content), "b.wav").size == len(content)
    uploads.remove("ann", first.id)
    assert save_upload(uploads, content).size == len(content)


def test_upload_is_on_disk_before_its_record(make_service, monkeypatch):
    uploads, events = make_service().uploads, []
    fsync, write_session = os.fsync, uploads._database.write_session
    monkeypatch.setattr(os, "fsync", lambda handle: events.append("flush") or fsync(handle))
    monkeypatch.setattr(uploads._database, "write_session", lambda: events.append("record") or write_session())
    save_upload(uploads, png_bytes())
    assert events == ["flush", "flush", "record"]  # the file, its name in the folder, the row


def test_remove_conflicts_while_a_job_needs_the_file(make_service, add_job):
    service = make_service()
    job = add_job(service)
    with pytest.raises(Conflict, match=r"face\.mp4"):
        service.uploads.remove("ann", job.face.id)


def test_transaction_keeps_files_of_submitted_jobs(make_service, media):
    service = make_service()
    with pytest.raises(ZeroDivisionError), service.uploads.transaction() as save_file:
        face = save_file("ann", media / "face.mp4", "face.mp4", "face")
        audio = save_file("ann", media / "audio.wav", "audio.wav", "audio")
        unused = save_file("ann", media / "audio.wav", "unused.wav", "audio")
        service.jobs.submit("ann", face, audio)
        raise ZeroDivisionError
    assert {path.name for path in list_files(service.uploads.folder)} == {face.id, audio.id}
    assert unused.id not in {face.id, audio.id}


def test_another_clients_upload_is_not_found(make_service):
    uploads = make_service().uploads
    upload = save_upload(uploads, png_bytes())
    with pytest.raises(NotFound) as foreign:
        uploads.get("bob", upload.id)
    with pytest.raises(NotFound) as unknown:
        uploads.get("bob", "x" * 32)
    assert str(foreign.value).replace(upload.id, "") == str(unknown.value).replace("x" * 32, "")
