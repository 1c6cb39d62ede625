"""JobQueue: order, attempts, cancellation and recovery. The tests play the workers."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from tests.helpers.serve import result_path
from wav2lip.serve.db.tables import JobRecord
from wav2lip.serve.jobs.job import Progress
from wav2lip.serve.jobs.options import parse_job_options


def test_dequeue_is_first_come_first_served(make_service, add_job):
    service = make_service()
    queue, jobs = service.queue, service.jobs
    ids = [add_job(service, client).id for client in ("ann", "bob", "ann")]
    assert [jobs.get("ann", ids[0]).position, jobs.get("bob", ids[1]).position] == [1, 2]
    first = queue.dequeue()
    assert first.id == ids[0]
    assert jobs.get("bob", ids[1]).position == 1
    assert queue.dequeue().id == ids[1]
    assert queue.dequeue() is None  # running_per_client is 1, and ann's first job runs
    queue.finish(first, "done", frames=1)
    assert queue.dequeue().id == ids[2]


def test_recover_keeps_order_and_options(make_service, add_job):
    before = make_service(running_per_client=5)
    ids = [add_job(before, rotate=number == 1, crop=(0, -1, 0, number)).id for number in range(1, 4)]
    assert [before.queue.dequeue().id, before.queue.dequeue().id] == ids[:2]
    after = make_service(running_per_client=5)  # as if the first had been killed
    assert after.queue.recover() == 2
    jobs = [after.queue.dequeue() for _ in ids]
    assert [job.id for job in jobs] == ids
    assert [job.options for job in jobs] == [
        parse_job_options({"rotate": number == 1, "crop": (0, -1, 0, number)}) for number in range(1, 4)
    ]


def test_recover_fails_job_after_three_attempts(make_service, add_job):
    job = add_job(make_service())
    for _ in range(3):
        service = make_service()
        service.queue.recover()
        assert service.queue.dequeue().id == job.id
    service = make_service()
    assert service.queue.recover() == 0
    failed = service.jobs.get("ann", job.id)
    assert failed.state == "failed" and "3 attempts" in failed.error


def test_requeue_does_not_count_as_attempt(make_service, add_job):
    service = make_service()
    job = add_job(service)
    for _ in range(5):
        running = service.queue.dequeue()
        assert running.id == job.id
        service.queue.requeue(running)
    service.queue.dequeue()
    assert service.queue.recover() == 1


def test_progress_and_cancellation_are_those_of_a_run(make_service, add_job):
    service = make_service()
    add_job(service)
    old = service.queue.dequeue()
    service.queue.recover()
    new = service.queue.dequeue()
    service.queue.report(new, Progress("generate", 3, 10))
    service.queue.report(old, Progress("generate", 1, 10))
    assert service.jobs.get("ann", new.id).progress.done == 3
    service.queue.forget(old)
    service.jobs.cancel("ann", new.id)
    assert service.queue.is_cancelled(new) and not service.queue.is_cancelled(old)


def test_recover_ends_cancelled_jobs(make_service, add_job):
    service = make_service()
    ids = [add_job(service, client).id for client in ("ann", "bob")]
    assert [service.queue.dequeue().id, service.queue.dequeue().id] == ids
    service.jobs.cancel("ann", ids[0])
    after = make_service()  # as if the first had been killed before it stopped the job
    assert after.queue.recover() == 1
    assert after.jobs.get("ann", ids[0]).state == "cancelled"
    assert after.queue.dequeue().id == ids[1]


def test_requeue_ends_cancelled_job(make_service, add_job):
    service = make_service()
    job = add_job(service)
    running = service.queue.dequeue()
    service.jobs.cancel("ann", job.id)
    service.queue.requeue(running)
    assert service.jobs.get("ann", job.id).state == "cancelled" and service.queue.dequeue() is None


def test_finish_of_removed_job_deletes_result(make_service, add_job):
    service = make_service()
    job = add_job(service)
    running = service.queue.dequeue()
    result_path(service, running).write_bytes(b"a video")
    assert service.jobs.remove("ann", job.id).state == "running"
    assert service.queue.finish(running, "done", frames=10, result_size=7) == "cancelled"
    assert service.jobs.get("ann", job.id).state == "cancelled"
    assert service.storage.names("results") == []
    upload_bytes = sum(path.stat().st_size for path in service.uploads.folder.iterdir())
    assert service.uploads.stored_bytes() == upload_bytes


@pytest.mark.parametrize("stored", [{"future_option": 1}, {"fps": 1e9}, {"pads": [1, 2, 3, 4, 5]}], ids=str)
def test_dequeue_fails_jobs_with_unsupported_options(make_service, add_job, stored):
    service = make_service()
    unsupported, job = add_job(service, fit="freeze"), add_job(service, "bob")
    with service.database.write_session() as session:
        record = session.scalars(select(JobRecord).where(JobRecord.id == unsupported.id)).one()
        record.options = record.options | stored
    assert service.jobs.list("ann")[0].options.fit == "freeze"
    assert service.queue.dequeue().id == job.id
    failed = service.jobs.get("ann", unsupported.id)
    assert failed.state == "failed" and next(iter(stored)) in failed.error.lower()


def test_run_that_was_taken_over_changes_nothing(make_service, add_job):
    service = make_service()
    add_job(service)
    old = service.queue.dequeue()
    service.queue.recover()  # another server re-queued the job while the database was unreachable
    new = service.queue.dequeue()
    assert (old.run, new.run) == (1, 2)
    service.queue.requeue(old)
    assert service.queue.finish(old, "failed", error="too late") is None
    assert service.queue.finish(new, "done", frames=10) == "done"
    assert service.queue.finish(new, "done", frames=10) == "done"  # again, as after a commit without an answer
    assert service.queue.finish(old, "failed", error="too late") is None
    assert service.jobs.get("ann", new.id).error is None
