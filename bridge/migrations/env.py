"""Alembic's entry: migrate over the connection that `bridge.store.database.migrate` opened, in its
transaction."""

from __future__ import annotations

from alembic import context

from bridge.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite too: the connection begins its transactions itself
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
