"""Settings of credit, of the bridge, the web service and the command line.

>>> CreditSettings(credit=None).prices() is None
True
"""

from __future__ import annotations

from bridge.credit import credit_file
from bridge.credit.prices import Prices
from bridge.store import tariffs as tariff_calendar
from broker.calendar import CalendarSettings, File


class CreditSettings(CalendarSettings):
    """Which files say what energy costs."""

    credit: File = None
    """TOML file of prices and limits (docs/credit.md); read again at each round of upkeep. Default: no meter
    has credit."""

    def prices(self) -> Prices | None:
        """Of both files, None without credit; without tariffs all energy is of T1.

        ConfigurationError if a file is wrong.
        """
        if self.credit is None:
            return None
        tariffs = tariff_calendar.load(self.tariffs) if self.tariffs else None
        return Prices(credit_file.load(self.credit, tariffs=tariffs), tariffs)
