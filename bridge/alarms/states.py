"""What is wrong with meters now, as the registry, the latest readings and the ledger have it.

>>> from scl_builder.model.deadbands import Bands
>>> Limits.of(Bands.of(ranges="voltage=10"))
Limits(low=207.0, high=253.0, margin=2.3)
>>> states(connection, now=now, listening_since=now, settled=True, limits=limits)  # doctest: +SKIP
[Finding(meter=7, kind='offline', detail='last heard 2026-12-01 00:00:00 UTC', subject='', sure=True)]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from bridge.store.alarms import Finding, Standing
from bridge.store.tables import DAY_MS, NOTED_MS, Command, Meter, Reading, moment
from broker.contract.fleet import STALE_INTERVALS
from broker.contract.quantities import QUANTITIES
from scl_builder.model.deadbands import LIMITS, NOMINALS, RANGE_CONFIG, Bands, limits

KINDS = frozenset({"offline", "stale", "clock", "voltage", "relay"})
"""The kinds that this module finds of meters."""

_LATEST_COMMANDS = 20_000
"""Rows of the ledger that are looked through for what failed."""
_FAILED = ("timed out", "failed")
_CHUNK = 500
VOLTAGES = tuple(row.name for row in QUANTITIES.values() if row.unit == "V" and len(row.phase) <= len("L1"))
"""To neutral."""


@dataclass(frozen=True)
class Limits:
    """Volt: outside is an alarm, and inside by ``margin`` it is over."""

    low: float
    high: float
    margin: float

    @classmethod
    def of(cls, bands: Bands) -> Limits | None:
        """From the range of voltages; None without one."""
        if (text := dict(bands.values("V")).get(RANGE_CONFIG)) is None:
            return None
        found = {name: float(limits(text)[name]) for name in LIMITS}
        nominal = dict(bands.nominal).get("voltage", NOMINALS["V"].nominal)
        return cls(found["lLim"], found["hLim"], nominal / 100)


def states(
    connection: Connection,
    in_force: Sequence[Standing],
    *,
    now: int,
    listening_since: int,
    limits: Limits | None,
) -> list[Finding]:
    """All that is so of meters in service (times in ms).

    A meter whose voltage is not known now keeps its alarm, as does one that was silent before we listened.
    """
    found = [*_presence(connection, now=now, listening_since=listening_since), *_clocks(connection)]
    silent = {one.meter for one in found if one.kind in ("offline", "stale")}
    if limits is not None:
        found += _voltages(connection, limits)
        kept = (one for one in in_force if one.kind == "voltage" and one.meter in silent)
        found += [Finding(one.meter, one.kind, "", one.subject, sure=False) for one in kept]
    failed = {one.meter for one in in_force if one.kind == "relay"}
    return [*found, *_relays(connection, failed, now=now)]


_KEY: Any = col(Meter.key)  # never NULL in the database


def _in_service() -> Any:
    born = col(Meter.born_at).is_not(None)
    return and_(born, col(Meter.retired_at).is_(None), col(Meter.blocked) == "")


def _presence(connection: Connection, *, now: int, listening_since: int) -> Iterator[Finding]:
    """Meters that are offline, and those that are stale: when a reading came is known to `NOTED_MS`."""
    allowed = col(Meter.interval) * (STALE_INTERVALS * 1000) + NOTED_MS
    read_at = func.coalesce(Meter.read_at, Meter.born_at)
    columns = (_KEY, col(Meter.online), col(Meter.last_seen), read_at, allowed)
    silent = or_(col(Meter.online).is_(False), now - read_at > allowed)
    for key, online, last_seen, read, most in connection.execute(
        select(*columns).where(_in_service(), silent)
    ):
        if not online:
            yield Finding(key, "offline", f"last heard {moment(last_seen):%Y-%m-%d %H:%M:%S} UTC")
        else:
            heard = max(read, listening_since)
            detail = f"no reading since {moment(read):%Y-%m-%d %H:%M} UTC"
            yield Finding(key, "stale", detail, sure=now - heard > most)


def _clocks(connection: Connection) -> Iterator[Finding]:
    wrong = select(_KEY).where(_in_service(), col(Meter.clock_synchronized).is_(False))
    return (
        Finding(key, "clock", "the meter says that NTP does not keep it")
        for (key,) in connection.execute(wrong)
    )


def _voltages(connection: Connection, limits: Limits) -> Iterator[Finding]:
    """Outside of the limits, or so near to them that an alarm stays."""
    columns = [getattr(Reading, name) for name in VOLTAGES]
    newer = aliased(Reading)
    latest = select(func.max(newer.ts)).where(col(newer.meter) == col(Meter.key)).scalar_subquery()
    low, high = limits.low + limits.margin, limits.high - limits.margin
    wanted = (
        select(_KEY, *columns)
        .join(Reading, and_(col(Reading.meter) == col(Meter.key), col(Reading.ts) == latest))
        .where(_in_service(), or_(*(~column.between(low, high) for column in columns)))
    )
    found: dict[int, Finding] = {}
    for key, *values in connection.execute(wanted):
        told = {name: value for name, value in zip(VOLTAGES, values, strict=True) if value is not None}
        out = {name: value for name, value in told.items() if not limits.low <= value <= limits.high}
        detail = ", ".join(f"{name.replace('_', ' ')} {value:.1f} V" for name, value in out.items())
        if key not in found or out:  # two readings may have one time
            found[key] = Finding(
                key, "voltage", f"{detail} ({limits.low:g} to {limits.high:g} V)", sure=bool(out)
            )
    return iter(found.values())


def _relays(connection: Connection, failed: set[int], *, now: int) -> Iterator[Finding]:
    """Whose last command failed, of the newest of the ledger; and of ``failed`` those of whom it did."""
    newest = connection.scalar(select(func.max(Command.key))) or 0
    since = col(Command.key) > newest - _LATEST_COMMANDS
    recent = and_(since, col(Command.received_at) > now - DAY_MS)
    bad = dict(_last(connection, recent, col(Command.outcome).in_(_FAILED)))
    for start in range(0, len(keys := sorted(failed - bad.keys())), _CHUNK):
        own = col(Meter.key).in_(keys[start : start + _CHUNK])
        bad |= dict(_last(connection, own, col(Command.outcome).in_(_FAILED)))
    good = dict[int, int]()
    for start in range(0, len(keys := sorted(bad)), _CHUNK):
        own = col(Meter.key).in_(keys[start : start + _CHUNK])
        good |= dict(_last(connection, own, col(Command.outcome) == "done"))
    return _unmoved(connection, {key: meter for meter, key in bad.items() if key > good.get(meter, 0)})


def _last(connection: Connection, *conditions: Any) -> Iterator[tuple[int, int]]:
    """(key of the meter, key of its newest command with these conditions)."""
    joined = select(col(Meter.key), func.max(Command.key)).join(
        Command, col(Command.meter_id) == col(Meter.meter_id)
    )
    rows = connection.execute(joined.where(_in_service(), *conditions).group_by(col(Meter.key)))
    return ((meter, int(command)) for meter, command in rows if meter and command)


def _unmoved(connection: Connection, failed: Mapping[int, int]) -> Iterator[Finding]:
    """``failed``: the key of a command, and that of its meter."""
    columns = (col(Command.key), col(Command.position), col(Command.outcome), col(Command.reason))
    for start in range(0, len(keys := sorted(failed)), _CHUNK):
        some = col(Command.key).in_(keys[start : start + _CHUNK])
        for key, position, outcome, reason in connection.execute(select(*columns).where(some)):
            wanted = {"open": "to open it", "closed": "to close it"}.get(position, "a command")
            detail = f"{wanted} {outcome}" + (f": {reason}" if reason else "")
            yield Finding(failed[int(key or 0)], "relay", detail)


def unsure(found: Sequence[Finding]) -> list[Finding]:
    """The same, while it is too early to raise alarms: those in force stay."""
    return [replace(one, sure=False) for one in found]
