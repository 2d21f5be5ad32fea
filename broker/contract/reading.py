"""Readings, and what the bridge answers when it has stored them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from broker.contract.messages import IF_BAD, MAX_SEQ, IfBad, Message, Timestamp
from broker.contract.quantities import LIMITS, other_numbers


def _no_flag(told: Any) -> Any:
    if isinstance(told, bool):
        raise PydanticCustomError("flag", "is true or false, not a number")
    return told


_NUMBER = BeforeValidator(_no_flag)
"""``true`` is not 1."""


def _within(name: str) -> Any:
    """The limits of a quantity, as pydantic checks them."""
    low, high = LIMITS[name]
    return Field(ge=low, le=high)


class Reading(Message):
    """One reading. (meter_id, epoch, seq) names it for ever. Retained: the latest one.

    A quantity that is no number within its limits is taken as absent; the rest of the reading counts. A
    number under a name that is not in this table is of a newer meter: it is kept too, at most 32 of them.
    """

    epoch: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    """When the meter began to count so, in ms since 1970: a new outbox is a new epoch."""
    seq: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    """Counts up by one in an epoch."""
    ts: Timestamp
    """When the sensor was read."""
    voltage: Annotated[Annotated[float, _within("voltage"), _NUMBER] | None, IF_BAD] = None
    """V, RMS."""
    current: Annotated[Annotated[float, _within("current"), _NUMBER] | None, IF_BAD] = None
    """A, RMS."""
    power: Annotated[Annotated[float, _within("power"), _NUMBER] | None, IF_BAD] = None
    """W, active."""
    power_factor: Annotated[Annotated[float, _within("power_factor"), _NUMBER] | None, IF_BAD] = None
    """−1…1."""
    frequency: Annotated[Annotated[float, _within("frequency"), _NUMBER] | None, IF_BAD] = None
    """Hz."""
    energy: Annotated[Annotated[float, _within("energy"), _NUMBER] | None, IF_BAD] = None
    """Wh, active, counted up since the sensor's last reset."""
    alarm: Annotated[bool | None, IF_BAD] = None
    """True while the sensor's own over-power alarm is set."""
    clock_synchronized: Annotated[bool | None, IfBad(instead=False)] = None
    """False when nothing kept the meter's clock right when it read: ``ts`` may be wrong. Absent otherwise."""
    repeated: bool | None = None
    """True: the bridge repeats what a broker has lost, for a meter that may be away; no sign of life."""

    model_config = ConfigDict(extra="allow")

    @property
    def other(self) -> dict[str, float | str]:
        """The numbers under names that only a newer meter knows."""
        return other_numbers(self.model_extra or {})

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        if self.__pydantic_extra__:
            other_numbers(self.__pydantic_extra__)
        return self


class History(Message):
    """Readings kept while offline, oldest first. Not retained."""

    MAX_BYTES: ClassVar[int] = 512 * 1024

    readings: Annotated[tuple[Reading, ...], Field(min_length=1, max_length=1000)]


class Stored(Message):
    """The bridge has committed readings ``first`` … ``seq`` of ``epoch``; the meter may forget them."""

    epoch: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    first: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    seq: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    ts: Timestamp | None = None
    """The bridge's time after it had received them; the meter judges the age of commands by it, too."""
    taken: Annotated[tuple[int, ...], Field(min_length=2, max_length=2)] | None = None
    """``ts`` of readings ``first`` and ``seq``, ms since 1970: a meter that took others is not meant."""
