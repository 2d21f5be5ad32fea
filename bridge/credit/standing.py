"""What an account's balance means: its state, and for how many days it lasts. Pure.

The states follow each other while the balance falls: ``good``, ``low``, ``emergency`` (below zero, on
credit), ``exhausted``; then a service may open the relay (``cut``) and close it again (``restored``).
Money is in thousandths of the currency's minor unit.

>>> limits = Limits(low=500_000, emergency=200_000)
>>> [str(state_of(balance, limits)) for balance in (500_001, 500_000, 0, -199_999, -200_000)]
['good', 'low', 'emergency', 'emergency', 'exhausted']
>>> str(state_of(-200_000, limits, cut=True)), str(state_of(900_000, limits, restored=True))
('cut', 'restored')
>>> days_left(300_000, spent=700_000, days=7), days_left(-1, spent=7, days=7), days_left(9, spent=0, days=7)
(3.0, 0.0, None)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Of an account, the best first."""

    GOOD = "good"
    LOW = "low"
    EMERGENCY = "emergency"
    """Nothing is left; the emergency credit is in use."""
    EXHAUSTED = "exhausted"
    """The emergency credit is used up, too."""
    CUT = "cut"
    """We have opened the relay."""
    RESTORED = "restored"
    """We have closed it again, and nothing was booked since."""


class Limits(NamedTuple):
    """Of balances, in thousandths of a minor unit; both are at least 0."""

    low: int
    """At this balance and below it is low."""
    emergency: int
    """So far below zero a balance may go."""


@dataclass(frozen=True)
class Standing:
    """An account as it is now."""

    meter_id: str
    balance: int
    """In thousandths of a minor unit; below zero the customer owes it."""
    state: State
    prepaid: bool
    lifeline: bool
    """Never to be cut."""
    booked_until: datetime | None
    """End of the newest booked interval; None: nothing was booked yet."""
    waiting: int
    """Missing or doubtful intervals that wait for a person."""
    exhausted_since: datetime | None
    warned_at: datetime | None
    cut_at: datetime | None
    """When we opened the relay; None as soon as we have closed it again."""
    days_left: float | None = None
    """At the cost of the last seven days; None: unknown, or it costs nothing."""
    name: str = ""
    """Of the meter."""
    waiting_newest: datetime | None = None
    """Begin of the newest interval that waits."""


def state_of(balance: int, limits: Limits, *, cut: bool = False, restored: bool = False) -> State:
    """The state of a prepaid account; ``restored`` until the next interval is booked."""
    if cut:
        return State.CUT
    if balance <= -limits.emergency:
        return State.EXHAUSTED
    if restored:
        return State.RESTORED
    if balance <= 0:
        return State.EMERGENCY
    return State.LOW if balance <= limits.low else State.GOOD


def days_left(balance: int, *, spent: int, days: float) -> float | None:
    """For how many days a balance lasts if each costs as much as ``days`` in which ``spent`` was booked.

    None: nothing was spent, so that nobody knows.
    """
    if balance <= 0:
        return 0.0
    return balance * days / spent if spent > 0 and days > 0 else None
