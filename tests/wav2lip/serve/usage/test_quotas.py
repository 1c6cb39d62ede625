"""Quotas of clients per day."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from tests.helpers.serve import FRAMES
from wav2lip.errors import InputError
from wav2lip.serve.db.tables import JobRecord, UploadRecord
from wav2lip.serve.errors import RateLimited
from wav2lip.serve.jobs.client_jobs import video_seconds
from wav2lip.serve.jobs.options import parse_job_options
from wav2lip.serve.usage.__main__ import usage
from wav2lip.serve.usage.quotas import Quota, set_quota


def make_older(service, table) -> None:  # type: ignore[no-untyped-def]
    with service.database.write_session() as session:
        session.execute(update(table).values(day="2020-01-31"))


def test_jobs_per_day_are_limited_for_one_client(make_service, add_job):
    service = make_service()
    set_quota(service.database, "ann", Quota(jobs=2))
    service.jobs.cancel("ann", add_job(service).id)
    add_job(service)
    with pytest.raises(RateLimited, match="2 jobs per day"):
        add_job(service)
    add_job(service, "bob")
    make_older(service, JobRecord)
    add_job(service)


def test_video_seconds_count_by_audio_then_by_result(make_service, add_job):
    service = make_service()
    set_quota(service.database, "ann", Quota(video_seconds=1.0))
    for _ in range(2):
        add_job(service)  # 0.4 s of audio
    with pytest.raises(RateLimited, match=r"takes 0\.4 s, but only 0\.2 s of video are left of your 1 s"):
        add_job(service)
    service.queue.finish(service.queue.dequeue(), "done", frames=5, fps=25.0)  # 0.2 s
    add_job(service)
    with pytest.raises(RateLimited, match=r"0\.4 s, but only 0\.0 s"):
        add_job(service)


def test_unfinished_jobs_count_with_their_longest_audio(make_service, media):
    service = make_service()
    set_quota(service.database, "ann", Quota(video_seconds=10.0))
    face, short, long = (
        service.uploads.save("ann", media / name, name) for name in ("face.mp4", "audio.wav", "seconds.wav")
    )
    options = parse_job_options({"faces": "0,1"})
    service.jobs.submit("ann", face, short, "", options, other_audio=[long])  # 8 s
    with pytest.raises(RateLimited, match=r"only 2\.0 s"):
        service.jobs.submit("ann", face, long)


def test_video_of_a_job_without_audio_lasts_as_long_as_its_motion(make_service, media):
    reference = make_service().uploads.save("ann", media / "face.mp4", "face.mp4")
    assert video_seconds([None], None, reference) == pytest.approx((FRAMES - 1) / 25)  # to the last frame
    assert video_seconds([None], 30.0, reference) == 30.0


def test_uploads_per_day_are_limited_also_after_deletion(make_service, media):
    service = make_service()
    set_quota(service.database, "ann", Quota(upload_mib=2))
    upload = service.uploads.save("ann", media / "minute.wav", "minute.wav")  # 1.8 MiB
    service.uploads.remove("ann", upload.id)
    with pytest.raises(RateLimited, match="2 MiB of uploads per day"):
        service.uploads.save("ann", media / "minute.wav", "minute.wav")
    assert service.storage.names("uploads") == []
    make_older(service, UploadRecord)
    service.uploads.save("ann", media / "minute.wav", "minute.wav")


def test_command_sets_and_prints_quotas(make_service, capsys):
    data = str(make_service().settings.data)
    usage(["quota", "ann", "--jobs", "3", "--data", data])
    usage(["quota", "bob", "--video_seconds", "1.5", "--upload_mib", "0", "--data", data])
    usage(["quota", "ann", "--jobs", "4", "--data", data])
    usage(["quotas", "--data", data])
    assert capsys.readouterr().out == "user,jobs,video_seconds,upload_mib\nann,4,,\nbob,,1.5,0\n"


@pytest.mark.parametrize(
    ("arguments", "keyword"),
    [(["quota", "ann", "--jobs", "-1"], "--jobs=-1"), (["quota", ""], "NAME=''"), (["remove", "eve"], "NAME=eve")],
)
def test_invalid_argument_is_reported(make_service, arguments, keyword):
    with pytest.raises(InputError, match=keyword):
        usage([*arguments, "--data", str(make_service().settings.data)])


def test_missing_data_folder_is_reported(tmp_path):
    with pytest.raises(InputError, match="--data="):
        usage(["totals", "--data", str(tmp_path / "nowhere")])
