"""Add quotas of clients, and the day of uploads and jobs by which they and the totals count."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table clients and the days in UTC."""
    op.create_table(
        "clients",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("jobs", sa.Integer()),
        sa.Column("video_seconds", sa.Float()),
        sa.Column("upload_mib", sa.Integer()),
    )
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    day = (
        "date(created, 'unixepoch')" if is_sqlite else "to_char(to_timestamp(created) AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
    )
    for name in ("uploads", "jobs"):
        with op.batch_alter_table(name) as table:
            table.add_column(sa.Column("day", sa.String(10), nullable=False, server_default=""))
        op.execute(f"UPDATE {name} SET day = {day}")


def downgrade() -> None:
    """Drop all of it."""
    for name in ("jobs", "uploads"):
        with op.batch_alter_table(name) as table:
            table.drop_column("day")
    op.drop_table("clients")
