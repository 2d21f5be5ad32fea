"""MQTT → database: take a batch, sort it, commit it once, then acknowledge it and say what is stored.

Nothing is acknowledged before the commit. When the database is away the same batch is tried again
until it is back, and the inbox fills up meanwhile, so that the broker keeps the rest. When the
database refuses something in a batch, the batch is halved until the one bad message is alone; that
one becomes a dead letter.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from sqlalchemy.exc import DBAPIError

from bridge.ingest.classify import TOLERANCE_MS, Sorter
from bridge.ingest.parse import FUTURE
from bridge.ingest.work import Work
from bridge.ingest.writer import Committed, Writer
from bridge.meters.blocks import Blocks
from bridge.mqtt.connection import Link
from bridge.mqtt.notice import Dead, Withdrawal
from bridge.mqtt.waiting import Waiting
from bridge.store.audit import now_ms
from bridge.store.database import is_about_data
from broker.contract.birth import Birth
from broker.contract.errors import Meter61850Error, reason
from broker.mqtt.packets import Publish

log = logging.getLogger(__name__)

_TAKE_SECONDS = 0.5
_LAST_SECONDS = 1.2
"""Longer than SQLite waits for a lock."""
_MAX_BACKOFF = 5.0
_LOG_EVERY = 20
_MAX_CAUSES = 1000
"""Causes logged; what comes after is only counted."""
_GONE = Withdrawal()
"""A birth that was taken back."""


@dataclass
class Counters:
    """What `service/bridge/status` tells; only the ingest thread writes."""

    received: int = 0
    """Messages taken from the broker."""
    stored: int = 0
    """Readings that were new."""
    duplicate: int = 0
    """Readings that were there already."""
    conflicts: int = 0
    """Readings whose epoch and seq another reading has."""
    spoiled: int = 0
    """Quantities that were bad, whose readings were stored without them."""
    dead: int = 0
    """Dead letters, repeated ones too."""
    limited: int = 0
    """Messages left out because they exceeded a limit; readings among them come again."""
    births: int = 0
    """Births and withdrawals that were taken."""
    commands: int = 0
    """Commands, results and refusals for the ledger."""
    batches: int = 0
    """Commits."""
    lag_ms: int = 0
    """From the sensor to the commit, of the last reading of the last batch."""
    database_errors: int = 0
    """Failed attempts to reach the database."""


class _GivenUpError(Meter61850Error):
    """The stop's time is over before the database came back."""


class Ingest:
    """The one thread that writes readings; ``scl_changed`` is called after a commit that concerns the SCD.

    ``committed`` is told of each commit: how many messages, and each reading's age in ms. ``shared``:
    other bridges write too, so a birth that changes nothing may be one that another bridge has written.
    ``ended`` is called when the thread ends, for whatever reason. ``blocks`` is told of what was recorded and
    heard of blocks.
    """

    def __init__(
        self,
        link: Link,
        sorter: Sorter,
        writer: Writer,
        *,
        scl_changed: Callable[[], None],
        committed: Callable[[int, Sequence[int]], None] = lambda _messages, _lags: None,
        ended: Callable[[], None],
        shared: bool = False,
        blocks: Blocks | None = None,
    ) -> None:
        self.counters = Counters()
        self.error: Exception | None = None
        """Why the thread ended, if it should not have."""
        self.on_alarms: Callable[[Work], None] = lambda _work: None
        """Told of what concerns alarms, after the commit."""
        self._link = link
        self._sorter = sorter
        self._writer = writer
        self._scl_changed = scl_changed
        self._committed = committed
        self._ended = ended
        self._shared = shared
        self._blocks = blocks
        self._waiting = Waiting()
        self._away = False
        self._giving_up = threading.Event()
        self._causes: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)

    def start(self) -> None:
        """Take batches in the thread, until the inbox is closed and empty."""
        self._thread.start()

    def stop(self, *, seconds: float) -> None:
        """Wait at most ``seconds`` for what is in the closed inbox; the rest is not acknowledged.

        It does not wait for a database that is away, nor for a commit that hangs.
        """
        self._thread.join(0.0 if self._away else seconds)
        self._giving_up.set()
        self._thread.join(_LAST_SECONDS)

    def _run(self) -> None:
        inbox = self._link.inbox
        try:
            while not (inbox.finished or self._giving_up.is_set()):
                batch = inbox.take(timeout=_TAKE_SECONDS)
                self._store_what_waited()  # first, so that a newer birth in this batch overwrites them
                if batch.messages:
                    self._link.acknowledge(batch, self._answers(batch.messages))
        except _GivenUpError:
            log.warning("stopped while the database was away: the broker keeps what was not stored")
        except Exception as error:  # noqa: BLE001 - kept for run(), which ends the process with it
            log.critical("cannot store any more: %s", error)
            self.error = error
        self._ended()

    def _answers(self, messages: Sequence[Publish]) -> list[tuple[bytes, bytes]]:
        """Store ``messages``; what their meters are told."""
        done = list(self._store(messages))
        if self._blocks is not None:
            self._blocks.passed(len(messages))
        complete = self._blocks is not None and self._blocks.complete
        return [answer for work in done for answer in self._sorter.answers(work, blocks=complete)]

    def _store_what_waited(self) -> None:
        """Births of newcomers, and what seemed to come from the future; both were acknowledged before."""
        now = now_ms()
        list(self._store([*self._writer.waiting(now=now), *self._waiting.due(latest=now + TOLERANCE_MS)]))

    def _postpone(self, work: Work) -> None:
        """Let what is early wait; what is newer on its topic was taken, or waits in its place."""
        if self._waiting:
            for event in work.events:
                self._waiting.forget(event.source.topic)
        for early in work.early:
            if not self._waiting.add(early.source, ts=early.ts):
                rejected = self._sorter.reject(early.source, FUTURE, now=now_ms())
                self._count([], rejected, self._commit(rejected))

    def _store(self, messages: Sequence[Publish], *, last: bool = False) -> Iterator[Work]:
        """Commit ``messages``, however long it takes; what was done."""
        if not messages:
            return
        try:
            work = self._sorter.sort(messages, now=now_ms())
            committed = self._commit(work)
        except _GivenUpError:
            raise
        except Exception as error:  # noqa: BLE001 - any other fault is one message's: find it, keep it, log it
            yield from self._isolate(messages, error, last=last)
        else:
            self._count(messages, work, committed)
            if self._blocks is not None and (committed.blocks or work.blocks):
                self._blocks.take(committed.blocks, work.blocks)
            if work.alarms or work.acknowledged or work.retained_alarms or work.services:
                self.on_alarms(work)
            self._postpone(work)
            yield work

    def _isolate(self, messages: Sequence[Publish], error: Exception, *, last: bool) -> Iterator[Work]:
        """Halve ``messages`` until the one that cannot be stored is alone, and make it a dead letter."""
        if len(messages) > 1:
            middle = len(messages) // 2
            yield from self._store(messages[:middle])
            yield from self._store(messages[middle:])
        elif not last:  # it may have been another bridge, with the same meter at the same time
            yield from self._store(messages, last=True)
        else:
            cause = f"cannot be stored: {type(error).__name__}"
            log.error("%s: %s", cause, error)
            work = self._sorter.reject(messages[0], cause, now=now_ms())
            self._count(messages, work, self._commit(work))
            yield work

    def _commit(self, work: Work) -> Committed:
        """Commit ``work``, trying again while the database is away."""
        for attempt in count():
            try:
                committed = self._writer.commit(work)
            except DBAPIError as error:
                if is_about_data(error):
                    raise
                self._note_away(attempt, error)
            else:
                if self._away:
                    log.info("the database is back")
                self._away = False
                return committed
            self._back_off(attempt)  # the error is gone: it would keep its connection to a file open
        raise AssertionError

    def _note_away(self, attempt: int, error: DBAPIError) -> None:
        self._away = True
        self.counters.database_errors += 1
        if attempt % _LOG_EVERY == 0:
            log.warning("the database is away, nothing is acknowledged meanwhile: %s", reason(error))

    def _back_off(self, attempt: int) -> None:
        if self._giving_up.wait(random.uniform(0.05, min(_MAX_BACKOFF, 0.1 * 2 ** min(attempt, 10)))):
            raise _GivenUpError("the database is away")

    def _count(self, messages: Sequence[Publish], work: Work, committed: Committed) -> None:
        counters = self.counters
        counters.received += len(messages)
        counters.stored += committed.new
        counters.duplicate += len(work.rows) - committed.new - committed.conflicts
        counters.conflicts += committed.conflicts
        counters.spoiled += work.spoiled.total()
        counters.dead += len(committed.dead)
        counters.limited += work.limited.total()
        births = sum(isinstance(event.message, Birth) or event.message == _GONE for event in work.events)
        counters.births += births
        counters.commands += len(work.entries)
        counters.batches += 1
        now = now_ms()
        for alarm in work.alarms:
            log.warning("meter %s: %s", alarm.meter_id, alarm.detail)
        if work.rows:
            counters.lag_ms = max(0, now - work.rows[-1][3])
        self._committed(len(messages), [now - row[3] for row in work.rows])
        for letter in (*committed.dead, *work.limited, *work.spoiled):
            self._log_once(letter)
        if committed.scl_changed or (self._shared and births):
            self._scl_changed()

    def _log_once(self, letter: Dead) -> None:
        if letter.cause not in self._causes and len(self._causes) < _MAX_CAUSES:
            self._causes.add(letter.cause)
            log.warning(
                "dead letter on %r: %s (logged once for this cause)", letter.topic[:128], letter.cause
            )
