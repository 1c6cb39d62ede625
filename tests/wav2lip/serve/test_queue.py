"""The queue: in order, bounded, and there after a restart. Workers are played by the test."""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from wav2lip.errors import InputError
from wav2lip.serve import workers
from wav2lip.serve.job import JobOptions
from wav2lip.serve.records import JobRecord
from wav2lip.serve.refusals import Full, NotNow, NotThere, TooMany
from wav2lip.serve.service import Service


@pytest.fixture
def ask(media):
    """Ask a service for a job in a client's name."""

    def asked(service: Service, client: str = "ann", **options: object):  # type: ignore[no-untyped-def]
        face = service.uploads.take(client, media / "face.mp4", "face.mp4", "face")
        audio = service.uploads.take(client, media / "sound.wav", "sound.wav", "audio")
        return service.jobs.submit(client, face, audio, "", JobOptions(**options))  # type: ignore[arg-type]

    return asked


def test_first_come_first_served_and_everyone_knows_their_place(service, ask):
    jobs = (one := service()).jobs
    ids = [ask(one, client).id for client in ("ann", "bob", "ann")]
    assert [jobs.get("ann", ids[0]).position, jobs.get("bob", ids[1]).position] == [1, 2]
    assert jobs.take().id == ids[0]
    assert jobs.get("bob", ids[1]).position == 1
    assert jobs.take().id == ids[1]
    assert jobs.take() is None  # ann's second waits for her first
    jobs.end(ids[0], "done", frames=1)
    assert jobs.take().id == ids[2]


def test_one_client_may_have_so_many_waiting_and_all_together_so_many(service, ask):
    one = service(queued_per_client=2, queue_length=3)
    ask(one)
    ask(one)
    with pytest.raises(TooMany, match="2 of your jobs wait already"):
        ask(one)
    ask(one, "bob")
    with pytest.raises(Full, match="3 jobs wait already"):
        ask(one, "eve")
    one.jobs.cancel("ann", one.jobs.list("ann")[0].id)
    assert ask(one, "eve").position == 3


def test_another_clients_job_is_not_there_for_anything(service, ask):
    jobs = (one := service()).jobs
    job = ask(one)
    for way in (jobs.get, jobs.cancel, jobs.result, jobs.remove, lambda *who: jobs.wait(*who, 0.1)):
        with pytest.raises(NotThere):
            way("bob", job.id)
    assert jobs.list("bob") == [] and jobs.get("ann", job.id).state == "queued"


def test_another_clients_upload_makes_no_job(service, ask, media):
    one = service()
    face = one.uploads.take("ann", media / "face.mp4", "face.mp4", "face")
    audio = one.uploads.take("bob", media / "sound.wav", "sound.wav", "audio")
    with pytest.raises(NotThere):
        one.jobs.submit("bob", face, audio)


def test_what_waited_and_what_ran_is_made_after_a_restart_in_the_same_order(service, ask):
    before = service(running_per_client=5)
    ids = [ask(before, rotate=number == 1, crop=(0, -1, 0, number)).id for number in range(1, 4)]
    assert [before.jobs.take().id, before.jobs.take().id] == ids[:2]
    after = service(running_per_client=5)  # the first is dead: it said nothing more
    assert after.jobs.recover() == 3
    again = [after.jobs.take() for _ in ids]
    assert [job.id for job in again] == ids
    assert [job.options for job in again] == [
        JobOptions(rotate=number == 1, crop=(0, -1, 0, number)) for number in range(1, 4)
    ]


def test_a_job_that_killed_the_server_three_times_is_not_begun_again(service, ask):
    job = ask(service())
    for _ in range(3):
        one = service()
        one.jobs.recover()
        assert one.jobs.take().id == job.id
    one = service()
    assert one.jobs.recover() == 0
    failed = one.jobs.get("ann", job.id)
    assert failed.state == "failed" and "ended 3 times while this job ran" in failed.error


def test_orderly_stops_do_not_count_as_deaths(service, ask):
    jobs = (one := service()).jobs
    job = ask(one)
    for _ in range(5):
        assert jobs.take().id == job.id
        jobs.put_back(job.id)
    jobs.take()
    assert jobs.recover() == 1


def test_a_running_job_that_was_cancelled_is_not_made_after_the_server_died(service, ask):
    one = service()
    ids = [ask(one, client).id for client in ("ann", "bob")]
    assert [one.jobs.take().id, one.jobs.take().id] == ids
    one.jobs.cancel("ann", ids[0])
    after = service()  # the first was killed before it had stopped the job
    assert after.jobs.recover() == 1
    assert after.jobs.get("ann", ids[0]).state == "cancelled"
    assert after.jobs.take().id == ids[1]


def test_a_job_that_was_cancelled_while_the_server_stops_is_not_put_back(service, ask):
    jobs = (one := service()).jobs
    job = ask(one)
    jobs.take()
    jobs.cancel("ann", job.id)
    jobs.put_back(job.id)
    assert jobs.get("ann", job.id).state == "cancelled" and jobs.take() is None


def test_a_job_that_was_removed_while_it_ran_keeps_no_video_though_it_was_made(service, ask):
    jobs = (one := service()).jobs
    job = ask(one)
    jobs.take()
    jobs.path(job.id).write_bytes(b"a video")
    assert jobs.remove("ann", job.id).state == "running"
    assert jobs.end(job.id, "done", frames=10, result_size=7) == "cancelled"
    assert jobs.get("ann", job.id).state == "cancelled"
    assert list(jobs.folder.iterdir()) == [] and one.uploads.kept() == job_files(one)


def job_files(one: Service) -> int:
    return sum(path.stat().st_size for path in one.uploads.folder.iterdir())


@pytest.mark.parametrize("stored", [{"of_tomorrow": 1}, {"fps": 1e9}, {"pads": [1, 2, 3, 4, 5]}], ids=str)
def test_a_job_with_options_of_another_version_fails_alone(service, ask, stored):
    one = service()
    other, job = ask(one, fit="freeze"), ask(one, "bob")
    with one.database.writing() as session:
        record = session.scalars(select(JobRecord).where(JobRecord.id == other.id)).one()
        record.options = record.options | stored
    assert one.jobs.list("ann")[0].options.fit == "freeze"
    assert one.jobs.take().id == job.id
    failed = one.jobs.get("ann", other.id)
    assert failed.state == "failed" and next(iter(stored)) in failed.error.lower()


def test_a_result_is_refused_with_its_reason_until_it_is_there(service, ask):
    jobs = (one := service()).jobs
    job = ask(one)
    with pytest.raises(NotNow, match="is queued"):
        jobs.result("ann", job.id)
    jobs.take()
    with pytest.raises(NotNow, match="is running"):
        jobs.result("ann", job.id)
    jobs.end(job.id, "failed", error="it was not to be")
    with pytest.raises(NotNow, match="is failed"):
        jobs.result("ann", job.id)
    assert jobs.get("ann", job.id).error == "it was not to be"


@pytest.mark.parametrize(
    "options",
    [{"fps": float("nan")}, {"fps": 61}, {"face_at": (0.0, float("inf"), 1.0)}, {"start": float("nan")}, {"end": -1.0},
     {"resize_factor": 0}, {"resize_factor": 65}, {"pads": (0, 1 << 20, 0, 0)}, {"blend": "x"}, {"faces": "0" * 21}],
    ids=str,
)  # fmt: skip
def test_options_that_cannot_be_are_refused_when_they_are_made(options):
    with pytest.raises(InputError):
        JobOptions(**options)


def test_stored_options_come_back_as_they_were():
    options = JobOptions(pads=(1, 2, 3, 4), box=(1, 2, 3, 4), fit="freeze", face_at=None, end=2.0)
    assert JobOptions.from_json(options.as_json()) == options


def test_a_database_that_is_away_for_a_while_costs_no_job_and_no_worker(service, ask, monkeypatch):
    monkeypatch.setattr(workers, "AGAIN", 0.01)
    one, away = service(), {"take": 2, "end": 2}

    def now_and_then(name: str):  # type: ignore[no-untyped-def]
        real = getattr(one.jobs, name)

        def call(*given: object, **more: object) -> object:
            if away[name]:
                away[name] -= 1
                raise OperationalError("SELECT", {}, Exception("the line is broken"))
            return real(*given, **more)

        return call

    for name in away:
        monkeypatch.setattr(one.jobs, name, now_and_then(name))
    job = ask(one, box=(8, 56, 8, 56), silence="off")
    one.start()
    try:
        assert one.jobs.wait("ann", job.id, 60).state == "done"
        assert away == {"take": 0, "end": 0} and one.works
    finally:
        one.stop()


def test_a_database_that_is_away_while_a_job_runs_is_not_needed(service, ask, monkeypatch):
    monkeypatch.setattr(workers, "AGAIN", 0.01)
    one = service()
    jobs = [ask(one, client, box=(8, 56, 8, 56), silence="off") for client in ("ann", "bob")]
    one.uploads.path(jobs[1].audio.id).unlink()  # so that the second fails with a sentence
    take, end = one.jobs.take, one.jobs.end

    @contextmanager
    def away():  # type: ignore[no-untyped-def]
        raise OperationalError("SELECT", {}, Exception("the line is broken"))
        yield

    def taken():  # type: ignore[no-untyped-def]
        if (job := take()) is not None:
            monkeypatch.setattr(one.database, "reading", away)
        return job

    def ended(*given: object, **more: object):  # type: ignore[no-untyped-def]
        monkeypatch.setattr(one.database, "reading", reading)
        return end(*given, **more)

    reading = one.database.reading
    monkeypatch.setattr(one.jobs, "take", taken)
    monkeypatch.setattr(one.jobs, "end", ended)
    one.start()
    try:
        until = time.monotonic() + 60
        while not all(ends := ends_of_all(one)):
            assert one.works and time.monotonic() < until, ends
            time.sleep(0.02)
    finally:
        one.stop()
    first, second = one.jobs.get("ann", jobs[0].id), one.jobs.get("bob", jobs[1].id)
    assert first.state == "done"
    assert second.state == "failed" and second.error.startswith("sound.wav: no such file")


def ends_of_all(one: Service) -> list[float | None]:
    """When each job ended, asked past what the test has put in between."""
    with one.database.writing() as session:
        return list(session.scalars(select(JobRecord.finished)))


def test_a_job_that_runs_too_long_ends_with_a_sentence_and_leaves_nothing(service, ask):
    one = service(job_seconds=1e-6)
    job = ask(one, box=(8, 56, 8, 56), silence="off")
    one.start()
    try:
        failed = one.jobs.wait("ann", job.id, 60)
    finally:
        one.stop()
    assert failed.state == "failed" and "ran longer than 1e-06 s" in failed.error
    assert list(one.jobs.folder.iterdir()) == []
