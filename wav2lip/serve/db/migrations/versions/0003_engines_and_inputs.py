"""Store the engine of a job, and inputs besides its face and audio; a job may have no audio."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the table; existing jobs are of the engine wav2lip."""
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("engine", sa.String(16), nullable=False, server_default="wav2lip"))
        jobs.alter_column("audio_id", existing_type=sa.String(64), nullable=True)
    op.create_table(
        "job_inputs",
        sa.Column("job_number", sa.Integer(), sa.ForeignKey("jobs.number"), primary_key=True),
        sa.Column("role", sa.String(16), primary_key=True),
        sa.Column("upload_id", sa.String(64), sa.ForeignKey("uploads.id"), nullable=False),
    )
    op.create_index("ix_job_inputs_upload_id", "job_inputs", ["upload_id"])


def downgrade() -> None:
    """Drop both, and the jobs without audio."""
    op.drop_table("job_inputs")
    op.execute("DELETE FROM jobs WHERE audio_id IS NULL")
    with op.batch_alter_table("jobs") as jobs:
        jobs.alter_column("audio_id", existing_type=sa.String(64), nullable=False)
        jobs.drop_column("engine")
