"""What the commands of ``meter61850 credit`` have in common: options, and what they work on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from socket import gethostname
from typing import Annotated, NamedTuple

import typer
from sqlalchemy import Engine

from admin.options import user_name
from admin.stores import open_store
from bridge.credit.accounts import Accounts, By
from bridge.credit.credit_file import CreditFile
from bridge.credit.prices import Prices
from bridge.credit.settings import CreditSettings
from bridge.store import database as databases
from broker.contract.errors import ConfigurationError

CreditPath = Annotated[
    Path | None,
    typer.Option(
        "--credit",
        envvar="METER61850_CREDIT",
        metavar="FILE",
        show_default=False,
        help="Prices and limits: `meter61850 credit example` explains them.",
    ),
]
TariffsPath = Annotated[
    Path | None,
    typer.Option(
        "--tariffs",
        envvar="METER61850_TARIFFS",
        metavar="FILE",
        show_default=False,
        help="The calendar of tariffs; default: all energy is of T1.",
    ),
]
Reason = Annotated[str, typer.Option(help="Why, for the ledger and the audit.")]
Amount = Annotated[str, typer.Argument(metavar="AMOUNT", help="In units of the currency, such as 12.50.")]
_AMOUNT = re.compile(r"[-+]?[0-9]{1,12}(\.[0-9]{1,6})?")


class Open(NamedTuple):
    """What a command works on."""

    engine: Engine
    prices: Prices
    meter_id: str
    name: str

    @property
    def credit(self) -> CreditFile:
        """The file."""
        return self.prices.credit

    @property
    def accounts(self) -> Accounts:
        """Of the database."""
        return Accounts(self.engine, self.prices)


def prices_of(credit: Path | None, tariffs: Path | None) -> Prices:
    """Of the files; ConfigurationError without one."""
    prices = CreditSettings(credit=credit, tariffs=tariffs).prices()
    if prices is None:
        raise ConfigurationError("no file of prices: use --credit FILE (meter61850 credit example)")
    return prices


@contextmanager
def opened(
    database: str, credit: Path | None, tariffs: Path | None, meter: str | None = None
) -> Iterator[Open]:
    """The database, to write, and the ``meter`` of this name."""
    prices = prices_of(credit, tariffs)
    found = None
    with open_store(database) as store:
        if meter is not None:
            found = store.meter(meter).meter
    with databases.opened(database) as engine:
        yield Open(engine, prices, found.meter_id if found else "", found.name if found else "")


def by() -> By:
    """The user of this machine."""
    return By(user_name(), f"cli {gethostname()}"[:255])


def amount_of(text: str, credit: CreditFile) -> int:
    """In thousandths of a minor unit; ConfigurationError, for payments have whole minor units."""
    if _AMOUNT.fullmatch(text):  # Decimal takes 1_5 and 1e5, too
        amount = Decimal(text)
        if amount == round(amount, credit.file.decimals):
            return credit.thousandths(amount)
    raise ConfigurationError(f"AMOUNT {text!r}: use a number with {credit.file.decimals} decimals at most")
