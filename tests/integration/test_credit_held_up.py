"""Credit of accounts that are opened again, and of days that cannot be booked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import event, update
from sqlmodel import col

from bridge.credit.accounts import ConflictingPaymentError, NoAccountError
from bridge.credit.standing import Limits, State
from bridge.credit.standings import standings
from bridge.credit.waiting import decide
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


def test_a_payment_is_sent_again_after_the_account_was_closed(books: Books) -> None:
    meter, other = books.meter(since=since()), books.meter(since=since())
    accounts, name = books.accounts, meter_id(meter)
    accounts.top_up(name, EURO, reference="M-1", by=ANNA)
    for one in (name, meter_id(other)):
        accounts.close(one, by=ANNA, reason="moved")
    assert accounts.top_up(name, EURO, reference="M-1", by=ANNA) == (True, EURO)
    with pytest.raises(ConflictingPaymentError):
        accounts.top_up(meter_id(other), EURO, reference="M-1", by=ANNA)
    with pytest.raises(NoAccountError):
        accounts.top_up(name, EURO, reference="M-2", by=ANNA)
    with pytest.raises(NoAccountError):
        accounts.top_up(meter_id(books.meter()), EURO, reference="M-1", by=ANNA)
    assert books.wrong() == []


def test_a_decision_about_a_thousand_years_takes_no_longer(books: Books) -> None:
    """Nobody stores readings meanwhile."""
    meter, start = books.meter(since=since()), ms("2026-11-23T23:45Z")
    books.write(meter, {start + day * DAY_MS: (KWH, Mark.ESTIMATED) for day in (0, 1)})
    books.book(now=start + 2 * DAY_MS)
    whole: dict[str, Any] = {"start": 0, "end": ms("9999-01-01T00:00Z"), "costs": True}
    with fewer_than(30, books):
        done = decide(books.engine, books.prices, meter_id(meter), **whole, reason="seen", by=ANNA)
    assert done == (2, 2 * EURO, -2 * EURO)
    assert books.wrong() == []


def test_a_forecast_does_not_read_the_ledger_of_years(books: Books) -> None:
    books.meter(since=since())
    said: list[tuple[str, Any]] = []
    with books.engine.connect() as connection:
        event.listen(connection, "before_cursor_execute", lambda *told: said.append((told[2], told[3])))
        assert len(list(standings(connection, Limits(0, 0), now=ms("2026-11-23T00:00Z"), forecast=True))) == 1
        (asked,) = [one for one in said if "credit_entry" in one[0]]
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[0]}", asked[1]).all()
    assert any("SEARCH credit_entry USING INDEX" in row[3] for row in plan), plan


@contextmanager
def fewer_than(most: int, books: Books) -> Iterator[None]:
    """Statements."""
    said: list[str] = []
    hear = lambda _c, _cursor, statement, *_: said.append(statement)  # noqa: E731
    event.listen(books.engine, "before_cursor_execute", hear)
    try:
        yield
    finally:
        event.remove(books.engine, "before_cursor_execute", hear)
    assert len(said) < most
