"""Add leases and progress of running jobs and a history of each job, so that workers on several machines share them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table job_events; the history of existing jobs is empty."""
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("runs", sa.Integer(), nullable=False, server_default="0"))
        jobs.add_column(sa.Column("lease_expires", sa.Float()))
        jobs.add_column(sa.Column("stage", sa.String(16)))
        jobs.add_column(sa.Column("frames_done", sa.Integer(), nullable=False, server_default="0"))
        jobs.add_column(sa.Column("frames_total", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE jobs SET runs = attempts")
    op.create_table(
        "job_events",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("job_number", sa.Integer(), sa.ForeignKey("jobs.number"), nullable=False),
        sa.Column("time", sa.Float(), nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(200)),
    )
    op.create_index("ix_job_events_job_number", "job_events", ["job_number"])


def downgrade() -> None:
    """Drop the table and the columns."""
    op.drop_table("job_events")
    with op.batch_alter_table("jobs") as jobs:
        for column in ("frames_total", "frames_done", "stage", "lease_expires", "runs"):
            jobs.drop_column(column)
