"""Events that wait on this machine's disk for the audit: in their order, and each of them once.

The audit is in the database, which may be locked or away. Who must not wait for it keeps an event in a small
SQLite file of its own first; :meth:`Spool.move` brings what was kept into the audit, now or later. A process
that is killed between the two loses nothing, and repeats nothing: before a batch is written, the spool
remembers the end of the audit, and whoever moves next looks behind that end for the batch.

>>> spool = Spool(opened(Path("web-audit.sqlite")), url=url, lock=Path("web-audit.lock"))  # doctest: +SKIP
>>> spool.keep(Event(Kind.LOGIN, who="anna")); spool.move()  # doctest: +SKIP
0
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, replace
from functools import partial
from itertools import takewhile
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col

from bridge.store import audit, database
from bridge.store.audit import Event, Kind
from bridge.store.tables import Audit
from broker import durable
from broker.contract.errors import ConfigurationError, Meter61850Error
from broker.contract.messages import format_ts, utc_now

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS note (no INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS moving (after INTEGER NOT NULL) STRICT;
"""
"""``note``: what waits. ``moving``: the end of the audit before the batch that is being written."""
BUSY_SECONDS = 5.0
_SOME = 100

Opened = Callable[[], AbstractContextManager[sqlite3.Connection]]
"""Opens the SQLite file that holds the two tables; statements outside of a transaction commit at once."""


def opened(file: Path) -> Opened:
    """A spool's own ``file``, made if it is missing; ConfigurationError if that is not possible."""
    try:
        durable.make_folder(file.parent)
        durable.create(file)
        with _connection(file) as connection:
            connection.executescript(SCHEMA)
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(f"spool {file}: {error}; a folder that this user may write to") from error
    return partial(_connection, file)


@contextmanager
def _connection(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        yield connection


def note(connection: sqlite3.Connection, event: Event) -> None:
    """Keep ``event`` with the caller's transaction; its detail says when it happened."""
    told = replace(event, detail={**event.detail, "at": format_ts(utc_now())})
    connection.execute("INSERT INTO note (event) VALUES (?)", (json.dumps(asdict(told), default=str),))


class Spool:
    """What waits for the audit at ``url``; one process at a time moves, which the file ``lock`` sees to."""

    def __init__(self, opened: Opened, *, url: str, lock: Path) -> None:
        self._opened = opened
        self._url = url
        self._lock = lock
        self._away = False

    def keep(self, event: Event) -> None:
        """Keep one event, on the disk when it returns; sqlite3.Error if that fails."""
        with self._opened() as connection:
            note(connection, event)

    def move(self) -> int:
        """Move what is kept to the audit; how many are left (at most 100), because it is not there."""
        kept = self._kept()
        if not kept or not self._is_there():
            return len(kept)
        with durable.locked(self._lock):
            try:
                self._move()
                self._away = False
            except (SQLAlchemyError, Meter61850Error) as error:
                if not self._away:
                    log.warning("the audit is not there, it is told later: %s", error)
                self._away = True
        return len(self._kept())

    def _move(self) -> None:
        engine = database.connect(self._url)
        try:
            while kept := self._kept():
                events = [event for _, event in kept]
                written = self._written(engine, events)
                if not written:
                    self._remember_end(engine)
                    audit.record(engine, *events)
                    written = len(events)
                self._forget(kept[written - 1][0])
        finally:
            engine.dispose()

    def _written(self, engine: Engine, events: Sequence[Event]) -> int:
        """How many of ``events``, from the first on, a move that was cut short has written.

        They were one transaction, so they follow each other; each has its time to the millisecond.
        """
        with self._opened() as connection:
            row = connection.execute("SELECT after FROM moving").fetchone()
        if row is None:
            return 0
        told = [audit.content(event) for event in events]
        columns = [getattr(Audit, name) for name in told[0]]
        same = [column == value for column, value in zip(columns, told[0].values(), strict=True)]
        with engine.connect() as reading:
            first = select(col(Audit.no)).where(col(Audit.no) > row[0], *same)
            no = reading.scalar(first.order_by(col(Audit.no)).limit(1))
            if no is None:
                return 0
            rows = select(*columns).where(col(Audit.no) >= no).order_by(col(Audit.no)).limit(len(told))
            found = [row._asdict() for row in reading.execute(rows)]
        pairs = takewhile(lambda pair: pair[0] == pair[1], zip(found, told, strict=False))
        return sum(1 for _ in pairs)

    def _remember_end(self, engine: Engine) -> None:
        with engine.connect() as reading:
            end = audit.head(reading).no
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM moving")
            connection.execute("INSERT INTO moving (after) VALUES (?)", (end,))
            connection.execute("COMMIT")

    def _is_there(self) -> bool:
        """A SQLite file that is not there yet is the bridge's to make."""
        file = self._url.removeprefix("sqlite:///")
        return bool(self._url) and (file == self._url or Path(file).is_file())

    def _kept(self) -> list[tuple[int, Event]]:
        with self._opened() as connection:
            rows = connection.execute("SELECT no, event FROM note ORDER BY no LIMIT ?", (_SOME,)).fetchall()
        return [(int(no), _event(event)) for no, event in rows]

    def _forget(self, last: int) -> None:
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM note WHERE no <= ?", (last,))
            connection.execute("DELETE FROM moving")
            connection.execute("COMMIT")


def _event(text: str) -> Event:
    told = json.loads(text)
    return Event(**{**told, "kind": Kind(told["kind"])})
