"""Store the name of each result, which differs between runs, and the secrets that several servers share."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the table; existing results keep their name."""
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("result_name", sa.String(100)))
    op.execute("UPDATE jobs SET result_name = id || '.mp4' WHERE state = 'done'")
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.LargeBinary(), nullable=False),
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_table("secrets")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("result_name")
