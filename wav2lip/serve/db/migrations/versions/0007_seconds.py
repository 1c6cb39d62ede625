"""Store the duration of videos, and of the video that a job makes, by which unfinished jobs count for quotas."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns; existing jobs last as long as their audio."""
    with op.batch_alter_table("uploads") as uploads:
        uploads.add_column(sa.Column("video_seconds", sa.Float()))
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("seconds", sa.Float(), nullable=False, server_default="0"))
    audio = "SELECT uploads.seconds FROM uploads WHERE uploads.id = jobs.audio_id"
    op.execute(f"UPDATE jobs SET seconds = COALESCE(({audio}), 0)")


def downgrade() -> None:
    """Drop both."""
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("seconds")
    with op.batch_alter_table("uploads") as uploads:
        uploads.drop_column("video_seconds")
