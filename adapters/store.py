"""The one SQLite file of all meters of an adapter, ``adapter.sqlite`` in its data_dir.

A thousand files would be a thousand caches, and two commits for every reading. Here readings to keep and to
forget that come within `WINDOW` seconds are one transaction, made in one thread; each caller goes on when
it is on the disk. Of one meter only one is in a transaction: what the meter counts is right before the
next begins. A transaction that fails is undone, and each of its writes is tried alone, for its own error.

>>> store = Store(Path("data/adapter.sqlite"))          # doctest: +SKIP
>>> store.open()                                        # doctest: +SKIP
>>> outbox = Outbox(store.part("5b3e…"), capacity=1000)  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from broker.contract.errors import ConfigurationError
from meter_firmware.faults import Faults
from meter_firmware.storage import Durability, Form, Storage, StorageError

_log = logging.getLogger(__name__)

FILE_NAME = "adapter.sqlite"
WINDOW = 0.02
"""Seconds that the first of a transaction waits for others."""
_METERS = "CREATE TABLE IF NOT EXISTS meter (number INTEGER PRIMARY KEY, meter_id TEXT NOT NULL UNIQUE);"
MANY_METERS = Form(
    meter="meter INTEGER NOT NULL DEFAULT (me()), ",
    key="meter, ",
    end=" WITHOUT ROWID",
    mine="meter = me()",
    others=_METERS,
    page_size=4096,
    wal_bytes=4 * 1024 * 1024,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Unit:
    """One meter's write that waits for its transaction."""

    part: Part
    job: Callable[[sqlite3.Connection], Any]
    done: Callable[[Any], None]
    durability: Durability
    future: asyncio.Future[Any]


Outcome = tuple[Unit, Any, Exception | None]


class Store(Storage):
    """The file; open it before its parts. Its parts belong to one event loop."""

    form = MANY_METERS

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.number = 0
        """The meter whose turn it is: ``me()`` in statements."""
        self.taken = set[int]()
        """Meters whose part is open."""
        self._waiting = deque[Unit]()
        self._busy = False
        self._faults = Faults(FILE_NAME, logger=_log)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")

    def part(self, meter_id: str) -> Part:
        """What one meter has of it."""
        return Part(self, meter_id)

    def number_of(self, meter_id: str) -> int:
        """The meter's number, a new one if it was never here; StorageError if the disk refuses."""
        for (number,) in self.all("SELECT number FROM meter WHERE meter_id = ?", (meter_id,)):
            return int(number)
        with self.writing("NORMAL") as connection:  # the first reading takes it along to the disk
            number = connection.execute("INSERT INTO meter (meter_id) VALUES (?)", (meter_id,)).lastrowid
        return int(number or 0)

    def close(self) -> None:
        """Write what waits, and give the file back."""
        self.drain()
        super().close()
        self._writer.shutdown(wait=False)

    def take(self, unit: Unit) -> None:
        """Write it soon; its future has the result when that is on the disk, or the error."""
        self._waiting.append(unit)
        self._wake(unit.future.get_loop())

    def drain(self) -> None:
        """Write, in this thread, what waits now."""
        outcomes = list[Outcome]()
        with self.lock:
            while self._waiting:
                outcomes += self._write()
        for loop in {unit.future.get_loop() for unit, _, _ in outcomes}:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_tell, outcomes)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA trusted_schema=ON")  # for the default of meter
        connection.create_function("me", 0, lambda: self.number, deterministic=True)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting and not self._busy:
            self._busy = True
            loop.call_later(WINDOW, self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            writing = loop.run_in_executor(self._writer, self._write)
        except RuntimeError:  # closed meanwhile: its thread takes no more
            self._busy = False
            self.drain()
            return
        writing.add_done_callback(self._ended)

    def _ended(self, writing: asyncio.Future[list[Outcome]]) -> None:
        self._busy = False
        if not writing.cancelled():
            _tell(writing.result())
        self._wake(writing.get_loop())

    def _write(self) -> list[Outcome]:
        """One transaction of what waits."""
        with self.lock:
            units = self._next()
            if len(units) > 1:
                try:
                    return self._at_once(units)
                except Exception as error:  # noqa: BLE001 - each of them meets it again, alone
                    self._faults.tell("writes failed together, each is tried alone", error)
            return [_alone(unit) for unit in units]

    def _next(self) -> list[Unit]:
        """What waits, the first of each meter; the others stay, in their order."""
        chosen, others = dict[int, Unit](), list[Unit]()
        while self._waiting:
            unit = self._waiting.popleft()
            if chosen.setdefault(unit.part.number, unit) is not unit:
                others.append(unit)
        self._waiting.extendleft(reversed(others))
        return list(chosen.values())

    def _at_once(self, units: Sequence[Unit]) -> list[Outcome]:
        outcomes = list[Outcome]()
        with self.writing() as connection:
            for unit in units:
                unit.part.have_turn()
                outcomes.append((unit, unit.job(connection), None))
        for unit, result, _ in outcomes:
            unit.done(result)
        return outcomes


class Part(Storage):
    """One meter's rows in a `Store`, as if they were a file of its own."""

    form = MANY_METERS

    def __init__(self, store: Store, meter_id: str) -> None:
        super().__init__(store._path)
        self.lock = store.lock
        self.number = 0
        self._store = store
        self._meter_id = meter_id

    def open(self) -> None:
        """Take the meter's rows; ConfigurationError if they are taken, StorageError if the disk refuses."""
        with self.lock:
            self.number = self._store.number_of(self._meter_id)
            if self.number in self._store.taken:
                raise ConfigurationError(f"meter {self._meter_id} is in use in this adapter: stop it first")
            self._store.taken.add(self.number)
            self._is_open = True

    def settle(self) -> None:
        """Write what waits, so that what is written next comes after it."""
        self._store.drain()

    def close(self) -> None:
        """Write what waits, and give the rows back; calls that come later raise StorageError."""
        with self.lock:
            if self._is_open:
                self._store.drain()
                self._store.taken.discard(self.number)
                self._is_open = False

    @contextmanager
    def writing(self, durability: Durability = "FULL") -> Iterator[sqlite3.Connection]:
        """One transaction of this meter alone."""
        with self.lock:
            self.have_turn()
            with self._store.writing(durability) as connection:
                yield connection

    def all(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of one query; StorageError if the file cannot be read."""
        with self.lock:
            self.have_turn()
            return self._store.all(query, values)

    async def together(
        self,
        job: Callable[[sqlite3.Connection], T],
        done: Callable[[T], None],
        *,
        durability: Durability = "FULL",
    ) -> T:
        """`write` in one transaction with others; a transaction of several is FULL."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._store.take(Unit(self, job, done, durability, future))
        return await future

    def have_turn(self) -> None:
        """From now on ``me()`` is this meter, until another has its turn; the lock is the caller's."""
        if not self._is_open:
            raise StorageError(f"{self._path} is closed for meter {self._meter_id}")
        self._store.number = self.number


def _alone(unit: Unit) -> Outcome:
    """Do it in a transaction of its own."""
    try:
        return unit, unit.part.write(unit.job, unit.done, durability=unit.durability), None
    except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
        return unit, None, error


def _tell(outcomes: Sequence[Outcome]) -> None:
    for unit, result, error in outcomes:
        if unit.future.done():  # its caller was cancelled
            continue
        if error is not None:
            unit.future.set_exception(error)
        else:
            unit.future.set_result(result)
