"""Hours that stay as they are for ever, because retention has deleted something that they were made from.

The store remembers before when readings are deleted. An hour before it, whose roll-up is there, is never
computed again: what is left of its readings is a part. Nor is a later hour whose first step was from a
reading that is gone: the step that its load profile has over its begin says so, and without a load profile
the absence of the reading does.

>>> final(connection, meter, {hour}, stretches)  # doctest: +SKIP
set()
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from sqlalchemy import BigInteger, Connection, bindparam, insert, select, update
from sqlmodel import col

from bridge.store.neighbours import Stretch, counted
from bridge.store.profile_format import Day
from bridge.store.tables import DAY_MS, HOUR_MS, LoadProfile, metadata

_SETTING = metadata.tables["setting"]
_OURS = _SETTING.c.name == "deleted_before"
_KNOWN = select(_SETTING.c.value).where(_OURS)
_DAY = (
    select(col(LoadProfile.start), col(LoadProfile.minutes), col(LoadProfile.data))
    .where(col(LoadProfile.meter) == bindparam("of"))
    .where(col(LoadProfile.start) == bindparam("at", type_=BigInteger))
)
_IMPORT = "energy_import"


def deleted_before(connection: Connection) -> int:
    """Readings before this (ms, the begin of an hour) may be deleted; 0: none ever was."""
    return int(connection.scalar(_KNOWN) or 0)


def note_deleted(connection: Connection, before: int) -> None:
    """Remember it with what is deleted."""
    known = connection.scalar(_KNOWN)
    if known is None:
        values = {"name": "deleted_before", "value": str(before), "changes": 0}
        connection.execute(insert(_SETTING).values(values))
    elif int(known) < before:
        connection.execute(update(_SETTING).where(_OURS).values(value=str(before)))


def final(
    connection: Connection, meter: int, hours: Collection[int], stretches: Iterable[Stretch]
) -> set[int]:
    """Of ``hours`` (ms), which have roll-ups, those that stay; ``stretches`` are what their readings say."""
    if not hours or not (before := deleted_before(connection)):
        return set()
    begun = {start - start % HOUR_MS for start in _unsettled(stretches)}
    return {
        hour
        for hour in hours
        if hour < before or (hour in begun and _begins_elsewhere(connection, meter, hour))
    }


def _unsettled(stretches: Iterable[Stretch]) -> Iterator[int]:
    """ts of readings before which too little is stored to judge them."""
    return (one.concerned[0].ts for one in stretches if not one.is_settled)


def _begins_elsewhere(connection: Connection, meter: int, hour: int) -> bool:
    """Whether a step into the hour was from a reading that is gone, or may have been."""
    found = connection.execute(_DAY, {"of": meter, "at": hour - hour % DAY_MS}).first()
    if found is None:
        return True
    day = Day(*found)
    if not any(map(day.version, day.places(hour, hour + HOUR_MS))):
        return True
    return not all(
        counted(connection, meter, joint.epoch, first=joint.first, last=joint.first)
        for joint in day.joints(_IMPORT, hour)
    )
