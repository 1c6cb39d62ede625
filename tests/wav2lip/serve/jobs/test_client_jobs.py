"""ClientJobs: queue limits, ownership and results."""

from __future__ import annotations

import pytest

from wav2lip.serve.errors import Conflict, NotFound, RateLimited, Unavailable


def test_submit_enforces_queue_limits(make_service, add_job):
    service = make_service(queued_per_client=2, queue_length=3)
    add_job(service)
    add_job(service)
    with pytest.raises(RateLimited, match="^2 "):
        add_job(service)
    add_job(service, "bob")
    with pytest.raises(Unavailable, match="3 jobs"):
        add_job(service, "eve")
    service.jobs.cancel("ann", service.jobs.list("ann")[0].id)
    assert add_job(service, "eve").position == 3


def test_another_clients_job_is_not_found(make_service, add_job):
    service = make_service()
    jobs = service.jobs
    job = add_job(service)
    for method in (jobs.get, jobs.cancel, jobs.result_path, jobs.remove):
        with pytest.raises(NotFound):
            method("bob", job.id)
    assert jobs.list("bob") == [] and jobs.get("ann", job.id).state == "queued"


def test_submit_rejects_another_clients_upload(make_service, media):
    service = make_service()
    face = service.uploads.save("ann", media / "face.mp4", "face.mp4", "face")
    audio = service.uploads.save("bob", media / "audio.wav", "audio.wav", "audio")
    with pytest.raises(NotFound):
        service.jobs.submit("bob", face, audio)


def test_result_path_conflicts_until_done(make_service, add_job):
    service = make_service()
    job = add_job(service)
    with pytest.raises(Conflict, match="queued"):
        service.jobs.result_path("ann", job.id)
    running = service.queue.dequeue()
    with pytest.raises(Conflict, match="running"):
        service.jobs.result_path("ann", job.id)
    service.queue.finish(running, "failed", error="no such luck")
    with pytest.raises(Conflict, match="failed"):
        service.jobs.result_path("ann", job.id)
    assert service.jobs.get("ann", job.id).error == "no such luck"
