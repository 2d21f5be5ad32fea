"""The columns of the quantities: a row that is appended to the table of quantities needs no migration.

After the migrations each bridge that starts adds the columns that its table has and the database lacks, of
readings and, of what a plain meter measures, of roll-ups (`bridge.store.statistics`). Columns beyond these
are of a newer program, and stay.

>>> from sqlalchemy import create_engine
>>> from bridge.store.tables import metadata
>>> with create_engine("sqlite://").connect() as connection:
...     metadata.create_all(connection)
...     missing(connection)
{}
"""

from __future__ import annotations

import logging

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Connection, DefaultClause, Float

from bridge.store.tables import ROLLUP, Reading, statistics
from broker.contract.quantities import HOUSEHOLD, QUANTITIES

log = logging.getLogger(__name__)

_READING = str(Reading.__tablename__)

_Columns = list[Column[float] | Column[int]]


def missing(connection: Connection) -> dict[str, _Columns]:
    """Table → the columns that it lacks, in the order of the table of quantities."""
    readings, rollups = _columns(connection, _READING), _columns(connection, ROLLUP.name)
    found: dict[str, _Columns] = {
        _READING: [Column(name, Float) for name in QUANTITIES if name not in readings],
        ROLLUP.name: [
            column for name in HOUSEHOLD for column in statistics(name) if column.name not in rollups
        ],
    }
    return {table: columns for table, columns in found.items() if columns}


def _columns(connection: Connection, table: str) -> set[str]:
    return set(connection.exec_driver_sql(f"SELECT * FROM {table} LIMIT 0").keys())


def add(connection: Connection) -> None:
    """Add what is missing. In the hours and days that are summed up already the quantity's count is 0."""
    operations = Operations(MigrationContext.configure(connection))
    for table, columns in missing(connection).items():
        for column in columns:
            if not column.nullable:
                column.server_default = DefaultClause("0")
            operations.add_column(table, column)
        log.info("database: new columns of %s: %s", table, ", ".join(column.name for column in columns))
