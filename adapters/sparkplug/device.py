"""A device of an edge node, or the node itself, as a metering point: what its metrics are, and what they say.

A device reports by exception: a metric that data leave out is as it was. So each Values is the whole reading
at the instant of what has changed.

>>> device = Device(Address("Village", "edge1", "meter7"), Names({}, {}), Budget())
>>> [type(step).__name__ for step in device.birth(Payload(timestamp=0, metrics=(
...     metric("Power", DataType.FLOAT, 5.0, alias=1),)))]
['Point', 'Available', 'Values']
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.family import Available, Finding, Measured, Point, Step, Switched, Values
from adapters.sparkplug.datatypes import DataType, Scalar
from adapters.sparkplug.mapping import Channel, Names, UnitError
from adapters.sparkplug.names import BD_SEQ, REBIRTH, Address
from adapters.sparkplug.payload import Metric, Payload, metric
from adapters.sparkplug.wire import PayloadError
from broker.contract.quantities import QUANTITIES
from broker.contract.relay import Position

FORGOTTEN = 300_000
"""Milliseconds after a command: what happens then has another reason."""
LATEST = 253_402_300_800_000
"""Milliseconds: the year 10000."""


_Groups = dict[int | None, "list[tuple[Known, Scalar | None]]"]
"""Values by their time."""


class UnknownMetricError(ValueError):
    """Data name a metric that the birth did not: a birth was missed."""


@dataclass
class Budget:
    """How many devices and metrics of all nodes together may still be remembered."""

    left: int = 200_000


@dataclass(frozen=True)
class Known:
    """A metric of the birth."""

    name: str
    alias: int | None
    datatype: int
    channel: Channel | None


@dataclass(frozen=True)
class Pending:
    """A command on its way."""

    token: str
    position: Position
    at: int
    """In milliseconds of the device's clock."""


class Device:
    """From birth to death; ``born`` is false before, and after a new birth of its node until its own."""

    def __init__(self, address: Address, names: Names, budget: Budget) -> None:
        self.address = address
        self.key = address.key
        self.born = False
        self.online = False
        """As the adapter was told."""
        self.switch: Known | None = None
        self.pending: Pending | None = None
        self._names = names
        self._budget = budget
        self._known: dict[str, Known] = {}
        self._aliases: dict[int, Known] = {}
        self._state: dict[str, float] = {}
        self._taken: set[str] = set()
        self._last: Values | None = None

    def birth(self, payload: Payload) -> list[Step]:
        """All that the device has, and its values."""
        more = len(payload.metrics) - len(self._known)
        if more > self._budget.left:
            return [Finding("sparkplug too much", f"{self.key}: {len(payload.metrics)} more metrics")]
        self._known, self._aliases, self._state, self.switch = {}, {}, {}, None
        self._taken = set()
        findings: list[Step] = [step for one in payload.metrics for step in self._learn(one)]
        self._budget.left -= more - (len(payload.metrics) - len(self._known))
        self.born = True
        channels = [known.channel for known in self._known.values() if known.channel]
        if not channels and self.switch is None:
            return findings if self.address.device else []
        self.online = True
        point = self._point(payload, channels)
        return [*findings, point, Available(self.key, online=True), *self.data(payload, whole=True)]

    def data(self, payload: Payload, *, whole: bool = False) -> list[Step]:
        """What has changed; UnknownMetricError when the birth did not have it.

        ``whole``: all is there, and becomes one reading at the time of its newest metric.
        """
        steps: list[Step] = []
        live: _Groups = {}
        past: _Groups = {}
        for one in payload.metrics:
            try:
                known = self._of(one)
            except UnknownMetricError:
                if not whole:
                    raise
                continue  # `_learn` has told what is wrong with it
            if known.channel is None and known is not self.switch:
                continue
            ts = payload.timestamp if one.timestamp is None else one.timestamp
            try:
                value = one.value(known.datatype)
            except PayloadError as error:
                steps.append(Finding("sparkplug value", f"{self.key} {known.name}: {error}"))
                value = None
            (past if one.historical else live).setdefault(ts, []).append((known, value))
        for ts, told in _in_order(past):
            steps += self._past(ts, told)
        if whole and live:
            live = {max(live, key=lambda ts: ts or 0): [one for told in live.values() for one in told]}
        for ts, told in _in_order(live):
            steps += self._live(ts, told)
        return steps

    def death(self) -> list[Step]:
        """The device is offline, its values stale."""
        self.born, self._state, self._last, was, self.online = False, {}, None, self.online, False
        return [Available(self.key, online=False)] if was else []

    def unborn(self) -> None:
        """Its node has begun anew: what it says counts after its own birth."""
        self.born = False

    def command(self, position: Position, *, at: int) -> Metric:
        """The metric that switches; with its alias alone, where the birth has told one."""
        assert self.switch is not None
        name = self.switch.name if self.switch.alias is None else None
        closed = position is Position.CLOSED
        return metric(name, DataType.BOOLEAN, closed, alias=self.switch.alias, timestamp=at)

    def _learn(self, one: Metric) -> Iterator[Finding]:
        name = one.name or ""
        if name in (BD_SEQ, REBIRTH):
            return
        if not name or name in self._known:
            yield Finding("sparkplug birth", f"{self.key}: a metric without a name of its own: {name[:64]!r}")
            return
        channel = None
        try:
            channel = self._names.channel(name, one.properties)
        except UnitError as error:
            yield Finding("sparkplug unit", f"{self.key} {name}: {error}")
        if channel and channel.quantity in self._taken:
            yield Finding("sparkplug twice", f"{self.key} {name}: {channel.quantity} is another metric's too")
            channel = None
        if channel:
            self._taken.add(channel.quantity)
        known = self._known[name] = Known(name, one.alias, one.datatype, channel)
        if one.datatype == DataType.BOOLEAN and self.switch is None and self._names.is_switch(name):
            self.switch = known
        if one.alias is None:
            return
        if one.alias in self._aliases:
            yield Finding("sparkplug alias", f"{self.key} {name}: alias {one.alias} is another metric's too")
        self._aliases[one.alias] = known if one.alias not in self._aliases else _NOBODY

    def _of(self, one: Metric) -> Known:
        by_name = self._known.get(one.name) if one.name is not None else None
        by_alias = self._aliases.get(one.alias) if one.alias is not None else None
        known = by_name or by_alias
        if one.name in (BD_SEQ, REBIRTH):
            return _NOBODY
        if known is None or (one.name is not None and by_name is None):
            raise UnknownMetricError(f"metric {one.name!r} with alias {one.alias} is not in the birth")
        if by_name and by_alias and by_name is not by_alias and by_alias is not _NOBODY:
            raise UnknownMetricError(f"alias {one.alias} of {one.name!r} is another metric's in the birth")
        return known

    def _point(self, payload: Payload, channels: Sequence[Channel]) -> Point:
        told = {
            which: value
            for one in payload.metrics
            if one.name and (which := self._names.identity(one.name)) and (value := _text(one))
        }
        return Point(
            self.key,
            name=self.address.device or self.address.node,
            vendor=told.get("vendor", ""),
            model=told.get("model", ""),
            serial=told.get("serial", self.key),
            firmware=told.get("firmware", ""),
            quantities=tuple(channel.quantity for channel in channels),
            switch=self.switch is not None,
            doubts=tuple(channel.doubt for channel in channels if channel.doubt),
        )

    def _live(self, ts: int | None, told: list[tuple[Known, Scalar | None]]) -> Iterator[Step]:
        changed = False
        for known, value in told:
            if known.channel:
                number, finding = _number(known, value)
                yield from [finding] if finding else []
                self._state.pop(known.channel.quantity, None)
                if number is not None:
                    self._state[known.channel.quantity] = number
                changed = True
            elif isinstance(value, bool):
                yield self._switched(value, ts)
        if changed and self._state:
            measured: Measured = dict(self._state)
            self._last, before = Values(self.key, measured, moment(ts)), self._last
            if self._last != before:
                yield self._last

    def _past(self, ts: int | None, told: list[tuple[Known, Scalar | None]]) -> Iterator[Step]:
        measured: Measured = {}
        for known, value in told:
            number, finding = _number(known, value) if known.channel else (None, None)
            yield from [finding] if finding else []
            if known.channel and number is not None:
                measured[known.channel.quantity] = number
        at = moment(ts)
        if measured and at is None:
            yield Finding("sparkplug history", f"{self.key}: a value of the past without a time")
        elif measured:
            yield Values(self.key, measured, at, historical=True)

    def _switched(self, closed: bool, ts: int | None) -> Switched:
        position = Position.CLOSED if closed else Position.OPEN
        pending = self.pending
        if pending and ts is not None and ts - pending.at > FORGOTTEN:
            pending = self.pending = None
        if pending is None or (position is not pending.position and (ts is None or ts >= pending.at)):
            return Switched(self.key, position)
        if ts is not None and ts < pending.at:
            return Switched(self.key, position, confirmed=False)
        self.pending = None
        return Switched(self.key, position, token=pending.token)


_NOBODY = Known("", None, DataType.UNKNOWN, None)
"""Whose an alias is that two metrics have: a value under it is nobody's."""


def moment(ms: int | None) -> datetime | None:
    """A timestamp of Sparkplug; None when there is none, or it is no time."""
    return datetime.fromtimestamp(ms / 1000, UTC) if ms is not None and 0 < ms < LATEST else None


def _in_order(groups: _Groups) -> list[tuple[int | None, list[tuple[Known, Scalar | None]]]]:
    return sorted(groups.items(), key=lambda group: group[0] or 0)


def _text(one: Metric) -> str:
    try:
        value = one.value()
    except PayloadError:
        return ""
    return "" if value is None or isinstance(value, bytes) else str(value)[:255]


def _number(known: Known, value: Scalar | None) -> tuple[float | None, Finding | None]:
    """In the quantity's unit; a value that is no number is a finding, null is neither."""
    assert known.channel is not None
    if value is None:
        return None, None
    row = QUANTITIES[known.channel.quantity]
    if isinstance(value, bool | str | bytes) or not math.isfinite(value):
        return None, Finding("sparkplug value", f"{known.name}: {value!r:.80} is no number")
    number = float(value) * known.channel.factor
    if not row.lowest <= number <= row.highest:
        limits = f"{row.lowest:g} to {row.highest:g} {row.unit}"
        return None, Finding("sparkplug value", f"{known.name}: {value!r} is no {row.label}: {limits}")
    return number, None
