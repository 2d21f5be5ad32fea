"""Settings of billing: how long a period is, and the calendar of tariffs.

>>> BillingSettings(billing_period="day").billing_period
'day'
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.calendar import CalendarSettings

FREEZE_MS = {"month": 0, "day": 86_400_000}
"""frPd of the SCD: a month is no fixed time, and INT32 has no number for it."""


class BillingSettings(BaseSettings):
    """Of the bridge, which has them among its own."""

    model_config = SettingsConfigDict(env_prefix="METER61850_", extra="forbid", frozen=True)

    calendar: CalendarSettings = Field(default_factory=CalendarSettings)
    billing_period: Literal["month", "day"] = "month"
    """``month`` or ``day``: at its end, in the utility's time zone, the registers are frozen (frVal in MMS,
    topic ``billing``)."""
    tariffs: Path | None = None
    """TOML file of the tariffs' calendar (`meter61850 tariffs example`), read at the start. With it each
    meter has registers per tariff in MMS."""
