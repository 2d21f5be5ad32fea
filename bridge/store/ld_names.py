"""How the logical devices of meters are named; the database says it, for all programs that read it.

A new database says ``number``: ``SMGW001M17``, IED name and LDevice inst. One that had meters when it was
upgraded says ``meter_id`` (``SM_`` and 32 hex digits, an ldName in the SCL), until it is told otherwise.

>>> domain_of(LdNames.NUMBER, "SMGW001", 17, "3f2504e0-4f89-41d3-9a0c-0305e82c3301")
'SMGW001M17'
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, false, select, update

from bridge.store.tables import metadata
from broker.contract.topics import scl_name

_SETTING = metadata.tables["setting"]
_NAME = "ld_names"
_OURS = _SETTING.c.name == _NAME
_METER = metadata.tables["meter"].c
_NUMBERED = re.compile(r"([A-Za-z][0-9A-Za-z_]*)?M([1-9]\d{0,17})")


class LdNames(StrEnum):
    """What the names are made of."""

    NUMBER = "number"
    METER_ID = "meter_id"


class Recorded(NamedTuple):
    """What the database says."""

    names: LdNames
    changes: int
    """How often it was changed, ever: all data sets have had other members since then."""


def recorded(connection: Connection) -> Recorded:
    """What holds now."""
    row = connection.execute(select(_SETTING.c.value, _SETTING.c.changes).where(_OURS)).one()
    return Recorded(LdNames(row.value), row.changes)


def record(connection: Connection, names: LdNames) -> bool:
    """From now on ``names`` holds; whether that is a change."""
    other = _OURS & (_SETTING.c.value != names)
    values = {"value": names, "changes": _SETTING.c.changes + 1}
    return connection.execute(update(_SETTING).where(other).values(values)).rowcount > 0


def inst_of(number: int) -> str:
    """LDevice inst of the meter, or spare device, with that number."""
    return f"M{number}"


def domain_of(names: LdNames, ied: str | None, number: int | None, meter_id: str) -> str:
    """MMS domain of a meter; empty while it has no IED."""
    if ied is None or number is None:
        return ""
    return ied + inst_of(number) if names is LdNames.NUMBER else scl_name(meter_id)


def numbered(text: str) -> ColumnElement[bool]:
    """The meter that ``text`` names by its number: ``M17``, or ``SMGW001M17``, with its IED."""
    found = _NUMBERED.fullmatch(text)
    if found is None:
        return false()
    ied, number = found.groups()
    in_ied = _METER.ied == ied if ied else _METER.ied.is_not(None)
    return (_METER.number == int(number)) & in_ied
