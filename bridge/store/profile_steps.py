"""What the readings of a time say of a meter's registers: their steps, and which reach over boundaries.

>>> Steps(connection, meter, hour, near=60_000, joints=joints).find(start, end).covers  # doctest: +SKIP
{'energy_import': [Cover(begin=…, end=…, value=1000, mark=<Mark.MEASURED: 0>), …]}
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import Connection

from bridge.store import series
from bridge.store.intervals import Cover, bounded, covers
from bridge.store.neighbours import Stretch, counted, stretches, stretches_of
from bridge.store.pack_format import Columns, Counted, counted_of, joined
from bridge.store.profile_format import Joint
from bridge.store.tables import HOUR_MS

REGISTERS = {
    "energy_import": "",
    "energy_export": "energy_export",
    "reactive_import": "reactive_import",
    "reactive_export": "reactive_export",
}
"""Field of an interval → what `bridge.store.pack_format.counted_of` calls it."""


class Summed(NamedTuple):
    """Hours that were just summed up, and follow each other: they are not read again."""

    start: int
    end: int
    columns: Columns
    stretches: list[Stretch]


class Found(NamedTuple):
    """What the readings say of a time."""

    columns: Columns
    covers: dict[str, list[Cover]]
    joints: dict[str, dict[int, frozenset[Joint]]]
    """By register and hour."""


class Steps:
    """Reads those of one meter; ``joints`` are the stored ones at the beginning of an hour, by register."""

    def __init__(
        self,
        connection: Connection,
        meter: int,
        given: Summed,
        *,
        near: int,
        joints: Callable[[int], Mapping[str, Collection[Joint]]],
    ) -> None:
        self._connection = connection
        self._meter = meter
        self._given = given
        self._near = near
        self._joints = joints

    def find(self, first: int, end: int) -> Found:
        columns = self._columns(first, end)
        found: dict[str, list[Cover]] = {}
        joints: dict[str, dict[int, frozenset[Joint]]] = {}
        known = {name for at in (first, end) for name in self._joints(at)}
        for name, key in REGISTERS.items():
            if not key or _tells(columns, key) or name in known:
                found[name], joints[name] = self._register(name, key, columns, first, end)
        return Found(columns, found, joints)

    def _is_given(self, first: int, end: int) -> bool:
        return (first, end) == (self._given.start, self._given.end)

    def _columns(self, first: int, end: int) -> Columns:
        if self._is_given(first, end):
            return self._given.columns
        return joined(series.pieces(self._connection, self._meter, start=first, end=end, rows_at_a_time=None))

    def _register(
        self, name: str, key: str, columns: Columns, first: int, end: int
    ) -> tuple[list[Cover], dict[int, frozenset[Joint]]]:
        """The covers that overlap the time, and those that reach over each of its hours' boundaries."""
        spread: list[Cover] = []
        reaching: dict[int, set[Joint]] = {at: set() for at in range(first, end + 1, HOUR_MS)}
        for stretch in self._stretches(name, key, columns, first, end):
            for step, cover in bounded(covers(stretch.steps, near=self._near)):
                if not cover.concerns(first, end):
                    continue
                spread.append(cover)
                if cover.spreads:
                    who = step.reading.epoch, step.since.seq, step.reading.seq
                    is_open = int(step.wh is None)
                    for at in _boundaries(cover, first, end):
                        before, after = -((cover.begin - at) // 1000), -((at - cover.end) // 1000)
                        reaching[at].add(Joint(*who, before, after, is_open))
        return spread, {at: frozenset(several) for at, several in reaching.items()}

    def _stretches(self, name: str, key: str, columns: Columns, first: int, end: int) -> Iterable[Stretch]:
        """The steps that begin or end in this time, and those that reach over all of it."""
        beyond = self._beyond(name, first, end)
        if not key and not beyond and self._is_given(first, end):
            return self._given.stretches
        if columns and not beyond:
            return stretches_of(self._connection, self._meter, columns, key)
        readings = {(one.epoch, one.seq): one for one in counted_of(columns, key)} if columns else {}
        unknown = [one for one in beyond if not {one[:2], (one.epoch, one.last)} & readings.keys()]
        for epoch in {one.epoch for one in unknown}:  # all between them is looked at in any case
            _, firsts, lasts, *_ = zip(*(one for one in unknown if one.epoch == epoch), strict=True)
            some = self._between(epoch, min(firsts), max(lasts), key)
            readings |= {(epoch, one.seq): one for one in some}
        own = [readings[name] for name in sorted(readings)]
        return stretches(self._connection, self._meter, own, key)

    def _beyond(self, name: str, first: int, end: int) -> Collection[Joint]:
        """Steps that reached over all of this time."""
        after = {one[:3] for one in self._joints(end).get(name, ())}
        return [one for one in self._joints(first).get(name, ()) if one[:3] in after]

    def is_gone(self, name: str, joint: Joint) -> bool:
        """Whether one of its readings is no longer there."""
        ends = (joint.first, joint.last)
        return not all(self._between(joint.epoch, seq, seq, REGISTERS[name]) for seq in ends)

    def _between(self, epoch: int, first: int, last: int, register: str) -> list[Counted]:
        return counted(self._connection, self._meter, epoch, first=first, last=last, register=register)


def _boundaries(cover: Cover, first: int, end: int) -> range:
    """The hours' boundaries of a time that a cover reaches over, or ends at."""
    begin = max(first, cover.begin - cover.begin % HOUR_MS + HOUR_MS)
    return range(begin, min(end, cover.end) + 1, HOUR_MS)


def _tells(columns: Columns, name: str) -> bool:
    """Whether any reading has it: where packs overlap, a column may be there and empty."""
    return any(value is not None for value in columns.get(name, ()))
