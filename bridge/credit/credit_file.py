"""The file of credit: currency, prices, limits, and when nothing is cut.

Money is in thousandths of the currency's minor unit, energy in thousandths of a Wh, both whole numbers. What
energy costs is rounded in one place, `Price.cost`, half to even.

>>> credit = parse(EXAMPLE.read_text(), source="example")
>>> credit.text(1_234_567), credit.thousandths(Decimal("12.34")), credit.limits
('12.34567', 1234000, Limits(low=500000, emergency=200000))
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, Field
from pydantic import model_validator as checked

from bridge.credit.standing import Limits
from bridge.store import tariff_file
from bridge.store.tariff_file import Date, Part, Season, Tariff, Times
from bridge.store.tariffs import Tariffs
from bridge.store.toml_file import read, text_of
from broker.calendar import Calendar, CalendarSettings
from broker.contract.errors import ConfigurationError
from broker.durations import duration_of

EXAMPLE = Path(__file__).with_name("credit.example.toml")
"""The reference: every key, explained (`meter61850 credit example`)."""
THOUSANDTHS = 3
"""Digits more than the minor unit has."""
KWH = 1_000_000
"""Thousandths of a Wh."""
_FRIENDLY: Literal["T2"] = "T2"


def _duration(value: object) -> object:
    length = duration_of(value) if isinstance(value, str) else None
    return value if length is None else length


def _blocks(value: object) -> object:
    """A single price is one block without an end."""
    return value if isinstance(value, list | tuple) else [{"price": value}]


Money = Annotated[Decimal, Field(ge=0, le=1_000_000)]


class Block(Part):
    """A price per kWh, of the energy of a tariff and month up to a limit."""

    up_to: Annotated[Decimal, Field(gt=0, le=1_000_000, decimal_places=6)] | None = None
    """kWh; None: all above."""
    price: Money


class PriceVersion(Part):
    """The prices from a day on."""

    first: Date = Field(alias="from")
    standing_charge: Money = Decimal(0)
    prices: Annotated[
        dict[Tariff, Annotated[tuple[Block, ...], BeforeValidator(_blocks), Field(min_length=1)]],
        Field(min_length=1),
    ]

    @property
    def has_blocks(self) -> bool:
        """Whether a price depends on the month's energy."""
        return any(len(blocks) > 1 for blocks in self.prices.values())

    @checked(mode="after")
    def _blocks_rise(self) -> Self:
        for tariff, blocks in self.prices.items():
            limits = [block.up_to for block in blocks]
            rising = None not in limits[:-1] and all(
                a < b for a, b in pairwise(limits[:-1]) if a is not None and b is not None
            )
            if limits[-1] is not None or not rising:
                raise ValueError(f"prices, {tariff}: use rising up_to, and a last block without one")
        return self


class Friendly(Times):
    """When nothing is cut: a row as in the tariffs' file, without a tariff."""

    tariff: Literal["T2"] = _FRIENDLY


class File(Part):
    """The whole file."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    decimals: Annotated[int, Field(ge=0, le=4)] = 2
    time_zone: tariff_file.Zone | None = None
    low: Money = Decimal(0)
    emergency: Money = Decimal(0)
    restore: Money | None = None
    statement_days: Annotated[int, Field(ge=1, le=20)] = 3
    warning: Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(0))] = timedelta(hours=24)
    cuts_per_minute: Annotated[int, Field(ge=1, le=1000)] = 6
    friendly: tuple[Friendly, ...] = ()
    version: Annotated[tuple[PriceVersion, ...], Field(min_length=1)]

    @checked(mode="after")
    def _versions_follow(self) -> Self:
        several = sorted(self.version, key=lambda version: version.first)
        had_blocks = False
        for place, version in enumerate(several):
            if place and several[place - 1].first == version.first:
                raise ValueError(f"version, from: {version.first}: two begin on this day")
            if (version.has_blocks or had_blocks) and version.first.day != 1:
                raise ValueError(
                    f"version, from: {version.first}: use the first day of a month, for there are blocks"
                )
            had_blocks = version.has_blocks
        return self

    @checked(mode="after")
    def _money_has_few_digits(self) -> Self:
        most = self.decimals + THOUSANDTHS
        for name, value in _amounts(self):
            exponent = value.normalize().as_tuple().exponent
            if isinstance(exponent, int) and -exponent > most:
                raise ValueError(f"{name}: {value}: use at most {most} decimals")
        return self


_PARTS: dict[str, type[BaseModel]] = {
    "": File,
    "version": PriceVersion,
    "prices": Block,
    "friendly": Friendly,
    "season": Season,
}
_PARTS |= {f"T{number}": Block for number in range(1, 9)}


def _amounts(file: File) -> Iterator[tuple[str, Decimal]]:
    yield from (("low", file.low), ("emergency", file.emergency), ("restore", file.restore or Decimal(0)))
    for number, version in enumerate(file.version, 1):
        yield f"version {number}, standing_charge", version.standing_charge
        for tariff, blocks in version.prices.items():
            yield from ((f"version {number}, prices, {tariff}", block.price) for block in blocks)


class Price(NamedTuple):
    """Of a tariff: up to so many thousandths of a Wh in a month (None: all above) a price per kWh."""

    steps: tuple[tuple[int | None, int], ...]

    def cost(self, energy: int) -> int:
        """What so much in a month costs, rounded half to even.

        >>> Price(((2_000_000, 10), (None, 25))).cost(3_500_000)
        58
        """
        total = reached = 0
        for up_to, price in self.steps:
            end = energy if up_to is None else min(energy, up_to)
            total += max(0, end - reached) * price
            reached = max(reached, end)
        whole, rest = divmod(total, KWH)
        return whole + (2 * rest > KWH or (2 * rest == KWH and whole % 2 == 1))


@dataclass(frozen=True)
class CreditFile:
    """The file, with its whole numbers."""

    source: str
    """Name of the file, for messages."""
    file: File
    calendar: Calendar
    """Of its days, months and hours."""

    @cached_property
    def versions(self) -> tuple[PriceVersion, ...]:
        """By their first days."""
        return tuple(sorted(self.file.version, key=lambda version: version.first))

    @property
    def limits(self) -> Limits:
        """Of balances."""
        return Limits(self.thousandths(self.file.low), self.thousandths(self.file.emergency))

    @property
    def restore(self) -> int:
        """From this balance on a meter that was cut is restored."""
        return 1000 if self.file.restore is None else self.thousandths(self.file.restore)

    @property
    def begin(self) -> datetime:
        """When the first version begins; nothing has a price before."""
        return self.calendar.time(str(self.versions[0].first))

    def thousandths(self, amount: Decimal) -> int:
        """Of a minor unit; ConfigurationError if ``amount`` has more digits."""
        whole = amount.scaleb(self.file.decimals + THOUSANDTHS)
        if not amount.is_finite() or whole != whole.to_integral_value():
            raise ConfigurationError(f"{amount}: use at most {self.file.decimals + THOUSANDTHS} decimals")
        return int(whole)

    def decimal(self, thousandths: int) -> Decimal:
        """In units of the currency, exact."""
        return Decimal(thousandths).scaleb(-self.file.decimals - THOUSANDTHS)

    def text(self, thousandths: int) -> str:
        """The same as text, with the digits of the minor unit at least."""
        value = self.decimal(thousandths)
        least = Decimal(1).scaleb(-self.file.decimals)
        return f"{max(value.normalize(), value.quantize(least), key=_digits):f}"

    def version_on(self, day: date) -> tuple[PriceVersion, date]:
        """What holds on a day, and the first day on which it does not; ConfigurationError before all."""
        following = date.max
        for version in reversed(self.versions):
            if version.first <= day:
                return version, following
            following = version.first
        raise ConfigurationError(
            f"{self.source}: no prices hold on {day}: the first begin on {self.versions[0].first}"
        )

    def price(self, version: PriceVersion, tariff: Tariff) -> Price:
        """ConfigurationError if the version has none."""
        blocks = version.prices.get(tariff)
        if blocks is None:
            raise ConfigurationError(
                f"{self.source}: version from {version.first}: prices: {tariff} is missing"
            )
        scale = self.thousandths
        return Price(tuple((_limit(block), scale(block.price)) for block in blocks))

    def friendly(self, tariffs: Tariffs | None) -> Tariffs | None:
        """A calendar whose tariff is T2 when nothing is cut; None: there are no friendly hours."""
        if not self.file.friendly:
            return None
        holidays = {day for one in tariffs.versions for day in one.holidays} if tariffs else set()
        version = {"from": date(1970, 1, 1), "default": "T1", "holidays": holidays}
        told = tariff_file.File.model_validate({"version": [version | {"times": self.file.friendly}]})
        return Tariffs(self.source, told, self.calendar)


def is_friendly(hours: Tariffs | None, moment: datetime) -> bool:
    """Whether nothing is cut at this time; ``hours`` is `CreditFile.friendly`."""
    return hours is not None and hours.tariff_at(moment) == _FRIENDLY


def _digits(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _limit(block: Block) -> int | None:
    return None if block.up_to is None else int(block.up_to * KWH)


def load(path: Path, *, tariffs: Tariffs | None = None) -> CreditFile:
    """The file; ConfigurationError names the key, its value, and what would be right."""
    text = text_of(path, example="meter61850 credit example")
    return parse(text, source=str(path), tariffs=tariffs)


def parse(text: str, *, source: str, tariffs: Tariffs | None = None) -> CreditFile:
    """As `load`; every tariff that ``tariffs`` name must have a price."""
    file = read(text, File, source=source, parts=_PARTS, parse_float=Decimal)
    usual = tariffs.calendar if tariffs else CalendarSettings().calendar
    found = CreditFile(source, file, Calendar.named(file.time_zone) if file.time_zone else usual)
    for version in found.versions:
        for tariff in tariffs.tariffs if tariffs else ("T1",):
            found.price(version, tariff)
    return found
