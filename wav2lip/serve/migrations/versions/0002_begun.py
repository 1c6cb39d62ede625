"""How often a job was begun, so that one that kills the server is not begun for ever."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Jobs there were have not been begun."""
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("begun", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Without the count."""
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("begun")
