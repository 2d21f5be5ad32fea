"""The form in which the interval values of a meter and UTC day are stored: deflated JSON, a list by field.

A field's list has a place for each interval of the day: thousandths of a Wh, tenths of a W or V, a mark, or
None. What is None everywhere is left out; ``version`` is None where there is no interval yet. ``joints`` says
by register and hour which steps reach over the beginning of the hour: where those are others than before,
the hours beside it are to be computed again.

>>> day = Day(0, 15)
>>> day.put(3, {"energy_import": 21_300, "power_mean": 852, "power_min": 850})
>>> day.put(3, {"energy_import": 21_400, "power_mean": 852, "power_min": 850})
{'energy_import': 21300}
>>> again = Day(0, 15, day.encoded())
>>> again.version(3), again.version(4), again.row(3), again.encoded() == day.encoded()
(2, 0, {'energy_import': 21400, 'power_mean': 852, 'power_min': 850}, True)
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import orjson

from bridge.store.tables import DAY_MS, HOUR_MS

_HOURS = DAY_MS // HOUR_MS
_VERSION, _JOINTS = "version", "joints"
_TEXT_JOINTS = b'"joints":'


class Joint(NamedTuple):
    """A step that reaches over a boundary, by the readings that it is between, and how far it does."""

    epoch: int
    first: int
    """seq of the reading that it is from."""
    last: int
    before: int
    """s that it begins before the boundary, rounded up, as the next."""
    after: int
    is_open: int = 0
    """1: it was in doubt, and counted nothing; the next reading may say that it does."""

    def stored(self) -> list[int]:
        """As a list: most are not open."""
        found = [self.epoch, self.first, self.last - self.first, self.before, self.after]
        return [*found, self.is_open] if self.is_open else found


class Day:
    """The intervals of one day, which begins at ``start`` (ms)."""

    def __init__(self, start: int, minutes: int, data: bytes | None = None) -> None:
        self.start = start
        self.minutes = minutes
        self.span = minutes * 60_000
        """ms of an interval."""
        self._text = zlib.decompress(data) if data else b"{}"
        self._some: dict[str, list[Any]] = {}

    @cached_property
    def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = orjson.loads(self._text)
        return told

    @cached_property
    def _joints(self) -> dict[str, list[Any]]:
        told = self._told.get(_JOINTS, {})
        return {register: list(_seqs(hours, 1)) for register, hours in told.items()}

    @cached_property
    def _columns(self) -> dict[str, list[Any]]:
        """All fields. They cost ten times as much as a register alone."""
        return _unpacked({name: values for name, values in self._told.items() if name != _JOINTS})

    @property
    def count(self) -> int:
        """Of its intervals."""
        return DAY_MS // self.span

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that any interval has."""
        return tuple(name for name in self._columns if name != _VERSION)

    def places(self, begin: int, end: int) -> range:
        """The intervals of the day between these times (ms), which are boundaries or outside of it."""
        first, last = max(begin, self.start), min(end, self.start + DAY_MS)
        return range(-(-(first - self.start) // self.span), max(0, -(-(last - self.start) // self.span)))

    def version(self, place: int) -> int:
        """Of an interval; 0: there is none yet."""
        versions = self._columns.get(_VERSION)
        return 0 if versions is None else versions[place] or 0

    def column(self, name: str) -> list[Any]:
        """A field of all intervals."""
        if "_columns" in vars(self) or name.endswith(_OF_MEAN):
            found = self._columns.get(name)
        else:
            found = self._some[name] if name in self._some else self._some.setdefault(name, self._alone(name))
        return found or [None] * self.count

    def _alone(self, name: str) -> list[Any]:
        """A field that is stored as it is, without the others. Joints, which have its name too, are last."""
        joints = self._text.rfind(_TEXT_JOINTS)
        begin = self._text.find(b'"%b":[' % name.encode(), 0, joints if joints >= 0 else None)
        if begin < 0:
            return []
        first = begin + len(name) + 3
        values: list[Any] = orjson.loads(self._text[first : self._text.index(b"]", first) + 1])
        return values

    def total(self, name: str, places: slice = slice(None)) -> int | None:
        """What a field comes to in some of the intervals; None if nothing is known of it."""
        values = self.column(name)[places]
        if None in values:
            values = [value for value in values if value is not None]
        return sum(values) if values else None

    def row(self, place: int) -> dict[str, Any]:
        """What is known of an interval."""
        return {name: self._columns[name][place] for name in self.names}

    def put(self, place: int, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Write an interval; what stood there, of the fields that are changed, if this is a new version."""
        before = self.row(place)
        changed = {
            name: before.get(name) for name in {**before, **values} if before.get(name) != values.get(name)
        }
        known = self.version(place)
        if known and not changed:
            return None
        for name in changed:
            self._set(name, place, values.get(name))
        self._set(_VERSION, place, known + 1)
        return changed if known else None

    def _set(self, name: str, place: int, value: Any) -> None:
        column = self._columns.setdefault(name, [None] * self.count)
        column[place] = value

    def joints(self, register: str, at: int) -> frozenset[Joint]:
        """The steps that reach over the beginning of an hour, when it was computed last."""
        hours = self._joints.get(register)
        told = hours[(at - self.start) // HOUR_MS] if hours else None
        return frozenset(
            Joint(epoch, first, first + more, *reach) for epoch, first, more, *reach in told or ()
        )

    def join(self, register: str, at: int, joints: Iterable[Joint]) -> None:
        """Note these."""
        told = [one.stored() for one in sorted(joints)] or None
        if told or register in self._joints:
            self._joints.setdefault(register, [None] * _HOURS)[(at - self.start) // HOUR_MS] = told

    @property
    def registers(self) -> tuple[str, ...]:
        """That any joint is of."""
        return tuple(self._joints)

    def encoded(self) -> bytes:
        """What is stored."""
        told: dict[str, Any] = _packed(
            {name: values for name, values in self._columns.items() if values.count(None) < len(values)}
        )
        if self._joints:
            told[_JOINTS] = {register: list(_seqs(hours, -1)) for register, hours in self._joints.items()}
        return zlib.compress(orjson.dumps(told), 9)


def _seqs(hours: list[Any], sign: int) -> Iterator[Any]:
    """Joints with each first seq less the one before it (-1), or as they were (1)."""
    last = 0
    for joints in hours:
        found = []
        for epoch, first, *others in joints or ():
            found.append([epoch, first + sign * last, *others])
            last = found[-1][1] if sign > 0 else first
        yield found or None


_MEAN = "_mean"
_OF_MEAN = (_MEAN, "_min", "_max")
"""How the names of fields end that are stored less others."""


def _packed(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The same in smaller numbers: a mean less the one before, minimum and maximum less the mean."""
    return {
        name: _differences(values)
        if name.endswith(_MEAN)
        else _added(values, columns.get(_mean_of(name)), -1)
        for name, values in columns.items()
    }


def _unpacked(told: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    means = {name: _summed(values) for name, values in told.items() if name.endswith(_MEAN)}
    return {
        name: means.get(name) or _added(values, means.get(_mean_of(name)), 1) for name, values in told.items()
    }


def _mean_of(name: str) -> str:
    """The mean of the same quantity."""
    return f"{name[:-4]}{_MEAN}" if name.endswith(_OF_MEAN[1:]) else ""


def _added(values: list[Any], others: list[Any] | None, sign: int) -> list[Any]:
    if others is None:
        return values
    pairs = zip(values, others, strict=True)
    return [None if value is None else value + sign * other for value, other in pairs]


def _differences(values: list[Any]) -> list[Any]:
    found, last = list[Any](), 0
    for value in values:
        found.append(None if value is None else value - last)
        last = last if value is None else value
    return found


def _summed(values: list[Any]) -> list[Any]:
    found, last = list[Any](), 0
    for value in values:
        last += value or 0
        found.append(None if value is None else last)
    return found
