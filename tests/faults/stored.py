"""What the database holds at the end of a run, read by plain SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, NullPool, create_engine, make_url, text

from bridge.store.pack_format import decode
from broker.contract.quantities import QUANTITIES
from tests.faults.cards import COLUMNS, Name, Row


@dataclass(frozen=True)
class Stored:
    """What the database holds."""

    rows: list[tuple[Name, Row]]
    dead: list[tuple[str, bytes, str]]
    """Dead letters: topic, payload, cause."""
    packed: int = 0
    """How many of the rows were in packs."""


def read_stored(url: str) -> Stored:
    """All readings, rows and packs, and all dead letters, by plain SQL."""
    columns = ", ".join(f"r.{column}" for column in COLUMNS)
    readings = (
        f"SELECT m.meter_id, r.epoch, r.seq, r.ts, {columns} "
        "FROM reading r LEFT JOIN meter m ON m.key = r.meter"
    )
    with _connection(url) as connection:
        rows = [
            (Name(str(row[0]), row[1], row[2]), Row(row[3], _values(row[4:])))
            for row in connection.execute(text(readings))
        ]
        packed = list(_packed(connection))
        dead = connection.execute(text("SELECT topic, payload, cause FROM dead_letter"))
        letters = [(topic, bytes(payload), cause) for topic, payload, cause in dead]
        return Stored(rows + packed, letters, len(packed))


def _packed(connection: Connection) -> Iterator[tuple[Name, Row]]:
    """Old readings (a clock was set back for days) may have been packed meanwhile."""
    packs = (
        "SELECT m.meter_id, p.epoch, p.first_seq, p.seq, p.data "
        "FROM reading_pack p LEFT JOIN meter m ON m.key = p.meter"
    )
    for meter_id, *pack in connection.execute(text(packs)):
        for reading in decode(*pack):
            name = Name(str(meter_id), reading.epoch, reading.seq)
            yield name, Row(reading.ts, _values([getattr(reading, column) for column in COLUMNS]))


def stored_upto(url: str) -> dict[str, int]:
    """Meter id → its last stored seq."""
    query = """SELECT m.meter_id, max(r.seq) FROM meter m
        JOIN (SELECT meter, seq FROM reading UNION ALL SELECT meter, seq FROM reading_pack) r
        ON m.key = r.meter GROUP BY m.meter_id"""
    with _connection(url) as connection:
        return {str(row[0]): int(row[1]) for row in connection.execute(text(query))}


def told_upto(url: str) -> dict[str, int]:
    """Meter id → the seq of its last reading with a value; readings that are packed are not looked at."""
    query = f"""SELECT m.meter_id, max(r.seq) FROM meter m JOIN reading r ON m.key = r.meter
        WHERE coalesce({", ".join(f"r.{column}" for column in QUANTITIES)}) IS NOT NULL GROUP BY m.meter_id"""
    with _connection(url) as connection:
        return {str(row[0]): int(row[1]) for row in connection.execute(text(query))}


def named(url: str, kind: str) -> bool:
    """Whether the bridge has raised an alarm of ``kind``."""
    with _connection(url) as connection:
        query = text("SELECT count(*) FROM alarm WHERE kind = :kind")
        return bool(connection.execute(query, {"kind": kind}).scalar())


@contextmanager
def _connection(url: str) -> Iterator[Connection]:
    parsed = make_url(url)
    driver = "postgresql+psycopg" if parsed.drivername == "postgresql" else parsed.drivername
    parsed = parsed.set(drivername=driver)
    if driver == "sqlite":  # a file that is not there yet is the bridge's to make
        parsed = parsed.set(database=f"file:{parsed.database}", query={"mode": "ro", "uri": "true"})
    engine = create_engine(parsed, poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def _values(values: Iterable[Any]) -> tuple[float | bool | None, ...]:
    """SQLite has no booleans: its alarm is 0 or 1."""
    *quantities, alarm = values
    return (*quantities, None if alarm is None else bool(alarm))
