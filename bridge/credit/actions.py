"""What the service that cuts and restores has done: a command is noted before it is sent, its outcome after.

>>> Actions(engine).record_cut(meter_id, command_id, at=at, reason="exhausted since 10:00")  # doctest: +SKIP
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, select, update
from sqlmodel import col

from bridge.credit.accounts import key_of
from bridge.store.tables import CreditAccount, CreditAction, Meter, at_ms

WARN, CUT, RESTORE = "warn", "cut", "restore"
DONE = "done"
"""The outcome of a command that has moved its relay."""


class Actions:
    """Those of a database that may be written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record_warning(self, meter_id: str, *, at: datetime, reason: str) -> None:
        """The customer was warned: once more only after the account was not exhausted meanwhile."""
        with self._engine.begin() as connection:
            meter = self._add(connection, meter_id, WARN, None, at, reason)
            _set(connection, meter, warned_at=at_ms(at))

    def record_cut(self, meter_id: str, command_id: str, *, at: datetime, reason: str) -> None:
        """A command to open is about to be sent."""
        with self._engine.begin() as connection:
            self._add(connection, meter_id, CUT, command_id, at, reason)

    def record_restore(self, meter_id: str, command_id: str, *, at: datetime, reason: str) -> None:
        """A command to close is about to be sent."""
        with self._engine.begin() as connection:
            self._add(connection, meter_id, RESTORE, command_id, at, reason)

    def record_outcome(self, command_id: str, outcome: str, *, at: datetime) -> None:
        """What became of a command; ``done`` moves the account to cut, or restored, and nothing else does."""
        with self._engine.begin() as connection:
            wanted = select(CreditAction).where(col(CreditAction.command_id) == command_id)
            action = connection.execute(wanted).one()
            if action.outcome in (outcome, DONE):
                return
            mine = col(CreditAction.key) == action.key
            connection.execute(update(CreditAction).where(mine).values(outcome=outcome))
            if outcome != DONE:
                return
            cut = {"cut_at": at_ms(at), "restored_at": None}
            restored = {"cut_at": None, "restored_at": at_ms(at)}
            _set(connection, action.meter, **(cut if action.kind == CUT else restored))

    def record_release(self, meter_id: str) -> None:
        """Somebody else has switched a relay that we opened: it is no longer ours to close."""
        with self._engine.begin() as connection:
            _set(connection, key_of(connection, meter_id), cut_at=None)

    def recent(self, *, since: datetime) -> list[Row[Any]]:
        """What was done since then, with ``meter_id``, and what has no outcome yet; the oldest first."""
        in_flight = (col(CreditAction.outcome) == "") & col(CreditAction.command_id).is_not(None)
        wanted = (
            select(CreditAction, col(Meter.meter_id))
            .join(Meter, col(Meter.key) == col(CreditAction.meter))
            .where((col(CreditAction.at) >= at_ms(since)) | in_flight)
            .order_by(col(CreditAction.key))
        )
        with self._engine.connect() as connection:
            return list(connection.execute(wanted))

    def _add(
        self,
        connection: Connection,
        meter_id: str,
        kind: str,
        command_id: str | None,
        at: datetime,
        reason: str,
    ) -> int:
        meter = key_of(connection, meter_id)
        row = {"meter": meter, "kind": kind, "at": at_ms(at), "outcome": "", "reason": reason[:255]}
        connection.execute(insert(CreditAction).values(**row, command_id=command_id))
        return meter


def _set(connection: Connection, meter: int, **values: int | None) -> None:
    connection.execute(update(CreditAccount).where(col(CreditAccount.meter) == meter).values(**values))
