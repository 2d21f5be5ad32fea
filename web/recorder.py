"""Records the web's events: at once in a spool on our disk, and soon in the store's hash-chained audit.

A thread moves them (`bridge.store.spool`); while the database is locked or away they wait, also over a
restart. The ledger already records relay commands. An attack causes many refusals: beyond a number per minute
they are counted and logged, not recorded, so that a client without an account cannot fill the disk.

>>> with Recorder("sqlite:///meter61850.sqlite", spool=Path("web-audit.sqlite")):  # doctest: +SKIP
...     audit(Event("login", actor="anna", source="127.0.0.1"))
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from bridge.store import audit as chain
from bridge.store.audit import Kind
from bridge.store.spool import Spool, opened
from web import audit
from web.audit import Event

log = logging.getLogger(__name__)

KINDS = {"login": Kind.LOGIN, "logout": Kind.LOGIN, "retire": Kind.METER_RETIRED}
ELSEWHERE = frozenset({"relay"})
"""Recorded by the ledger, with its outcome."""
AGAIN_SECONDS = 1.0
"""Until the next try, while the database is away."""
STOP_SECONDS = 0.3
REFUSALS, REFUSALS_SECONDS = 60, 60.0


class Recorder:
    """``with``: from then on every event of `web.audit` is kept, and moved to the audit.

    ConfigurationError if the file ``spool`` can be neither read nor made.
    """

    def __init__(self, url: str, *, spool: Path) -> None:
        self._spool = Spool(opened(spool), url=url, lock=spool.with_suffix(".lock"))
        self._news = threading.Event()
        self._ended = False
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
        self._ended = True
        self._news.set()
        self._thread.join(STOP_SECONDS)  # what is left then is moved at the next start

    def tell(self, event: Event) -> None:
        """One event, on the disk when this returns."""
        if event.action in ELSEWHERE or (event.outcome == "denied" and self._too_many()):
            return
        try:
            self._spool.keep(_row(event, left_out=self._left_out))
            self._left_out = 0
        except sqlite3.Error as error:
            self._left_out += 1
            log.error("event not recorded in the audit, cannot write the spool: %s: %s", event, error)
        self._news.set()

    def _too_many(self) -> bool:
        now = monotonic()
        self._refusals = [when for when in self._refusals if now - when < REFUSALS_SECONDS]
        if len(self._refusals) >= REFUSALS:
            self._left_out += 1
            return True
        self._refusals.append(now)
        return False

    def _run(self) -> None:
        left = self._move()  # of a run before
        while not self._ended:
            self._news.wait(AGAIN_SECONDS if left else None)
            self._news.clear()
            left = self._move()

    def _move(self) -> int:
        """How many events are left."""
        try:
            return self._spool.move()
        except (OSError, sqlite3.Error) as error:
            log.error("cannot read the spool of the audit: %s", error)
            return 1


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
