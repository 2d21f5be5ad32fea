"""Upkeep of the store: sum up hours and days, pack old readings, delete what is older than asked for.

All of it is work in short transactions, each of which leaves the database whole: it may be killed
at any moment, started again, and run beside the bridge, which stores readings between them. On
PostgreSQL one process at a time does it; on SQLite a second one finds nothing left to do.

>>> upkeep(engine, Policy(), now=now)  # doctest: +SKIP
Done(hours=240, days=10, packed=86400, rows=0, packs=0)
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic, sleep, time_ns

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from bridge.store import database
from bridge.store.clock import Clock
from bridge.store.packer import Packer
from bridge.store.retention import Purge, cutoff, leapt
from bridge.store.rollup import PACKED_HOURS, Summer
from bridge.store.supply_hour import Nominal
from broker.contract.errors import reason
from scl_builder.model.deadbands import NO_BANDS, Bands

log = logging.getLogger(__name__)

_TURN_SECONDS = 0.02
"""For so long a transaction goes on: the readings that come meanwhile wait for it."""

Then = Callable[[int, Callable[[float], bool]], None]
"""What follows a round: with its time (ms), and a pause (s) that tells whether to stop."""

_ONE_PROCESS = "61850, 2"
"""PostgreSQL advisory lock of the process that does the upkeep."""


@dataclass(frozen=True)
class Policy:
    """What to keep, and how."""

    keep: timedelta | None = None
    """Readings older than this are deleted; None keeps them for ever."""
    pack_after: timedelta = timedelta(minutes=10)
    """Hours that make a good pack together are packed when they are over for so long."""
    clock_kept: Callable[[], bool] = lambda: True
    """Whether the clock is right: one that is years ahead would have everything deleted."""
    interval_minutes: int = 15
    """Of the intervals of load profiles: 5, 15, 30 or 60."""
    bands: Bands = NO_BANDS
    """Their nominal values are those of the quality of supply."""
    also: Callable[[int], Callable[[Connection], bool]] | None = None
    """Begins more work, of a round at a time (ms): a step that is repeated until it is False."""


@dataclass(frozen=True)
class Done:
    """What one round did; all 0 when there was nothing to do."""

    hours: int = 0
    days: int = 0
    packed: int = 0
    """Readings that went from rows into packs."""
    rows: int = 0
    """Readings deleted."""
    packs: int = 0
    """Packs deleted."""
    held: bool = False
    """Nothing was deleted: NTP does not keep the clock, and it may have leapt ahead."""


def let_others(seconds: float) -> bool:
    """Leave the database to others for so long; SQLite's lock is not fair, and would starve them."""
    sleep(seconds)
    return False


def upkeep(
    engine: Engine, policy: Policy, *, now: int, pause: Callable[[float], bool] = let_others
) -> Done | None:
    """Do all that is due at ``now`` (ms); None when another process is at it, or ``pause`` said to stop.

    Between two transactions ``pause`` waits for as long as the first took, and tells whether to stop.
    """
    summer = Summer(now=now, minutes=policy.interval_minutes, nominal=Nominal.of(policy.bands))
    until = now - policy.pack_after // timedelta(milliseconds=1)
    packers = [Packer(work, until=until) for work in PACKED_HOURS]
    purge = Purge(before=cutoff(now, policy.keep) if policy.keep is not None else 0)
    also = [policy.also(now)] if policy.also is not None else []
    steps = [summer.step, *also, *(packer.step for packer in packers)]
    held = False
    with _only_one(engine) as ours:
        if not ours or not all(_finish(engine, step, pause) for step in steps):
            return None
        if policy.keep is not None:
            held = not policy.clock_kept() and _leapt(engine, now, policy.keep)
            if not held and not _finish(engine, purge.step, pause):
                return None
    packed = sum(packer.packed for packer in packers)
    return Done(summer.hours, summer.days, packed, purge.rows, purge.packs, held)


def _leapt(engine: Engine, now: int, keep: timedelta) -> bool:
    with engine.connect() as connection:
        return leapt(connection, now=now, keep=keep)


def _finish(engine: Engine, step: Callable[[Connection], bool], pause: Callable[[float], bool]) -> bool:
    """Repeat ``step`` until nothing is left; False when told to stop."""
    while True:
        begin = monotonic()
        with database.alone(engine) as connection:
            while (more := step(connection)) and monotonic() - begin < _TURN_SECONDS:
                pass
        if not more:
            return True
        if pause(monotonic() - begin):
            return False


@contextmanager
def _only_one(engine: Engine) -> Iterator[bool]:
    """True when no other process does the upkeep for as long as this lasts."""
    if engine.dialect.name != "postgresql":
        yield True
        return
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        ours = bool(connection.scalar(text(f"SELECT pg_try_advisory_lock({_ONE_PROCESS})")))
        try:
            yield ours
        finally:
            if ours and not connection.closed:
                connection.execute(text(f"SELECT pg_advisory_unlock({_ONE_PROCESS})"))


@contextmanager
def kept_up(
    engine: Engine, policy: Policy, *, seconds: float, clock: Clock | None = None, then: Then | None = None
) -> Iterator[None]:
    """Upkeep every ``seconds``, in a thread of its own, for as long as this lasts; ``then`` after each."""
    caretaker = Caretaker(engine, policy, seconds=seconds, clock=clock, then=then)
    caretaker.start()
    try:
        yield
    finally:
        caretaker.stop()


class Caretaker:
    """The bridge's thread for upkeep: a round every ``seconds``, but none while the clock is in doubt."""

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        *,
        seconds: float,
        clock: Clock | None = None,
        then: Then | None = None,
    ) -> None:
        self._clock = clock or Clock()
        self._then = then or (lambda _now, _pause: None)
        self.errors = 0
        self._engine = engine
        self._policy = policy
        self._seconds = seconds
        self._held = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin; the first round comes within a tenth of the interval, not at the same time everywhere."""
        self._thread.start()

    def stop(self) -> None:
        """End after the transaction that runs."""
        self._stop.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        seconds = random.uniform(0, self._seconds / 10)
        while not self._stop.wait(seconds):
            self._round()
            seconds = self._seconds

    def _round(self) -> None:
        if self._clock.in_doubt:
            return
        try:
            now = time_ns() // 1_000_000
            done = upkeep(self._engine, self._policy, now=now, pause=self._stop.wait)
            self._then(now, self._stop.wait)
        except DBAPIError as error:
            self.errors += 1
            log.warning("upkeep comes later: %s", reason(error))
        except Exception:
            self.errors += 1
            log.exception("upkeep failed, and is tried again in %s s", self._seconds)
        else:
            if done is not None and done.held > self._held:
                log.warning("nothing is deleted: NTP does not keep this clock, and it may have leapt ahead")
            self._held = done.held if done is not None else self._held
            if done is not None and replace(done, held=False) != Done():
                log.info("upkeep: %s", done)
