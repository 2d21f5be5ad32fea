"""Tells the audit what the registrar and the administrator's commands have done.

The audit is in the bridge's database, which may be away, or not be there yet: blocking a meter must not
wait for it. So an event is kept in the register first, and moved to the audit at once or by whoever comes
next.

>>> Trail(deployment).note(Kind.METER_BLOCKED, who="anna", meter_id=meter_id)  # doctest: +SKIP
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from bridge import audit, database
from bridge.audit import Event, Kind
from broker.errors import Meter61850Error
from broker.messages import format_ts, utc_now
from registrar.deployment import Deployment

log = logging.getLogger(__name__)

ORIGIN = "registrar"
_SOME = 100


class Trail:
    """The events of one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self._register = deployment.register
        self._url = os.environ.get(
            "METER61850_DATABASE_URL", deployment.environment.get("METER61850_DATABASE_URL", "")
        )
        self._lock = deployment.folder / "trail.lock"
        self._away = False

    def note(self, kind: Kind, **told: Any) -> None:
        """Keep one event (:meth:`keep`), and move what is kept to the audit if that is there."""
        self.keep(kind, **told)
        self.move()

    def keep(
        self,
        kind: Kind,
        *,
        who: str,
        meter_id: str = "",
        identity: str = "",
        outcome: str = "",
        **detail: object,
    ) -> None:
        """Keep one event until it is moved."""
        told = {
            "kind": kind,
            "who": who,
            "origin": ORIGIN,
            "meter_id": meter_id,
            "identity": identity,
            "outcome": outcome,
            "detail": {**detail, "at": format_ts(utc_now())},
        }
        log.info(
            "%s", kind, extra={"by": who, "meter_id": meter_id, "identity": identity, "outcome": outcome}
        )
        with self._register.change() as change:
            change.connection.execute("INSERT INTO note (event) VALUES (?)", (json.dumps(told, default=str),))

    def move(self) -> int:
        """Move what is kept to the audit; how many are left, because the database is not there."""
        kept = self._kept()
        if not kept or not self._is_there():
            return len(kept)
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two would tell the same twice
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
                audit.record(engine, *(event for _, event in kept))
                self._forget(kept[-1][0])
        finally:
            engine.dispose()

    def _is_there(self) -> bool:
        """A SQLite file that is not there yet is the bridge's to make."""
        file = self._url.removeprefix("sqlite:///")
        return bool(self._url) and (file == self._url or Path(file).is_file())

    def _kept(self) -> list[tuple[int, Event]]:
        with self._register.connection() as connection:
            rows = connection.execute("SELECT no, event FROM note ORDER BY no LIMIT ?", (_SOME,)).fetchall()
        return [(int(row["no"]), _event(row["event"])) for row in rows]

    def _forget(self, last: int) -> None:
        with self._register.change() as change:
            change.connection.execute("DELETE FROM note WHERE no <= ?", (last,))


def _event(text: str) -> Event:
    told = json.loads(text)
    return Event(**{**told, "kind": Kind(told["kind"])})
