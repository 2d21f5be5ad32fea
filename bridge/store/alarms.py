"""Alarms: what is wrong with one meter and needs a human; each clears itself when it is over.

An alarm that is seen again counts up and lasts longer. Doctor, metrics and pages show those that last.

>>> Kind.TWIN.value
'twin'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, case, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col

from bridge.store.tables import Alarm, Meter

LASTS_MS = 15 * 60_000
"""ms after it was seen last."""


class Kind(StrEnum):
    """What is wrong."""

    EPOCH_CONFLICT = "epoch-conflict"
    """A reading has the name (epoch, seq) of another one that is stored: a restored or copied memory card."""
    TWIN = "twin"
    """Two meters with one identity are connected in turn."""


CURES: dict[str, str] = {
    Kind.EPOCH_CONFLICT: "nothing is lost: the meter begins a new epoch; was its card restored or copied?",
    Kind.TWIN: "switch one of the two off, and give it an identity of its own (meter61850 enrol new)",
}


@dataclass(frozen=True)
class Raised:
    """An alarm that was seen ``count`` times more."""

    meter_id: str
    kind: Kind
    detail: str
    count: int = 1


def note(connection: Connection, raised: Sequence[tuple[int, Raised]], *, now: int) -> None:
    """Write alarms, each with the key of its meter, at ``now`` (ms)."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(Alarm)
    new, over = statement.excluded, col(Alarm.until) < now
    statement = statement.on_conflict_do_update(
        index_elements=["meter", "kind"],
        set_={
            "count": case((over, new["count"]), else_=col(Alarm.count) + new["count"]),
            "since": case((over, new.since), else_=col(Alarm.since)),
            "detail": new.detail,
            "last_seen": new.last_seen,
            "until": new.until,
        },
    )
    for meter, alarm in sorted(raised, key=lambda one: (one[0], one[1].kind)):  # one order, against deadlocks
        times = {"since": now, "last_seen": now, "until": now + LASTS_MS}
        values = {"kind": alarm.kind.value, "detail": alarm.detail[:512], "count": alarm.count}
        connection.execute(statement, {"meter": meter, **values, **times})


@dataclass(frozen=True)
class LastingAlarm:
    """An alarm that is not over; times in ms since 1970 UTC."""

    meter_id: str
    name: str
    kind: str
    detail: str
    count: int
    since: int
    last_seen: int

    @property
    def cure(self) -> str:
        """What to do; empty for an alarm that only a newer bridge knows."""
        return CURES.get(self.kind, "")


def lasting(engine: Engine, *, now: int) -> list[LastingAlarm]:
    """Alarms that last at ``now`` (ms), in the order of their meters."""
    columns: list[Any] = [Meter.meter_id, Meter.name, Alarm.kind, Alarm.detail]
    columns += [Alarm.count, Alarm.since, Alarm.last_seen]
    wanted = (
        select(*columns)
        .join(Meter, col(Meter.key) == col(Alarm.meter))
        .where(col(Alarm.until) >= now)
        .order_by(col(Meter.key), col(Alarm.kind))
    )
    with engine.connect() as connection:
        return [LastingAlarm(*row) for row in connection.execute(wanted)]
