"""Looks at all of the store: pages, rows without a meter, packs, profiles, the audit; it changes nothing.

The bridge may run meanwhile: each meter is looked at as it is at one moment. Memory does not grow with the
number of readings.

>>> check(engine).findings  # doctest: +SKIP
['reading: 7 rows of meter key 12, which the registry does not have']
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, Row, Table, func, select
from sqlalchemy.exc import DBAPIError
from sqlmodel import col

from bridge.store.audit_verify import TamperedError, verified
from bridge.store.database import snapshot
from bridge.store.pack_format import MAX_READINGS, unpacked
from bridge.store.profile_format import Day
from bridge.store.tables import DAY_MS, DeadLetter, LoadProfile, Meter, Pack, Reading, Spare, metadata, moment
from broker.contract.errors import reason

SHOWN = 20
"""Findings of one kind that are listed; further ones are counted."""
_OF_METERS = (
    *("reading", "reading_pack", "rollup", "due", "alarm", "load_profile", "profile_correction"),
    *("profile_sum", "supply_quality"),
)
_PROFILE = [getattr(LoadProfile, name) for name in LoadProfile.model_fields]
_PACK = [getattr(Pack, name) for name in Pack.model_fields]
Look = Callable[[Sequence[int]], Iterable[int]]
_OF_CREDIT = ("credit_account", "credit_entry", "credit_interval", "credit_action")


@dataclass
class Report:
    """What there is, and what is wrong with it."""

    counts: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def note(self, found: Iterable[str], what: str) -> None:
        """Take what is wrong with ``what``; a database that cannot be read there is a finding, too."""
        count = 0
        try:
            for count, finding in enumerate(found, start=1):
                if count <= SHOWN:
                    self.findings.append(finding)
        except DBAPIError as error:
            self.findings.append(f"{what}: cannot be read: {reason(error)}")
        if count > SHOWN:
            self.findings.append(f"{what}: {count - SHOWN} more of these")


def check(engine: Engine, *, through: Look = iter) -> Report:
    """Look at all of it; ``through`` gets the meters and says which is looked at (for a progress bar)."""
    report = Report()
    counts = report.counts
    looks: dict[str, Callable[[Connection], Iterator[str]]] = {
        "database": _pages,
        "counts": partial(_counted, counts=counts),
        **{name: partial(_orphans, table=metadata.tables[name]) for name in (*_OF_METERS, *_OF_CREDIT)},
        "meter": _numbers,
        "dead_letter": _letters,
        "audit": _chain,
        "load_profile data": _profiles,
    }
    for what, look in looks.items():  # each by itself: what cannot be read ends a connection
        report.note(_alone(engine, look), what)
    report.note(_packs(engine, through, counts), "reading_pack")
    return report


def _alone(engine: Engine, look: Callable[[Connection], Iterator[str]]) -> Iterator[str]:
    with snapshot(engine) as connection:
        yield from look(connection)


def _pages(connection: Connection) -> Iterator[str]:
    """SQLite's own look at its file and indexes; PostgreSQL finds a damaged page when it reads it."""
    if connection.dialect.name == "sqlite":
        for (verdict,) in connection.exec_driver_sql(f"PRAGMA integrity_check({SHOWN})"):
            if verdict != "ok":
                yield f"database: {verdict}"


def _counted(connection: Connection, counts: dict[str, int]) -> Iterator[str]:
    for name, table in sorted(metadata.tables.items()):
        counts[name] = connection.scalar(select(func.count()).select_from(table)) or 0
    yield from ()


def _orphans(connection: Connection, table: Table) -> Iterator[str]:
    meter = table.c.meter
    known = select(col(Meter.key))
    lost = (meter.not_in(known), meter != 0)  # 0: an alarm of the server itself
    wanted = select(meter, func.count()).where(*lost).group_by(meter).order_by(meter)
    for key, count in connection.execute(wanted):
        yield f"{table.name}: {count} rows of meter key {key}, which the registry does not have"


def _numbers(connection: Connection) -> Iterator[str]:
    """A logical device belongs to one meter."""
    number = col(Meter.number)
    twice = select(number).where(number.is_not(None)).group_by(number).having(func.count() > 1)
    for found in connection.scalars(twice.order_by(number)):
        yield f"meter: more than one has the logical device M{found}"
    free = select(number).join(Spare, col(Spare.number) == number).where(col(Spare.use) != "taken")
    for found in connection.scalars(free.order_by(number)):
        yield f"meter: the logical device M{found} is a meter's, and a spare one"
    placeless = select(col(Meter.meter_id)).where(col(Meter.ied).is_not(None), number.is_(None))
    for meter_id in connection.scalars(placeless):
        yield f"meter: {meter_id} has an IED and no logical device"


def _letters(connection: Connection) -> Iterator[str]:
    """A payload that is kept whole has the hash that was noted."""
    wanted = select(col(DeadLetter.key), col(DeadLetter.payload), col(DeadLetter.sha256)).where(
        func.length(col(DeadLetter.payload)) == col(DeadLetter.size), col(DeadLetter.size) > 0
    )
    for key, payload, sha256 in connection.execute(wanted, execution_options={"yield_per": 100}):
        if hashlib.sha256(payload).hexdigest() != sha256:
            yield f"dead_letter: the payload of {key} is not the one that was kept"


def _chain(connection: Connection) -> Iterator[str]:
    try:
        for _ in verified(connection):
            pass
    except TamperedError as error:
        yield str(error)


def _profiles(connection: Connection) -> Iterator[str]:
    """Each day's intervals can be read, and every field has as many as the day."""
    rows = select(*_PROFILE).order_by(col(LoadProfile.meter), col(LoadProfile.start))
    for meter, start, minutes, data in connection.execute(rows, execution_options={"yield_per": 100}):
        try:
            day = Day(start, minutes, data)
            short = sorted(name for name in (*day.names, "version") if len(day.column(name)) != day.count)
            wrong = f"{', '.join(short)}: not of {day.count} intervals" if short else ""
        except (zlib.error, ValueError, AttributeError, LookupError, TypeError, ArithmeticError) as error:
            wrong = f"it cannot be decoded: {reason(error)}"
        if wrong:
            yield f"load_profile: meter key {meter}, day from {moment(start):%Y-%m-%d}: {wrong}"


def _packs(engine: Engine, through: Look, counts: dict[str, int]) -> Iterator[str]:
    counts["packed_readings"] = 0
    with snapshot(engine) as connection:
        found = connection.scalars(select(col(Meter.key)).order_by(col(Meter.key)))
        keys = [key for key in found if key is not None]
    for key in through(keys):
        with snapshot(engine) as connection:
            before: Row[Any] | None = None
            wanted = select(*_PACK).where(col(Pack.meter) == key).order_by(col(Pack.epoch), col(Pack.seq))
            for pack in connection.execute(wanted, execution_options={"yield_per": 100}):
                counts["packed_readings"] += pack.seq - pack.first_seq + 1
                for wrong in (*_wrong(pack), *_twice(connection, pack, before)):
                    yield f"reading_pack: meter key {key}, epoch {pack.epoch}, seq {pack.seq}: {wrong}"
                before = pack


def _wrong(pack: Row[Any]) -> Iterator[str]:
    """What is wrong with a pack by itself."""
    count = pack.seq - pack.first_seq + 1
    if not 0 < count <= MAX_READINGS:
        yield f"it says that it has {count} readings"
        return
    try:
        columns = unpacked(pack.epoch, pack.first_seq, pack.seq, pack.data)
        short = sorted(name for name, values in columns.items() if len(values) != count)
        times = min(columns["ts"]), max(columns["ts"])
    except (zlib.error, ValueError, AttributeError, LookupError, TypeError) as error:
        yield f"it cannot be decoded: {reason(error)}"
        return
    if short:
        yield f"{', '.join(short)}: not of {count} readings"
    elif times != (pack.first_ts, pack.last_ts):
        yield "its times are not those of its readings"
    elif pack.last_ts - pack.first_ts > DAY_MS:
        yield "its readings are of more than a day"


def _twice(connection: Connection, pack: Row[Any], before: Row[Any] | None) -> Iterator[str]:
    """Readings that are stored elsewhere, too."""
    if before is not None and before.epoch == pack.epoch and before.seq >= pack.first_seq:
        yield "it overlaps the pack before it"
    same = (col(Reading.meter) == pack.meter, col(Reading.epoch) == pack.epoch)
    rows = select(col(Reading.seq)).where(*same, col(Reading.seq).between(pack.first_seq, pack.seq)).limit(1)
    if (seq := connection.scalar(rows)) is not None:
        yield f"its reading {seq} is a row, too"
