"""Create the tables of uploads and jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables uploads and jobs."""
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("client", sa.String(200), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer()),
        sa.Column("height", sa.Integer()),
        sa.Column("still", sa.Boolean(), nullable=False),
        sa.Column("seconds", sa.Float()),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("removed", sa.Float()),
    )
    op.create_index("ix_uploads_client", "uploads", ["client"])
    op.create_table(
        "jobs",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("client", sa.String(200), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("face_id", sa.String(64), sa.ForeignKey("uploads.id"), nullable=False),
        sa.Column("audio_id", sa.String(64), sa.ForeignKey("uploads.id"), nullable=False),
        sa.Column("checkpoint_sha256", sa.String(64)),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("started", sa.Float()),
        sa.Column("finished", sa.Float()),
        sa.Column("error", sa.Text()),
        sa.Column("without_face", sa.JSON(), nullable=False),
        sa.Column("frames", sa.Integer()),
        sa.Column("fps", sa.Float()),
        sa.Column("result_sha256", sa.String(64)),
        sa.Column("result_size", sa.BigInteger()),
        sa.Column("removed", sa.Float()),
    )
    op.create_index("ix_jobs_client", "jobs", ["client"])
    op.create_index("ix_jobs_state", "jobs", ["state"])


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("jobs")
    op.drop_table("uploads")
