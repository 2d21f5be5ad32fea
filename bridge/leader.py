"""Which of several bridges does what only one may do: SCL publication, ledger deadlines, upkeep.

On PostgreSQL the leader is who holds an advisory lock (PostgreSQL 15, 9.27.10), on a connection of its
own: when that bridge dies, the server frees the lock and another one has it within :data:`POLL_SECONDS`.
A bridge on SQLite is alone and leads from the start.

>>> leader = Leader(engine, gained=publication.take_over, chores=[ledger_deadlines])  # doctest: +SKIP
>>> leader.start()  # doctest: +SKIP
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from broker.contract.errors import reason

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""Between two looks at the lock, and between two rounds of chores."""
_LOCK = 61851
_JOIN_SECONDS = 5.0

Chore = Callable[[], None]


class Leader:
    """A thread that holds or waits for the lock, and does the ``chores`` while it leads."""

    def __init__(
        self,
        engine: Engine,
        *,
        gained: Callable[[], None],
        lost: Callable[[], None] = lambda: None,
        chores: Sequence[Chore],
    ) -> None:
        self.leads = False
        self.errors = 0
        """Rounds that the database spoiled."""
        self._engine = engine
        self._gained = gained
        self._lost = lost
        self._chores = tuple(chores)
        self._failed: set[Chore] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)

    def start(self) -> None:
        """Try to lead, in the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Give the lock back: another bridge has it at its next look."""
        self._stopping.set()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        if self._engine.dialect.name != "postgresql":
            self._lead(lambda: None)
            return
        while not self._stopping.is_set():
            try:
                with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    self._contend(connection)
            except (DBAPIError, OSError) as error:
                self._spoiled("the lock of the leader", error)
                self._stopping.wait(POLL_SECONDS)

    def _contend(self, connection: Connection) -> None:
        """Wait for the lock and lead with it; DBAPIError when the connection, and so the lock, is lost."""
        while not connection.execute(text(f"SELECT pg_try_advisory_lock({_LOCK})")).scalar_one():
            if self._stopping.wait(POLL_SECONDS):
                return
        try:
            self._lead(lambda: connection.execute(text("SELECT 1")))
        except DBAPIError:
            self._lost()  # another one may lead already
            raise
        finally:
            connection.invalidate()  # the pool must not keep a connection that holds the lock

    def _lead(self, check: Callable[[], object]) -> None:
        log.info("this bridge leads")
        self.leads = True
        try:
            self._gained()
            while not self._stopping.is_set():
                check()
                self._do_chores()
                self._stopping.wait(POLL_SECONDS)
        finally:
            self.leads = False

    def _do_chores(self) -> None:
        for chore in self._chores:
            try:
                chore()
            except (DBAPIError, OSError) as error:  # the next round may have a free file descriptor
                self._spoiled("a chore", error)
            except Exception:  # else nobody leads from now on
                if chore not in self._failed:
                    self._failed.add(chore)
                    log.exception("a chore failed and is tried again (logged once)")
                self.errors += 1

    def _spoiled(self, what: str, error: DBAPIError | OSError) -> None:
        if not self.errors:
            log.warning("%s failed and is tried again (logged once): %s", what, reason(error))
        self.errors += 1
