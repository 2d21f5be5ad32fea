"""Raises and clears alarms: a chore of the leading bridge, every few seconds.

A bridge that was away, or whose broker was, knows only what was: it raises no alarm before the connection
has stood for a while (``settle``), so that meters have had the time to come back and to send. Until all that
was retained has been through the database it clears none either. So each alarm is raised once and cleared
once, over restarts of the bridge and of the broker. What is in force is published, retained, wherever the
broker has something else.

>>> watch = Watch(database_url, engine, …)  # doctest: +SKIP
>>> watch.look()  # doctest: +SKIP
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from sqlalchemy import Connection, Engine
from sqlmodel import col

from bridge.alarms import server, states
from bridge.alarms.states import Limits
from bridge.store import alarms
from bridge.store.alarms import AlarmRecord, Changes, Finding, Standing
from bridge.store.audit import now_ms
from bridge.store.clock import Clock
from bridge.store.tables import Alarm
from broker.contract.alarms import SERVICE, Alarms
from broker.contract.status import ServiceStatus
from broker.contract.topics import Topics

log = logging.getLogger(__name__)

_PURGE_SECONDS = 3600.0


@dataclass(frozen=True)
class Rules:
    """When something is an alarm."""

    every: float
    """Seconds between two looks."""
    settle: float
    """Seconds of a connection before anything is raised."""
    limits: Limits | None
    disk: Path
    """A folder on the disk of the database."""
    disk_mb: int
    dead_letters: int
    deaf: float = 30.0
    """Seconds without any message after which what was not heard says nothing."""


@dataclass(frozen=True)
class Feed:
    """What comes from the broker."""

    connected: Callable[[], bool]
    taken: Callable[[], int]
    """Messages that have come since the start."""
    through: Callable[[], int]
    """Those that have been through the database."""


class Watch:
    """`look` is the leader's; any thread may call the others. ``reader`` is an engine that takes no lock.

    ``publish`` (topic, payload) retains.
    """

    def __init__(
        self,
        reader: Engine,
        engine: Engine,
        topics: Topics,
        rules: Rules,
        *,
        publish: Callable[[str, bytes], None],
        feed: Feed,
        clock: Clock,
        clock_kept: Callable[[], bool],
    ) -> None:
        self.raised = self.cleared = 0
        """Counters."""
        self._reader = reader
        self._engine = engine
        self._topics = topics
        self._rules = rules
        self._publish = publish
        self._feed = feed
        self._clock = clock
        self._clock_kept = clock_kept
        self._lock = threading.Lock()
        self._ready = False
        """The subscriptions of this connection stand."""
        self._heard = 0
        """Messages that had come at the last call of `look`."""
        self._heard_at = self._listening_since = 0.0
        self._services: dict[str, ServiceStatus] = {}
        self._retained: dict[str, bytes] = {}
        """What the broker has, over this connection."""
        self._due = self._purge_due = 0.0
        self._told: list[Standing] | None = None
        """What was in force when the broker was told; None: something may have changed."""

    def begin(self) -> None:
        """A new connection: nothing was heard over it yet."""
        with self._lock:
            self._ready = False
            self._retained.clear()
            self._services.clear()

    def ready(self) -> None:
        """The subscriptions stand, and what is retained has come."""
        with self._lock:
            self._ready, self._told = True, None
            self._heard = self._feed.taken()
            self._heard_at = self._listening_since = monotonic()

    def take(
        self, retained: Iterable[tuple[bytes, bytes]], services: Iterable[tuple[str, ServiceStatus]]
    ) -> None:
        """What was heard on topics of alarms, and of other programs."""
        with self._lock:
            self._services.update(services)
            self._retained.update((topic.decode(), payload) for topic, payload in retained)

    def soon(self) -> None:
        """Something of alarms is new in the database, or at the broker."""
        self._due, self._told = 0.0, None

    def look(self) -> None:
        """One look, if it is time; DBAPIError or OSError when the database or the disk does not answer."""
        with self._lock:
            listening = self._listening()
            services = dict(self._services)
        if listening is None or monotonic() < self._due or self._clock.in_doubt:
            return
        self._due = monotonic() + self._rules.every
        now = now_ms()
        since = now - round(listening * 1000)
        with self._reader.connect() as connection:
            in_force = alarms.standing(connection)
            changes = self._changes(connection, in_force, services, now=now, since=since)
        self._write(changes, now=now)
        if changes or in_force != self._told:
            self._told = in_force
            self._tell()

    def _listening(self) -> float | None:
        """Seconds that we have listened; None while we do not, or the database has not all that came before.

        Our own status comes back to us: who hears nothing at all has no connection, or was stopped.
        """
        now, taken, before = monotonic(), self._feed.taken(), self._heard
        self._heard = taken
        if now - self._heard_at > self._rules.deaf:
            self._listening_since = now
        if taken != before:
            self._heard_at = now
        if not (self._ready and self._feed.connected() and now - self._heard_at <= self._rules.deaf):
            return None
        return now - self._listening_since if self._feed.through() >= before else None

    def _changes(
        self,
        connection: Connection,
        in_force: list[Standing],
        services: dict[str, ServiceStatus],
        *,
        now: int,
        since: int,
    ) -> Changes:
        rules = self._rules
        found: list[Finding] = states.states(
            connection, in_force, now=now, listening_since=since, limits=rules.limits
        )
        found += server.dead_letters(connection, most=rules.dead_letters, now=now, listening_since=since)
        found += server.clock(kept=self._clock_kept())
        disk = server.free(rules.disk, least_mb=rules.disk_mb)
        found += [disk] if disk is not None else []
        looked_at = {*states.KINDS, "dead-letters", "clock", "disk"}
        if server.REGISTRAR in services:
            found += server.certificates(services)
            looked_at.add("certificate")
        if now - since < self._rules.settle * 1000:
            found = states.unsure(found)
        changes = alarms.differences(in_force, found, looked_at=looked_at)
        over = alarms.ended(in_force, now=now, listening_since=since)
        return Changes(changes.raised, changes.cleared + over)

    def _write(self, changes: Changes, *, now: int) -> None:
        purge = monotonic() >= self._purge_due
        if not changes and not purge:
            return
        with self._engine.begin() as connection:
            alarms.write(connection, changes, now=now)
            if purge:
                alarms.purge(connection, now=now)
        self._purge_due = monotonic() + _PURGE_SECONDS if purge else self._purge_due
        self.raised += len(changes.raised)
        self.cleared += len(changes.cleared)
        for one in changes.raised:
            log.warning("alarm %s of %s: %s", one.kind, one.meter or "the server", one.detail)

    def _tell(self) -> None:
        """Publish what is in force where the broker has something else."""
        with self._reader.connect() as connection:
            wanted = payloads(self._topics, alarms.records(connection, col(Alarm.cleared_at).is_(None)))
        with self._lock:
            topics = wanted.keys() | {topic for topic, payload in self._retained.items() if payload}
            new = {
                topic: wanted.get(topic, b"")
                for topic in sorted(topics)
                if wanted.get(topic, b"") != self._retained.get(topic, b"")
            }
            self._retained |= new
        for topic, payload in new.items():
            self._publish(topic, payload)


def payloads(topics: Topics, in_force: Iterable[AlarmRecord]) -> dict[str, bytes]:
    """What is to be retained on each topic of alarms, the oldest first; given the newest first."""
    found: dict[str, list[AlarmRecord]] = {}
    for one in in_force:
        topic = topics.meter(one.meter_id, "alarms") if one.meter_id else topics.service_alarms(SERVICE)
        found.setdefault(topic, []).append(one)
    return {
        topic: Alarms(alarms=tuple(one.message() for one in own[:MOST_TOLD][::-1])).payload()
        for topic, own in found.items()
    }


MOST_TOLD = 50
"""Alarms in one message: what has more is broken in one way."""
