"""Removal of a client's name from all records."""

from __future__ import annotations

import secrets

from sqlalchemy import delete, select, update

from wav2lip.errors import InputError
from wav2lip.serve.db.database import Database
from wav2lip.serve.db.tables import ClientRecord, JobRecord, UploadRecord


def remove_name(database: Database, client: str) -> str:
    """Replace a client's name in all records by a random one, which is returned; its totals stay.

    Names of its files and messages that contain them are deleted, and so is its quota. Files are deleted after their
    retention. Raises: InputError if the client has no record, or a job that is not finished.
    """
    alias = f"removed {secrets.token_hex(8)}"
    with database.write_session() as session:
        unfinished = select(JobRecord.id).where(JobRecord.client == client, JobRecord.state.in_(("queued", "running")))
        if session.scalars(unfinished.limit(1)).first() is not None:
            raise InputError(f"NAME={client}: has an unfinished job; cancel it or wait for it")
        changed = [
            session.execute(update(JobRecord).where(JobRecord.client == client).values(client=alias, error=None)),
            session.execute(
                update(UploadRecord).where(UploadRecord.client == client).values(client=alias, name="removed")
            ),
            session.execute(delete(ClientRecord).where(ClientRecord.name == client)),
        ]
        if not any(result.rowcount for result in changed):  # type: ignore[attr-defined]
            raise InputError(f"NAME={client}: has no record; totals --by user lists all names")
    return alias
