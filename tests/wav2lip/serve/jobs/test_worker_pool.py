"""WorkerPool: database outages, the time limit, and untrusted frames."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from sqlalchemy import select
from sqlalchemy.exc import OperationalError, ProgrammingError

from tests.helpers.serve import OPTIONS, wait_for_job
from wav2lip.errors import InputError
from wav2lip.lipsync import Cancelled, LipSync
from wav2lip.serve import storage
from wav2lip.serve.db.tables import JobRecord
from wav2lip.serve.errors import StorageError
from wav2lip.serve.jobs import worker_pool
from wav2lip.serve.jobs.options import parse_job_options
from wav2lip.serve.jobs.queue import MAX_ATTEMPTS
from wav2lip.serve.service import Service


def outage() -> OperationalError:
    return OperationalError("SELECT", {}, Exception("connection lost"))


@contextmanager
def running(service: Service):  # type: ignore[no-untyped-def]
    """Start the service for the block."""
    service.start()
    try:
        yield
    finally:
        service.stop()


def test_workers_survive_database_outage(make_service, add_job, monkeypatch):
    monkeypatch.setattr(worker_pool, "RETRY_INTERVAL_S", 0.01)
    service, failures = make_service(), {"dequeue": 2, "finish": 2}

    def fail_at_first(name: str):  # type: ignore[no-untyped-def]
        method = getattr(service.queue, name)

        def call(*arguments: object, **columns: object) -> object:
            if failures[name]:
                failures[name] -= 1
                raise outage()
            return method(*arguments, **columns)

        return call

    for name in failures:
        monkeypatch.setattr(service.queue, name, fail_at_first(name))
    job = add_job(service, **OPTIONS)
    with running(service):
        assert wait_for_job(service, "ann", job.id).state == "done"
        assert failures == {"dequeue": 0, "finish": 0} and not service.problem


def test_outage_of_the_storage_is_no_failure_of_a_job(make_service, add_job, monkeypatch):
    monkeypatch.setattr(worker_pool, "RETRY_INTERVAL_S", 0.01)
    service = make_service()
    fetch, outages = service.storage.fetch, [StorageError() for _ in range(MAX_ATTEMPTS + 1)]

    def fail_at_first(key: str) -> Path:
        if outages:
            raise outages.pop()
        return fetch(key)

    monkeypatch.setattr(service.storage, "fetch", fail_at_first)
    job = add_job(service, **OPTIONS)
    with running(service):
        assert wait_for_job(service, "ann", job.id).state == "done"
    events = [event.event for event in service.jobs.history("ann", job.id)]
    assert events.count("requeued") == MAX_ATTEMPTS + 1


def test_end_of_a_job_is_reported_once(make_service, add_job, monkeypatch):
    service, states = make_service(), []
    pool, finish = service._workers, service.queue.finish
    monkeypatch.setattr(pool, "_on_finish", lambda _job, state, _seconds: states.append(state))

    def finish_after_replacement(job, state, **columns):  # type: ignore[no-untyped-def]
        monkeypatch.setattr(service.queue, "finish", finish)
        pool._replace(0, pool._workers[0], "the job hangs")
        return finish(job, state, **columns)

    monkeypatch.setattr(service.queue, "finish", finish_after_replacement)
    job = add_job(service, **OPTIONS)
    with running(service):
        assert wait_for_job(service, "ann", job.id).state == "failed"
    for thread in pool._replaced:
        thread.join(30)
    assert states == ["failed"]


def test_running_job_needs_no_database(make_service, add_job, monkeypatch):
    monkeypatch.setattr(worker_pool, "RETRY_INTERVAL_S", 0.01)
    service = make_service()
    jobs = [add_job(service, client, **OPTIONS) for client in ("ann", "bob")]
    service.uploads.path(jobs[1].audio.id).unlink()  # so that the second fails with a message
    dequeue, finish, read_session = service.queue.dequeue, service.queue.finish, service.database.read_session

    @contextmanager
    def no_session():  # type: ignore[no-untyped-def]
        raise outage()
        yield

    def dequeue_then_lose_database():  # type: ignore[no-untyped-def]
        if (job := dequeue()) is not None:
            monkeypatch.setattr(service.database, "read_session", no_session)
        return job

    def restore_database_then_finish(*arguments: object, **columns: object):  # type: ignore[no-untyped-def]
        monkeypatch.setattr(service.database, "read_session", read_session)
        return finish(*arguments, **columns)

    monkeypatch.setattr(service.queue, "dequeue", dequeue_then_lose_database)
    monkeypatch.setattr(service.queue, "finish", restore_database_then_finish)
    with running(service):
        deadline = time.monotonic() + 60
        while not all(times := finish_times(service)):
            assert not service.problem and time.monotonic() < deadline, times
            time.sleep(0.02)
    first, second = service.jobs.get("ann", jobs[0].id), service.jobs.get("bob", jobs[1].id)
    assert first.state == "done"
    assert second.state == "failed" and second.error.startswith("audio.wav:")


def finish_times(service: Service) -> list[float | None]:
    """Read when each job finished, over a session that the test does not replace."""
    with service.database.write_session() as session:
        return list(session.scalars(select(JobRecord.finished)))


def test_job_over_time_limit_fails_without_result(make_service, add_job):
    service = make_service(job_seconds=1e-6)
    job = add_job(service, **OPTIONS)
    with running(service):
        failed = wait_for_job(service, "ann", job.id)
    assert failed.state == "failed" and "1e-06 s" in failed.error
    assert service.storage.names("results") == []


def test_oversized_frames_inside_a_video_are_skipped(make_service, media):
    service = make_service(frame_pixels=64 * 64)
    video = encode_h264(64, 30) + encode_h264(512, 10) + encode_h264(80, 10) + encode_h264(64, 5)
    (media / "sizes.h264").write_bytes(video)
    face = service.uploads.save("ann", media / "sizes.h264", "face.h264", "face")
    audio = service.uploads.save("ann", media / "audio.wav", "audio.wav", "audio")
    job = service.jobs.submit("ann", face, audio, "", parse_job_options({**OPTIONS, "short": "keep"}))
    with running(service):
        finished = wait_for_job(service, "ann", job.id)
    assert (finished.state, finished.frames) == ("done", 35)


def encode_h264(side: int, frames: int) -> bytes:
    """Encode square frames to a raw stream, which others can be appended to."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width = codec.height = side
    codec.pix_fmt, codec.time_base = "yuv420p", Fraction(1, 25)
    packets = []
    for level in range(frames):
        frame = av.VideoFrame.from_ndarray(np.full((side, side, 3), 5 * level, np.uint8), "rgb24")
        frame.pts = level
        packets += codec.encode(frame)
    return b"".join(map(bytes, packets + codec.encode(None)))


def hang_until(event: threading.Event):  # type: ignore[no-untyped-def]
    """Return a replacement of LipSync.__call__ that ignores its cancellation, like a decoder that never returns."""

    def call(*_arguments: object, **_options: object) -> None:
        event.wait(30)
        raise InputError("late")

    return call


def test_worker_without_progress_is_shown_and_replaced(make_service, add_job, monkeypatch):
    monkeypatch.setattr(worker_pool, "WATCH_INTERVAL_S", 3600.0)
    service, released = make_service(stall_seconds=0.2, running_per_client=2), threading.Event()
    generate = LipSync.__call__
    monkeypatch.setattr(LipSync, "__call__", hang_until(released))
    stuck = add_job(service, **OPTIONS)
    with running(service):
        wait_for_state(service, stuck.id, "running")
        time.sleep(0.3)
        assert service.problem == "a worker makes no progress"
        monkeypatch.setattr(LipSync, "__call__", generate)
        service._workers.replace_stalled()
        failed = service.jobs.get("ann", stuck.id)
        assert failed.state == "failed" and "no progress for 0.2 s" in failed.error
        assert service.problem == "" and service._workers.num_hanging == 1
        assert b'wav2lip_jobs_ended_total{engine="wav2lip",state="failed"} 1.0' in service.metrics.render(0, 0, 0)
        assert wait_for_job(service, "ann", add_job(service, **OPTIONS).id).state == "done"
        released.set()
        service._workers._replaced[0].join(10)
        assert service.jobs.get("ann", stuck.id).error == failed.error  # the late outcome changes nothing


def test_stop_ends_while_a_decoder_hangs_and_requeues_its_job(make_service, add_job, monkeypatch):
    monkeypatch.setattr(worker_pool, "STOP_TIMEOUT_S", 0.3)
    service, released = make_service(), threading.Event()
    monkeypatch.setattr(LipSync, "__call__", hang_until(released))
    job = add_job(service, **OPTIONS)
    service.start()
    wait_for_state(service, job.id, "running")
    start = time.monotonic()
    service.stop()
    assert time.monotonic() - start < 5
    with service.database.read_session() as session:
        record = session.scalars(select(JobRecord)).one()
        assert (record.state, record.attempts) == ("queued", 0)
    released.set()


def test_unexpected_database_error_restarts_the_worker(make_service, add_job, monkeypatch):
    monkeypatch.setattr(worker_pool, "WATCH_INTERVAL_S", 0.02)
    service, errors = make_service(), [ProgrammingError("SELECT", {}, Exception("no such column"))]
    dequeue = service.queue.dequeue

    def fail_once():  # type: ignore[no-untyped-def]
        if errors:
            raise errors.pop()
        return dequeue()

    monkeypatch.setattr(service.queue, "dequeue", fail_once)
    job = add_job(service, **OPTIONS)
    with running(service):
        assert wait_for_job(service, "ann", job.id).state == "done"
        assert service.problem == ""


def test_run_whose_lease_has_expired_is_cancelled(make_service, add_job, monkeypatch):
    service, released = make_service(), threading.Event()
    generate = LipSync.__call__

    def wait_until_cancelled(*arguments: object, **options: object):  # type: ignore[no-untyped-def]
        is_cancelled = arguments[-1]
        assert callable(is_cancelled)
        while not is_cancelled():
            released.wait(0.01)
        raise Cancelled

    monkeypatch.setattr(LipSync, "__call__", wait_until_cancelled)
    job = add_job(service, **OPTIONS)
    with running(service):
        wait_for_state(service, job.id, "running")
        monkeypatch.setattr(LipSync, "__call__", generate)
        service.queue.recover()  # as another worker does after the lease
        worker = service._workers._workers[0]
        service._workers._renew(worker, worker.job)
        finished = wait_for_job(service, "ann", job.id)
    assert (finished.state, finished.run) == ("done", 2)
    events = [(event.event, event.run) for event in service.jobs.history("ann", job.id)]
    assert events == [("queued", 0), ("started", 1), ("lost", 1), ("started", 2), ("done", 2)]


def test_result_is_on_disk_before_its_record(make_service, add_job, monkeypatch):
    service, events = make_service(), []
    finish = service.queue.finish
    job = add_job(service, **OPTIONS)
    monkeypatch.setattr(storage, "flush_file", lambda path: events.append(path.suffix))
    monkeypatch.setattr(storage, "flush_folder", lambda path: events.append(path.name))
    monkeypatch.setattr(service.queue, "finish", lambda *a, **k: events.append("record") or finish(*a, **k))
    with running(service):
        wait_for_job(service, "ann", job.id)
    assert events == [".mp4", "results", "record"]


def test_messages_show_no_folder_of_the_server(make_service, add_job):
    service = make_service()
    job, folder = add_job(service), service.storage.path("results")
    message = f"Error opening {folder}/.{job.id}.7.partial.mp4: No space left; {service.uploads.path(job.face.id)}: odd"
    assert service._workers._redact_paths(job, message) == "Error opening the file: No space left; face.mp4: odd"
    checkpoint = service.settings.checkpoints["thin"]
    assert service._workers._redact_paths(job, f"{checkpoint}: corrupt") == "thin.pth: corrupt"


def wait_for_state(service: Service, job_id: str, state: str) -> None:
    deadline = time.monotonic() + 20
    while service.jobs.get("ann", job_id).state != state:
        assert time.monotonic() < deadline
        time.sleep(0.01)
