"""The documents of `web.api.losses`."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel

from web.api.models import MeterId


class BalanceRow(BaseModel):
    """A feeder in one day, month or interval; energy in Wh."""

    start: AwareDatetime
    end: AwareDatetime
    period: str | None = None
    houses: int
    intervals: int | None = None
    balanced: int | None = None
    """Intervals of which the feeder's own meter and all houses are known; energy and loss are of these."""
    energy_supplied: float | None = None
    energy_used: float | None = None
    loss: float | None = None
    loss_percent: float | None = None
    loss_technical: float | None = None
    """Of the lines: fitted to the square of the power, if there are enough intervals."""
    loss_other: float | None = None
    coverage: float | None = None
    """Share (%) of the houses' intervals that are measured or interpolated."""
    measured: int | None = None
    interpolated: int | None = None
    estimated: int | None = None
    missing: int | None = None
    supplied: float | None = None
    """This and the next three: with ``by=interval``."""
    used: float | None = None
    known: int | None = None
    complete: bool | None = None


class Balance(BaseModel):
    """What a feeder or transformer was supplied with, used, and lost."""

    feeder: str
    rows: list[BalanceRow]


class Suspicion(BaseModel):
    """A house that is worth a look: no accusation, and the cause of no action."""

    feeder: str
    meter_id: MeterId
    name: str
    address_code: str
    rule: str
    since: AwareDatetime
    intervals: int
    """That it rests on."""
    reason: str
    otherwise: str
    """What else it can be."""


class Suspicions(BaseModel):
    """Of a time."""

    start: AwareDatetime
    end: AwareDatetime
    suspicions: list[Suspicion]
