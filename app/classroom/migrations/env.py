"""What Alembic runs: the migrations, on the connection that `app.classroom.schema` has opened and locked."""

from __future__ import annotations

from alembic import context

from app.classroom.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
