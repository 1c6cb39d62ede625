"""Alembic environment: migrate the tables over a connection that the caller has opened."""

from alembic import context

from wav2lip.serve.db.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter a column in place
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
