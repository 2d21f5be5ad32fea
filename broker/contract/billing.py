"""What a bill is made of: the registers at the end of the last period, demand, energy by tariff.

The bridge makes it from its store, so that MMS and everybody else has the figures of the command line.

>>> Peak(power=5200, start="2026-11-23T17:15:00Z", minutes=15, mark="measured").end.isoformat()
'2026-11-23T17:30:00+00:00'
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, ClassVar

from pydantic import BaseModel, Field, StringConstraints

from broker.contract.messages import MAX_SEQ, Line, Message, Timestamp, Token

Amount = Annotated[float, Field(ge=-1e13, le=1e13, allow_inf_nan=False)]


class Peak(BaseModel):
    """The mean power of an interval of the load profile."""

    power: Amount
    """W."""
    start: Timestamp
    """Of the interval."""
    minutes: Annotated[int, Field(ge=1, le=60)]
    mark: Token
    """``measured``, ``interpolated``, ``estimated`` or ``missing`` (known in part)."""

    @property
    def end(self) -> datetime:
        """Of the interval."""
        return self.start + timedelta(minutes=self.minutes)


class TariffEnergy(BaseModel):
    """Energy of one tariff in one period; absent where nothing is known."""

    energy_import: Amount | None = None
    """Wh."""
    energy_export: Amount | None = None
    """Wh."""


class BillingPeriod(BaseModel):
    """A local month, or a local day, as far as it is known."""

    period: Token
    """``2026-11`` or ``2026-11-23``."""
    start: Timestamp
    end: Timestamp
    maximum: Peak | None = None
    """The largest mean power of its intervals, the earliest of equal ones."""
    tariffs: dict[Token, TariffEnergy] = Field(default_factory=dict)
    """By ``T1`` to ``T8``; empty without a calendar of tariffs."""


class FrozenPeriod(BillingPeriod):
    """A period that is over."""

    version: Annotated[int, Field(ge=1, le=MAX_SEQ)] = 1
    """1, and one more for each interval of it that was corrected since."""
    registers: dict[Token, Amount] = Field(default_factory=dict)
    """The registers of a reading at the end of the period, by quantity; empty if there is none near it."""
    read_at: Timestamp | None = None
    """Of that reading."""


class Billing(Message):
    """The figures of the last whole period and of the running one. Retained; renewed every hour.

    Empty payload: the meter is retired.
    """

    MAX_BYTES: ClassVar[int] = 64 * 1024

    frozen: FrozenPeriod
    running: BillingPeriod
    demand: Peak | None = None
    """Of the latest interval that is known."""


class TariffInForce(Message):
    """Which tariff the calendar has now, for the whole deployment. Retained; published when it changes.

    Empty payload: there is no calendar of tariffs, or its first version has not begun.
    """

    tariff: Annotated[str, StringConstraints(pattern="^T[1-8]$")]
    name: Line = ""
    """As the calendar calls it."""
    since: Timestamp
    """When it came into force; if that is longer ago, 400 days before it was published."""
    until: Timestamp | None = None
    """When it changes; absent: not within 400 days."""
    next: Token | None = None
    """The tariff that comes then."""
