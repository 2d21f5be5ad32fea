"""The host's time as IEC 61850-8-1 has it: milliseconds, and what is known of the clock.

>>> moment_of(datetime(2026, 11, 30, tzinfo=UTC), synchronized=False)
Moment(t_ms=1795996800000, t_quality=42)
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

T_SYNCHRONIZED, T_NOT_SYNCHRONIZED = 0x8A, 0x2A
"""Time quality: leap seconds known and 1 ms; or clock-not-synchronized."""


class Moment(NamedTuple):
    """A time of this machine."""

    t_ms: int
    """Milliseconds since 1970, UTC."""
    t_quality: int

    @property
    def synchronized(self) -> bool:
        """Whether the clock was kept."""
        return self.t_quality != T_NOT_SYNCHRONIZED


def milliseconds(ts: datetime) -> int:
    """``ts`` as milliseconds since 1970."""
    return round(ts.timestamp() * 1000)


def time_quality(*, synchronized: bool) -> int:
    """The octet for a clock that is kept, or is not."""
    return T_SYNCHRONIZED if synchronized else T_NOT_SYNCHRONIZED


def moment_of(ts: datetime, *, synchronized: bool) -> Moment:
    """``ts`` of a clock that is kept, or is not."""
    return Moment(milliseconds(ts), time_quality(synchronized=synchronized))


def now(*, synchronized: bool) -> Moment:
    """The present time."""
    return moment_of(datetime.now(UTC), synchronized=synchronized)
