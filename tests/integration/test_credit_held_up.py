"""Credit of accounts that are opened again, and of days that cannot be booked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from sqlalchemy import update
from sqlmodel import col

from bridge.credit.standing import State
from bridge.store import database
from bridge.store.intervals import Mark
from bridge.store.tables import DAY_MS, HOUR_MS, CreditAccount, moment
from broker.contract.errors import ConfigurationError
from tests.support.credit import ANNA, SPAN, TARIFFS, Books, ms, prices
from tests.support.stores import meter_id

pytest_plugins = ("tests.support.databases",)

PLAIN = """
currency = "EUR"
time_zone = "UTC"
emergency = 2.00
[[version]]
from = 2026-01-01
prices.T1 = 1
"""
KWH = 1_000_000
EURO = 100_000
TOO_MUCH = 9 * 10**18
"""No column holds two of these."""
GOOD = Mark.MEASURED


@pytest.fixture
def books(sqlite_url: str) -> Iterator[Books]:
    engine = database.connect(sqlite_url)
    database.migrate(engine)
    yield Books(engine, prices(PLAIN, ""))
    engine.dispose()


def since(at: str = "2026-10-01T00:00Z") -> datetime:
    return datetime.fromisoformat(at)


def note(books: Books, meter: int, **values: int | None) -> None:
    """As the service that cuts does."""
    with books.engine.begin() as connection:
        connection.execute(update(CreditAccount).where(col(CreditAccount.meter) == meter).values(**values))


def test_an_account_that_is_opened_again_is_warned_again_and_corrected(books: Books) -> None:
    meter, start = books.meter(since=since()), ms("2026-11-23T00:00Z")
    accounts, name = books.accounts, meter_id(meter)
    books.write(meter, {start: (9 * KWH, GOOD), start + SPAN: (KWH, Mark.ESTIMATED)})
    books.book(now=start + HOUR_MS)
    note(books, meter, warned_at=start + 2 * HOUR_MS)
    accounts.open(name, by=ANNA, since=since(), lifeline=True)
    assert accounts.standing(name).warned_at is None, "what is never cut is not warned"
    note(books, meter, warned_at=start + 2 * HOUR_MS)
    accounts.close(name, by=ANNA, reason="moved")
    accounts.open(name, by=ANNA, since=since())
    standing = accounts.standing(name)
    assert (standing.state, standing.warned_at) == (State.EXHAUSTED, None)
    assert standing.exhausted_since != moment(start + HOUR_MS)
    books.write(meter, {start: (3 * KWH, GOOD), start + SPAN: (KWH, GOOD), start + 2 * SPAN: (KWH, GOOD)})
    books.book(now=start + DAY_MS)
    assert books.balance(meter) == -4 * EURO, "what was looked at before is corrected, and no more is booked"
    assert accounts.standing(name).waiting == 0
    assert books.wrong() == []


def test_one_meter_that_cannot_be_booked_holds_up_no_other(
    books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    start, hour = ms("2026-11-23T00:00Z"), ms("2026-11-23T10:00Z")
    bad, good = books.meter(since=since()), books.meter(since=since())
    books.write(bad, {start: (TOO_MUCH, GOOD), start + SPAN: (TOO_MUCH, GOOD), start + DAY_MS: (KWH, GOOD)})
    books.write(good, {start: (KWH, GOOD), start + DAY_MS: (KWH, GOOD)})
    for _ in range(2):
        books.book(now=start + 2 * DAY_MS)
        assert (books.balance(bad), books.balance(good)) == (0, -2 * EURO)
        assert books.accounts.standing(meter_id(bad)).booked_until is None, "so it is never cut"
        assert "it is not booked" in caplog.text
    books.write(bad, {start: (KWH, GOOD), start + SPAN: (0, GOOD)})
    books.book(now=start + 2 * DAY_MS)
    assert (books.balance(bad), books.wrong()) == (-2 * EURO, [])
    late = TARIFFS.replace("2026-01-01", "2026-11-24")
    books = Books(books.engine, prices(PLAIN + "prices.T2 = 2", late), books.count)
    with pytest.raises(ConfigurationError, match="no prices hold on 2026-11-23"):
        books.meter(since=moment(hour))
    fine = books.meter(since=since("2026-11-24T00:00+01:00"))
    books.write(fine, {ms("2026-11-23T23:00Z"): (KWH, GOOD), ms("2026-11-24T07:00Z"): (KWH, GOOD)})
    books.book(now=start + 2 * DAY_MS)
    assert books.balance(fine) == -3 * EURO, "a day of tariffs begins within a day of UTC"
