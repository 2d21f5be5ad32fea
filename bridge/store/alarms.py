"""Alarms in the database: raised once, cleared once, acknowledged once; each occurrence is a row.

What is an event (a twin, a conflict) is noted with the batch that shows it, and counts up while it is in
force. What is a state (offline, stale) follows from what the registry knows: `bridge.alarms.watch` finds all
that is so, and :func:`differences` says what that raises and clears. The kinds are in
`broker.contract.alarms`.

>>> standing = [Standing(key=7, meter=1, kind="stale", subject="", since=0, last_seen=0)]
>>> differences(standing, [Finding(1, "offline", "")], looked_at={"offline", "stale"})
Changes(raised=[Finding(meter=1, kind='offline', detail='', subject='', sure=True)], cleared=[7])
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, delete, func, select, update
from sqlmodel import col

from bridge.store.tables import DAY_MS, Alarm, Meter, sayable
from bridge.store.upsert import insert_into
from broker.contract.alarms import KINDS, AlarmInForce, Severity

KEPT_MS = 400 * DAY_MS
"""For so long an alarm that is over stays in the history."""
MOST_KEPT = 100_000
"""So many of them at most, for a meter that comes and goes every minute."""
_CHUNK = 500


@dataclass(frozen=True)
class Raised:
    """An event that was seen ``count`` times more."""

    meter_id: str
    kind: str
    detail: str
    count: int = 1


@dataclass(frozen=True)
class Finding:
    """A state that is so; ``meter`` is a `Meter.key`, 0 the server."""

    meter: int
    kind: str
    detail: str
    subject: str = ""
    sure: bool = True
    """False: it is not known well enough to raise an alarm, nor to clear one that is in force."""


class Standing(NamedTuple):
    """An alarm in force, as :func:`differences` needs it."""

    key: int
    meter: int
    kind: str
    subject: str
    since: int
    last_seen: int


@dataclass(frozen=True)
class Changes:
    """What is to be written."""

    raised: list[Finding] = field(default_factory=list)
    cleared: list[int] = field(default_factory=list)
    """Keys."""

    def __bool__(self) -> bool:
        return bool(self.raised or self.cleared)


def differences(
    standing: Sequence[Standing], findings: Sequence[Finding], *, looked_at: Collection[str]
) -> Changes:
    """What ``findings``, all there are of the kinds ``looked_at``, change of what is in force."""
    known = {(one.meter, one.kind, one.subject) for one in standing}
    found = {(one.meter, one.kind, one.subject[:64]): one for one in findings}
    raised = [one for name, one in found.items() if one.sure and name not in known]
    over = [one for one in standing if one.kind in looked_at and tuple(one[1:4]) not in found]
    return Changes(raised, [one.key for one in over])


def ended(standing: Sequence[Standing], *, now: int, listening_since: int) -> list[int]:
    """Keys of events that were not seen for as long as they last, while somebody was listening."""
    lasts = {name: kind.lasts * 1000 for name, kind in KINDS.items() if kind.lasts is not None}
    return [
        one.key
        for one in standing
        if one.kind in lasts and now - max(one.last_seen, listening_since) > lasts[one.kind]
    ]


def note(connection: Connection, raised: Sequence[tuple[int, Raised]], *, now: int) -> None:
    """Write events, each with the key of its meter, at ``now`` (ms): one that is in force counts up."""
    if not raised:
        return
    statement = insert_into(connection.dialect.name, Alarm)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        **_IN_FORCE,
        set_={"count": col(Alarm.count) + new["count"], "detail": new.detail, "last_seen": new.last_seen},
    )
    for meter, alarm in sorted(raised, key=lambda one: (one[0], one[1].kind)):  # one order, against deadlocks
        finding = Finding(meter, alarm.kind, alarm.detail)
        connection.execute(statement, _row(finding, now=now) | {"count": alarm.count})


def write(connection: Connection, changes: Changes, *, now: int) -> None:
    """Raise and clear at ``now`` (ms); what another bridge has written before stays as it is."""
    if changes.raised:
        statement = insert_into(connection.dialect.name, Alarm).on_conflict_do_nothing(**_IN_FORCE)
        connection.execute(statement, [_row(one, now=now) for one in changes.raised])
    for start in range(0, len(changes.cleared), _CHUNK):
        some = col(Alarm.key).in_(changes.cleared[start : start + _CHUNK]), col(Alarm.cleared_at).is_(None)
        connection.execute(update(Alarm).where(*some).values(cleared_at=now))


_IN_FORCE: dict[str, Any] = {
    "index_elements": ["meter", "kind", "subject"],
    "index_where": col(Alarm.cleared_at).is_(None),
}


def _row(one: Finding, *, now: int) -> dict[str, Any]:
    assert one.kind in KINDS, one.kind
    texts = {"kind": one.kind, "subject": one.subject[:64], "detail": one.detail[:255]}
    return {"meter": one.meter, **texts, "count": 1, "since": now, "last_seen": now, "acknowledged_by": ""}


def acknowledge(connection: Connection, key: int, meter_id: str, by: str, *, now: int) -> bool:
    """Note that ``by`` has acknowledged it; False if somebody has before, or it is not of ``meter_id``."""
    own = select(col(Meter.key)).where(col(Meter.meter_id) == meter_id).scalar_subquery()
    mine = (col(Alarm.key) == key, col(Alarm.meter) == (own if meter_id else 0))
    values = {"acknowledged_at": now, "acknowledged_by": by[:255]}
    new = update(Alarm).where(*mine, col(Alarm.acknowledged_at).is_(None)).values(**values)
    return connection.execute(new).rowcount == 1


def purge(connection: Connection, *, now: int) -> None:
    """Delete what is over since long, and the oldest of too much."""
    over = col(Alarm.cleared_at).is_not(None)
    connection.execute(delete(Alarm).where(over, col(Alarm.cleared_at) < now - KEPT_MS))
    oldest = connection.scalar(
        select(col(Alarm.key)).where(over).order_by(col(Alarm.key).desc()).offset(MOST_KEPT).limit(1)
    )
    if oldest is not None:
        connection.execute(delete(Alarm).where(over, col(Alarm.key) <= oldest))


def standing(connection: Connection) -> list[Standing]:
    """All that is in force."""
    columns = (getattr(Alarm, name) for name in Standing._fields)
    in_force = select(*columns).where(col(Alarm.cleared_at).is_(None))
    return [Standing(*row) for row in connection.execute(in_force)]


@dataclass(frozen=True)
class AlarmRecord:
    """An alarm, and whose it is; times in ms since 1970 UTC."""

    key: int
    meter_id: str
    """Empty: the server's own."""
    name: str
    """Of the meter."""
    kind: str
    subject: str
    detail: str
    count: int
    since: int
    last_seen: int
    cleared_at: int | None
    acknowledged_at: int | None
    acknowledged_by: str
    notified_at: int | None
    notified_over_at: int | None

    @property
    def cure(self) -> str:
        """What to do; empty for an alarm that only a newer bridge knows."""
        return KINDS[self.kind].cure if self.kind in KINDS else ""

    @property
    def severity(self) -> Severity:
        """How bad it is; an alarm that only a newer bridge knows is a warning."""
        return KINDS[self.kind].severity if self.kind in KINDS else Severity.WARNING

    @property
    def place(self) -> str:
        """Whose it is, for people."""
        return self.name or self.meter_id or "server"

    def message(self) -> AlarmInForce:
        """As the contract says it."""
        return AlarmInForce(
            id=self.key,
            **{name: getattr(self, name) for name in ("kind", "severity", "subject", "detail", "count")},
            since=sayable(self.since),
            acknowledged_by=self.acknowledged_by,
            acknowledged_at=None if self.acknowledged_at is None else sayable(self.acknowledged_at),
        )


_WORST = {severity: place for place, severity in enumerate(Severity)}


def records(connection: Connection, *conditions: Any, last: int | None = None) -> list[AlarmRecord]:
    """Alarms with these conditions, the newest first, at most ``last``."""
    own = (getattr(Alarm, one.name) for one in fields(AlarmRecord)[3:])
    meter = (func.coalesce(Meter.meter_id, ""), func.coalesce(Meter.name, ""))
    wanted = (
        select(col(Alarm.key), *meter, *own)
        .outerjoin(Meter, col(Meter.key) == col(Alarm.meter))
        .where(*conditions)
        .order_by(col(Alarm.key).desc())
        .limit(last)
    )
    return [AlarmRecord(*row) for row in connection.execute(wanted)]


def in_force(engine: Engine) -> list[AlarmRecord]:
    """What is in force: what nobody acknowledged first, then the worst, then the newest."""
    with engine.connect() as connection:
        found = records(connection, col(Alarm.cleared_at).is_(None))
    return sorted(found, key=lambda one: (one.acknowledged_at is not None, _WORST[one.severity], -one.since))


def counts(engine: Engine, *conditions: Any) -> dict[str, int]:
    """Kind → how many are in force, of those with these conditions."""
    wanted = select(col(Alarm.kind), func.count()).where(col(Alarm.cleared_at).is_(None), *conditions)
    with engine.connect() as connection:
        return {str(kind): int(count) for kind, count in connection.execute(wanted.group_by(col(Alarm.kind)))}


def history(engine: Engine, *, last: int) -> list[AlarmRecord]:
    """The newest alarms, in force or over, the newest first."""
    with engine.connect() as connection:
        return records(connection, last=last)
