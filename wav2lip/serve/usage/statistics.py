"""Totals of jobs and uploads per client, day and engine."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields

from sqlalchemy import case, func, select
from sqlalchemy.orm import InstrumentedAttribute

from wav2lip.serve.db.database import Database
from wav2lip.serve.db.tables import JobRecord, UploadRecord
from wav2lip.serve.usage import Group


@dataclass
class Total:
    """Sums over the jobs of a group, and over its uploads; uploads have no engine."""

    name: str
    jobs: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    video_seconds: float = 0.0  # of the results
    run_seconds: float = 0.0  # from the start of a job's last run to its end
    upload_bytes: int = 0


def sum_totals(database: Database, by: Group, client: str | None = None) -> list[Total]:
    """Return the totals of each user, day or engine, sorted by name. client: None for all clients."""
    columns: dict[str, InstrumentedAttribute[str]] = {
        "user": JobRecord.client, "day": JobRecord.day, "engine": JobRecord.engine
    }  # fmt: skip
    group = columns[by]
    video_seconds = case((JobRecord.state == "done", JobRecord.frames / JobRecord.fps), else_=0.0)
    sums = select(
        group, func.count(),
        *(func.sum(case((JobRecord.state == state, 1), else_=0)) for state in ("done", "failed", "cancelled")),
        func.sum(video_seconds), func.sum(JobRecord.finished - JobRecord.started),
    ).group_by(group)  # fmt: skip
    if client is not None:
        sums = sums.where(JobRecord.client == client)
    with database.read_session() as session:
        totals = {
            name: Total(name, jobs, done, failed, cancelled, float(video or 0.0), float(run or 0.0))
            for name, jobs, done, failed, cancelled, video, run in session.execute(sums)
        }
        if by != "engine":
            key = UploadRecord.client if by == "user" else UploadRecord.day
            sizes = select(key, func.sum(UploadRecord.size)).group_by(key)
            if client is not None:
                sizes = sizes.where(UploadRecord.client == client)
            for name, size in session.execute(sizes):
                totals.setdefault(name, Total(name)).upload_bytes = int(size)
    return [totals[name] for name in sorted(totals)]


def format_csv(totals: Iterable[Total], by: Group) -> str:
    """Return totals as CSV with a header."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([by, *(column.name for column in fields(Total)[1:])])
    for total in totals:
        writer.writerow([f"{value:.1f}" if isinstance(value, float) else value for value in astuple(total)])
    return file.getvalue()
