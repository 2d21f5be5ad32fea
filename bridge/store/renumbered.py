"""Databases that were made between releases, by migrations that had other numbers or another order later.

| made on | its number | what it has | goes on from |
|---|---|---|---|
| 2026-11-24 | 0004 | 0003 and the blocks (now 0005) | 0003 |
| 2026-11-29 | 0020 | 0007 and doubtful energy (now 0009) | 0007 |
| 2026-11-29 | 0010 | 0007, doubtful energy (0009) and relays (0010), not 0008 | 0007 |

From there the migrations leave out what is there already.
"""

from __future__ import annotations

import logging

from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

log = logging.getLogger(__name__)


def settle(connection: Connection) -> None:
    """Give such a database the number from which it goes on; any other stays as it is."""
    found = MigrationContext.configure(connection).get_current_revision()
    number = _number(connection, found)
    if number != found:
        log.info("database: schema %s was made between releases, and goes on from %s", found, number)
        connection.execute(text("UPDATE alembic_version SET version_num = :number"), {"number": number})


def _number(connection: Connection, found: str | None) -> str | None:
    tables = inspect(connection).get_table_names()
    if found == "0004" and "block_change" in tables:
        return "0003"
    if found == "0020" or (found == "0010" and "alarm" not in tables):
        return "0007"
    return found
