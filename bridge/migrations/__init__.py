"""Alembic migrations of `bridge.store.tables`, for SQLite and PostgreSQL alike; `bridge.store.database` runs
them."""
