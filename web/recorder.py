"""Takes what the web tells the audit, and writes it into the hash-chained log of the store, in a thread.

Relay commands are in there already, by the ledger. Refusals are many when somebody tries: beyond some each
minute they are counted and logged, not recorded, so that nobody fills the disk without an account.

>>> with Recorder("sqlite:///meter61850.sqlite"):  # doctest: +SKIP
...     audit(Event("login", actor="anna", source="127.0.0.1"))
"""

from __future__ import annotations

import logging
import queue
import threading
from time import monotonic
from types import TracebackType
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from bridge import audit as chain
from bridge import database
from bridge.audit import Kind
from broker.errors import Meter61850Error
from web import audit
from web.audit import Event

log = logging.getLogger(__name__)

KINDS = {"login": Kind.LOGIN, "logout": Kind.LOGIN, "retire": Kind.METER_RETIRED}
ELSEWHERE = frozenset({"relay"})
"""Recorded by the ledger, with its outcome."""
WAITING = 1000
STOP_SECONDS = 0.3
REFUSALS, REFUSALS_SECONDS = 60, 60.0


class Recorder:
    """``with``: from then on everything told to `web.audit` is kept; at the end what waits is written."""

    def __init__(self, url: str) -> None:
        self._engine = database.connect(url)
        self._waiting: queue.Queue[chain.Event | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._refusals: list[float] = []
        self._left_out = 0

    def __enter__(self) -> Self:
        self._thread.start()
        audit.listeners.append(self.tell)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        audit.listeners.remove(self.tell)
        self._waiting.put(None)
        self._thread.join(STOP_SECONDS)
        self._engine.dispose()

    def tell(self, event: Event) -> None:
        """One event; never waits."""
        if event.action in ELSEWHERE or (event.outcome == "denied" and self._too_many()):
            return
        try:
            self._waiting.put_nowait(_row(event, left_out=self._left_out))
            self._left_out = 0
        except queue.Full:
            self._left_out += 1

    def _too_many(self) -> bool:
        now = monotonic()
        self._refusals = [when for when in self._refusals if now - when < REFUSALS_SECONDS]
        if len(self._refusals) >= REFUSALS:
            self._left_out += 1
            return True
        self._refusals.append(now)
        return False

    def _run(self) -> None:
        while (event := self._waiting.get()) is not None:
            try:
                chain.record(self._engine, event)
            except (SQLAlchemyError, Meter61850Error) as error:
                log.error("not in the audit, the database is away: %s: %s", event, error)


def _row(event: Event, *, left_out: int) -> chain.Event:
    detail = {"action": event.action, "subject": event.subject, "detail": event.detail, "left_out": left_out}
    return chain.Event(
        KINDS.get(event.action, Kind.WEB),
        who=event.actor or "nobody",
        origin=f"web {event.source}",
        meter_id=event.subject if event.action == "retire" else "",
        outcome=event.outcome,
        detail={key: value for key, value in detail.items() if value},
    )
