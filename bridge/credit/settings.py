"""Settings of credit, of the bridge, the web service and the command line.

>>> CreditSettings(credit=None).prices() is None
True
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bridge.credit import credit_file
from bridge.credit.prices import Prices
from bridge.store import tariffs as tariff_calendar

File = Annotated[Path | None, BeforeValidator(lambda value: value or None)]


class CreditSettings(BaseSettings):
    """Which files say what energy costs."""

    model_config = SettingsConfigDict(env_prefix="METER61850_", extra="forbid", frozen=True)

    credit: File = None
    """TOML file of prices and limits (docs/credit.md); read again at each round of upkeep. Default: no meter
    has credit."""
    tariffs: File = None
    """TOML file of the tariffs' calendar (`meter61850 tariffs example`). Default: all energy is of T1."""

    def prices(self) -> Prices | None:
        """Of both files, None without credit; ConfigurationError if one of them is wrong."""
        if self.credit is None:
            return None
        tariffs = tariff_calendar.load(self.tariffs) if self.tariffs else None
        return Prices(credit_file.load(self.credit, tariffs=tariffs), tariffs)
