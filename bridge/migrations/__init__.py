"""Alembic migrations of `bridge.tables`, for SQLite and PostgreSQL alike; `bridge.database` runs them."""
