"""INSERT that says what becomes of a row that is there: both databases have it, each by its dialect.

>>> insert_into("sqlite", Due).on_conflict_do_nothing()  # doctest: +SKIP
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import Executable, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import SQLModel


def insert_into(dialect: str, table: type[SQLModel] | Table) -> Any:
    """INSERT, with on_conflict_do_nothing and on_conflict_do_update."""
    return (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)


@lru_cache
def upsert_into(dialect: str, table: type[SQLModel] | Table) -> Executable:
    """INSERT, or else UPDATE of all columns; made once, for SQLAlchemy takes longer than the database."""
    columns = table if isinstance(table, Table) else table.__table__  # type: ignore[attr-defined]
    statement = insert_into(dialect, table)
    values = {column.name: column for column in statement.excluded if not column.primary_key}
    upsert: Executable = statement.on_conflict_do_update(
        index_elements=[column.name for column in columns.primary_key], set_=values
    )
    return upsert
