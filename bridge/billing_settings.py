"""Settings of billing: how long a period is, and what of it is in MMS.

>>> BillingSettings(billing_period="day").billing_period
'day'
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bridge.store.tariffs import Tariffs, load
from broker.calendar import CalendarSettings
from scl_builder.model.billing_nodes import Bills


class BillingSettings(BaseSettings):
    """Of the bridge, which has them among its own."""

    model_config = SettingsConfigDict(env_prefix="METER61850_", extra="forbid", frozen=True)

    calendar: CalendarSettings = Field(default_factory=CalendarSettings)
    billing_period: Literal["month", "day"] = "month"
    """``month`` or ``day``: at its end, in the utility's time zone, the registers are frozen (frVal in MMS,
    topic ``billing``)."""
    mms_demand: bool = True
    """Whether each meter has in MMS the demand that the bridge computes: 264 bytes of the SCD, 13 kB of the
    MMS bridge's memory for each."""

    def calendar_of_tariffs(self) -> Tariffs | None:
        """What is in the file; ConfigurationError names what is wrong."""
        return load(self.calendar.tariffs) if self.calendar.tariffs is not None else None

    def bills(self, minutes: int) -> Bills:
        """What is in the SCD; ``minutes`` of an interval."""
        found = self.calendar_of_tariffs()
        count = int(found.tariffs[-1].removeprefix("T")) if found is not None else 0
        return Bills(self.billing_period, minutes, count, self.mms_demand)
