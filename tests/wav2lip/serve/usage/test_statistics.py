"""Totals per client, day and engine, compared with sums by hand; removal of a name."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from tests.helpers.serve import bearer
from wav2lip.errors import InputError
from wav2lip.serve.db.tables import JobRecord, UploadRecord
from wav2lip.serve.usage.__main__ import usage
from wav2lip.serve.usage.removal import remove_name
from wav2lip.serve.usage.statistics import sum_totals

JOBS = [  # client, day, engine, state, frames, fps, started, finished
    ("ann", "2026-03-01", "wav2lip", "done", 50, 25.0, 10.0, 13.0),
    ("ann", "2026-03-02", "wav2lip", "done", 30, 30.0, 20.0, 24.0),
    ("ann", "2026-03-02", "sadtalker", "failed", None, None, 30.0, 30.5),
    ("bob", "2026-03-02", "sadtalker", "cancelled", None, None, None, 40.0),
]
BY_USER = (
    "user,jobs,done,failed,cancelled,video_seconds,run_seconds,upload_bytes\n"
    "ann,3,2,1,0,3.0,7.5,300\n"
    "bob,1,0,0,1,0.0,0.0,200\n"
)
BY_DAY = (
    "day,jobs,done,failed,cancelled,video_seconds,run_seconds,upload_bytes\n"
    "2026-03-01,1,1,0,0,2.0,3.0,100\n"
    "2026-03-02,3,1,1,1,1.0,4.5,400\n"
)
BY_ENGINE = (
    "engine,jobs,done,failed,cancelled,video_seconds,run_seconds,upload_bytes\n"
    "sadtalker,2,0,1,1,0.0,0.5,0\n"
    "wav2lip,2,2,0,0,3.0,7.0,0\n"
)


def add_jobs(database) -> None:  # type: ignore[no-untyped-def]
    """Add the jobs; each has an upload of 100 bytes, that of bob one of 200."""
    with database.write_session() as session:
        for number, (client, day, engine, state, frames, fps, started, finished) in enumerate(JOBS):
            size = 100 if client == "ann" else 200
            session.add(UploadRecord(id=f"u{number}", client=client, name=f"{client}.mp4", sha256="", size=size,
                                     still=False, created=1.0, day=day))  # fmt: skip
            session.flush()
            session.add(JobRecord(id=f"j{number}", client=client, state=state, engine=engine, model="thin", options={},
                                  face_id=f"u{number}", created=1.0, day=day, without_face=[], frames=frames, fps=fps,
                                  started=started, finished=finished, error=f"{client}.mp4: odd"))  # fmt: skip


@pytest.mark.parametrize(("by", "expected"), [("user", BY_USER), ("day", BY_DAY), ("engine", BY_ENGINE)])
def test_command_prints_totals(make_service, capsys, by, expected):
    service = make_service()
    add_jobs(service.database)
    usage(["totals", "--by", by, "--data", str(service.settings.data)])
    assert capsys.readouterr().out == expected


def test_removed_name_is_in_no_record_and_sums_stay(make_service, capsys):
    service = make_service()
    add_jobs(service.database)
    before = sum_totals(service.database, "user")
    usage(["quota", "ann", "--jobs", "9", "--data", str(service.settings.data)])
    usage(["remove", "ann", "--data", str(service.settings.data)])
    alias = capsys.readouterr().out.strip()
    after = {total.name: total for total in sum_totals(service.database, "user")}
    assert after.keys() == {"bob", alias}
    assert vars(after[alias]) == vars(before[0]) | {"name": alias}
    with service.database.engine.connect() as connection:
        for table in ("uploads", "jobs", "job_events", "clients"):
            assert "ann" not in str(list(connection.execute(text(f"SELECT * FROM {table}"))))


def test_name_with_unfinished_job_is_not_removed(make_service, add_job):
    service = make_service()
    add_job(service)
    with pytest.raises(InputError, match="unfinished job"):
        remove_name(service.database, "ann")
    with service.database.read_session() as session:
        assert session.scalars(select(JobRecord.client)).all() == ["ann"]


def test_api_returns_own_totals_and_all_to_administrators(start_server, key_file):
    path, keys = key_file
    client = start_server(keys=path, admins=("bob",))
    add_jobs(client.app.state.service.database)
    own = client.get("/v1/usage", params={"by": "day"}, headers=bearer(keys["ann"])).json()
    assert [(total["name"], total["jobs"], total["video_seconds"]) for total in own] == [
        ("2026-03-01", 1, 2.0), ("2026-03-02", 2, 1.0)
    ]  # fmt: skip
    for_all = {"by": "user", "scope": "all", "format": "csv"}
    assert client.get("/v1/usage", params=for_all, headers=bearer(keys["ann"])).status_code == 403
    response = client.get("/v1/usage", params=for_all, headers=bearer(keys["bob"]))
    assert response.text == BY_USER and response.headers["content-type"].startswith("text/csv")
