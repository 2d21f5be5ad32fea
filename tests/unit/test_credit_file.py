"""The file of prices: what it says of a wrong key, exact costs, friendly hours."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from admin.commands.credit_options import amount_of
from bridge.credit.credit_file import EXAMPLE, Price, is_friendly, load, parse
from bridge.store import tariffs
from bridge.store.toml_file import MAX_BYTES
from broker.calendar import Calendar
from broker.contract.errors import ConfigurationError

HEAD = 'currency = "EUR"\n'
VERSION = "[[version]]\nfrom = 2026-01-01\n"
CALENDAR = tariffs.parse(tariffs.EXAMPLE.read_text(), source="tariffs", calendar=Calendar.named("UTC"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('currency = "euro"\n' + VERSION + "prices.T1 = 1", "currency: 'euro': "),
        (HEAD + "version = []", "version: it is empty"),
        (
            HEAD + VERSION + "prices.T1 = 1\nprice = 1",
            "version 1, price: unknown key: use from, standing_charge, prices",
        ),
        (HEAD + VERSION + "prices.T9 = 1", "version 1, prices, T9"),
        (HEAD + VERSION + "prices.T1 = -1", "version 1, prices, T1 1, price"),
        (HEAD + VERSION + "prices.T1 = 0.1234567", "prices, T1: 0.1234567: use at most 5 decimals"),
        (HEAD + VERSION + "prices.T1 = [{ price = 1 }, { up_to = 1, price = 2 }]", "use rising up_to"),
        (HEAD + VERSION + "prices.T1 = [{ up_to = 1, price = 1, kwh = 2 }]", "kwh: unknown key: use up_to"),
        (HEAD + VERSION + "prices.T1 = 1\n" + VERSION + "prices.T1 = 2", "two begin on this day"),
        (
            HEAD + "[[version]]\nfrom = 2026-01-02\nprices.T1 = [{ up_to = 1, price = 1 }, { price = 2 }]",
            "2026-01-02: use the first day of a month, for there are blocks",
        ),
        (HEAD + VERSION + "prices.T2 = 1", "version from 2026-01-01: prices: T1 is missing"),
        (HEAD + "low = " + "[" * 2000, "brackets in brackets"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(text, source="credit.toml")
    assert str(refused.value).startswith("credit.toml")
    assert said in str(refused.value)


def test_a_file_that_is_too_long_is_refused_and_not_cut_off(tmp_path: Path) -> None:
    """Its last rows may be the hours in which nothing is cut."""
    file = tmp_path / "credit.toml"
    rows = "[[friendly]]\n" * (MAX_BYTES // 13)
    file.write_text(HEAD + VERSION + "prices.T1 = 1\n" + rows)
    with pytest.raises(ConfigurationError, match="more than 1048576 bytes"):
        load(file)


def test_every_tariff_of_the_calendar_has_a_price() -> None:
    with pytest.raises(ConfigurationError, match="T3 is missing"):
        parse(EXAMPLE.read_text(), source="credit.toml", tariffs=CALENDAR)


@pytest.mark.parametrize(
    ("energy", "cost"), [(0, 0), (1, 0), (2, 1), (3, 2), (1_000_000, 500_000), (1_000_001, 500_001)]
)
def test_a_cost_is_rounded_half_to_even(energy: int, cost: int) -> None:
    """Half of a thousandth: of 1 it is 0.5 and goes to 0, of 3 it is 1.5 and goes to 2."""
    price = Price(((1_000_000, 500_000), (None, 1_000_000)))
    assert price.cost(energy) == cost


def test_money_is_exact_text() -> None:
    credit = parse(EXAMPLE.read_text(), source="x")
    assert [credit.text(value) for value in (0, 100_000, 123_456, -1, 1_000)] == [
        "0.00", "1.00", "1.23456", "-0.00001", "0.01",
    ]  # fmt: skip
    assert credit.thousandths(Decimal("-12.3")) == -1_230_000
    with pytest.raises(ConfigurationError, match="5 decimals"):
        credit.thousandths(Decimal("0.000001"))


@pytest.mark.parametrize(
    "told", ["nan", "-inf", "1e30", "1e1", "1,5", "1_5", "1.001", "", " 1", ".5", "1\n", "\u0663", "9" * 13]
)
def test_an_amount_of_a_person_is_plain(told: str) -> None:
    credit = parse(EXAMPLE.read_text(), source="x")
    assert [amount_of(text, credit) for text in ("20", "-5.00", "0.010")] == [2_000_000, -500_000, 1_000]
    with pytest.raises(ConfigurationError, match="use a number with 2 decimals at most"):
        amount_of(told, credit)


@pytest.mark.parametrize(
    ("text", "friendly"),
    [
        ("2026-11-23T12:00+01:00", False),  # a Monday
        ("2026-11-23T15:59+01:00", False),
        ("2026-11-23T16:00+01:00", True),
        ("2026-11-24T07:59+01:00", True),
        ("2026-11-24T08:00+01:00", False),
        ("2026-11-28T12:00+01:00", True),  # a Saturday
        ("2026-12-25T12:00+01:00", True),  # a holiday, a Friday
    ],
)
def test_nothing_is_cut_in_friendly_hours(text: str, friendly: bool) -> None:
    credit = parse(EXAMPLE.read_text(), source="x")
    assert is_friendly(credit.friendly(CALENDAR), datetime.fromisoformat(text)) is friendly
    without = parse(HEAD + VERSION + "prices.T1 = 1", source="x")
    assert not is_friendly(without.friendly(CALENDAR), datetime.fromisoformat(text))
