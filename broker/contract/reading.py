"""Readings, and what the bridge answers when it has stored them.

The quantities of a reading are those of the table (`broker.contract.quantities`). One bad quantity costs that
quantity, not the reading: it is absent, and what was told stands among the other numbers of the reading,
under its name. A number under a name that this version does not know is kept as it is.

>>> told = b'{"epoch":1,"seq":1,"ts":"2026-11-23T12:00:00Z","voltage":230,"current":-1,"thd":3.1}'
>>> reading = Reading.model_validate_json(told)
>>> reading.voltage, reading.current, reading.other
(230.0, None, {'thd': 3.1})
>>> kept(float("nan")), kept("overload"), kept(-0.001)
('nan', 'overload', -0.001)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError, to_json

from broker.contract.messages import (
    EARLIEST,  # noqa: F401 - for the example
    IF_BAD,
    MAX_SEQ,
    IfBad,
    Message,
    Timestamp,
    Token,
    checked_ts,
    format_ts,
)
from broker.contract.quantities import NAME, QUANTITIES, Quantity

MAX_OTHER = 32
"""Numbers under unknown names in one reading."""

_NAME = re.compile(NAME[:-1] + r"\Z", re.ASCII)
_LONGEST = 64


def within(name: str) -> Any:
    """The limits of a quantity, as pydantic checks them."""
    row = QUANTITIES[name]
    return Field(ge=row.lowest, le=row.highest)


def _no_flag(told: Any) -> Any:
    if isinstance(told, bool):
        raise PydanticCustomError("flag", "is true or false, not a number")
    return told


_NUMBER = BeforeValidator(_no_flag)
"""``true`` is not 1."""


def _field(row: Quantity) -> Any:
    """The annotation of a quantity in a reading."""
    number = Annotated[float, within(row.name), _NUMBER]
    return Annotated[number | None, IF_BAD, Field(default=None, description=row.description)]


class Reading(Message):
    """One reading. (meter_id, epoch, seq) names it for ever. Retained: the latest one.

    A quantity that is no number within its limits is taken as absent; the rest of the reading counts. A
    number under a name that is not in this table is of a newer meter: it is kept too, at most 32 of them.
    """

    epoch: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    """When the meter began to count so, in ms since 1970: a new outbox is a new epoch. A reading whose name
    another one has gets that name in the next epoch (``epoch`` + 1), and so on."""
    seq: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    """Counts up by one in an epoch."""
    ts: Timestamp
    """When the sensor was read."""
    # A field for each quantity, here, so that it is on the wire where it always was.
    __annotations__.update({name: _field(row) for name, row in QUANTITIES.items()})
    alarm: Annotated[bool | None, IF_BAD] = None
    """True while the sensor's own over-power alarm is set."""
    clock_synchronized: Annotated[bool | None, IfBad(lambda: False)] = None
    """False when nothing kept the meter's clock right when it read: ``ts`` may be wrong. Absent otherwise."""
    instance: Annotated[Token | None, IF_BAD] = None
    """The sender: the ``instance`` of the meter's birth. It is not a part of the reading. The bridge's answer
    is for this instance only, so that two meters with one identity do not mix their readings up."""
    repeated: bool | None = None
    """True: the bridge repeats what a broker has lost, for a meter that may be away; no sign of life."""

    model_config = ConfigDict(extra="allow")

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> float | None:
            """A quantity."""

    @property
    def other(self) -> dict[str, float | str]:
        """The numbers under names that only a newer meter knows."""
        return other_numbers(self.model_extra or {})

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        if self.__pydantic_extra__:
            other_numbers(self.__pydantic_extra__)
        return self


MAY_BE_BAD = frozenset((*QUANTITIES, "alarm"))
"""What costs itself when it is bad."""

_PLACES = {name: place for place, name in enumerate((*QUANTITIES, "alarm", "clock_synchronized"))}
"""What we say in a reading, in the order of its fields."""

KNOWN = frozenset(Reading.model_fields)
"""All that this version knows of a reading."""


def other_numbers(fields: Mapping[str, Any]) -> dict[str, float | str]:
    """The numbers of a reading under names that we do not know; ValueError when they are too many."""
    found = {
        name: kept(value)
        for name, value in fields.items()
        if name not in KNOWN and type(value) in (int, float) and _NAME.match(name)
    }
    if len(found) > MAX_OTHER:
        raise ValueError(f"more than {MAX_OTHER} unknown quantities")
    return found


def kept(value: Any) -> float | str:
    """``value`` as a finite number; what is none, as text of at most 64 characters."""
    try:
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
        return str(value)[:_LONGEST].replace("\0", "\ufffd")
    except (OverflowError, ValueError, RecursionError):  # an integer of 400 digits, of 5,000; lists in lists
        return "beyond all limits"


def encoded(quantities: Mapping[str, float | bool], *, epoch: int, seq: int, ts: datetime) -> bytes:
    """The payload of a reading that we make ourselves; ValueError where ``ts`` is the time of a wrong clock.

    The bytes of `Reading.payload`, at less than half its cost: an adapter makes a thousand in a second.

    >>> encoded({"power": 40, "voltage": 230.5, "current": -1}, epoch=1, seq=2, ts=EARLIEST)
    b'{"epoch":1,"seq":2,"ts":"2020-01-01T00:00:00.000Z","voltage":230.5,"power":40.0}'
    """
    told: dict[str, Any] = {"epoch": epoch, "seq": seq, "ts": format_ts(checked_ts(ts))}
    for name in sorted(quantities.keys() & _PLACES.keys(), key=_PLACES.__getitem__):
        row, value = QUANTITIES.get(name), quantities[name]
        if row is None:
            told[name] = bool(value)
        elif not isinstance(value, bool) and row.lowest <= value <= row.highest:
            told[name] = float(value)
    if not quantities.keys() <= _PLACES.keys():
        others = other_numbers(quantities)
        told |= {name: value for name, value in others.items() if isinstance(value, float)}
    return to_json(told)


class History(Message):
    """Readings kept while offline, oldest first. Not retained."""

    MAX_BYTES: ClassVar[int] = 512 * 1024

    readings: Annotated[tuple[Reading, ...], Field(min_length=1, max_length=1000)]


NO_INSTANCE = "-"
"""The sender of readings without an ``instance``."""


def is_for(instance: str, named: str | None) -> bool:
    """Whether a message about readings that ``named`` sent is for ``instance``."""
    return named is None or named == instance


class Stored(Message):
    """The bridge has committed readings ``first`` … ``seq`` of ``epoch``; the meter may forget them."""

    epoch: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    first: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    seq: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    ts: Timestamp | None = None
    """The bridge's time after it had received them; the meter judges the age of commands by it, too."""
    instance: Token | None = None
    """The sender of these readings, ``-`` without an instance: a meter ignores a message for another one.
    Absent: an older bridge, which does not know."""

    blocks: bool | None = None
    """True: the broker retains every relay block of the ledger. False: the bridge has not checked it yet; a
    meter that has not received true on its connection refuses commands. Absent: an older bridge."""

    def is_for(self, instance: str) -> bool:
        """Whether ``instance`` of a meter's program may have sent these readings."""
        return is_for(instance, self.instance)
