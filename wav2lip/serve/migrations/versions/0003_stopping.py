"""Whether the client of a running job wants it no more, so that a server that dies does not forget it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Jobs there were are wanted."""
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("stopping", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Without it."""
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("stopping")
