"""Credit from readings to a balance, states, statements, decisions, and what people do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlmodel import col

from admin.statement_money import ledger_of
from bridge.credit import documents
from bridge.credit.accounts import ConflictingPaymentError, NoAccountError
from bridge.credit.rounds import rounds
from bridge.credit.settings import CreditSettings
from bridge.credit.standing import State
from bridge.credit.statement import statement
from bridge.credit.waiting import decide, waiting
from bridge.store import database
from bridge.store.due import due_again
from bridge.store.intervals import Mark
from bridge.store.tables import DAY_MS, HOUR_MS, CreditAccount, Meter, at_ms, moment
from bridge.store.upkeep import Policy, upkeep
from broker.calendar import Calendar, Period
from broker.contract.errors import ConfigurationError
from tests.support.credit import ANNA, SPAN, Books, ms, prices
from tests.support.stores import DAY0, NOW, keeping, meter_id, series

pytest_plugins = ("tests.support.databases",)

PLAIN = """
currency = "EUR"
time_zone = "UTC"
low = 5.00
emergency = 2.00
[[version]]
from = 2026-01-01
prices.T1 = 1
"""
KWH = 1_000_000
EURO = 100_000
GOOD = Mark.MEASURED


@pytest.fixture
def books(sqlite_url: str) -> Iterator[Books]:
    engine = database.connect(sqlite_url)
    database.migrate(engine)
    yield Books(engine, prices(PLAIN, ""))
    engine.dispose()


def since(at: str = "2026-10-01T00:00Z") -> datetime:
    return datetime.fromisoformat(at)


def test_readings_become_a_balance_once(database_url: str, tmp_path: Path) -> None:
    """By the upkeep itself; computed again and looked at again, nothing more is booked."""
    file = tmp_path / "credit.toml"
    file.write_text(PLAIN)
    policy = Policy(timedelta(days=900), also=rounds(CreditSettings(credit=file)))
    with keeping(database_url) as kept:
        kept.put(*series(1, 1000), *series(2, 1000))
        books = Books(kept.engine, prices(PLAIN, ""))
        books.accounts.open(meter_id(1), by=ANNA, since=moment(DAY0 + HOUR_MS))
        for again in (False, True):
            if again:
                with kept.engine.begin() as connection:
                    due_again(connection, start=DAY0, end=NOW)
                books.replay(kept.meter().key or 0, [DAY0])
            assert upkeep(kept.engine, policy, now=NOW, pause=lambda _seconds: False)
            ended = kept.store.profiles.table(kept.meter(), start=DAY0 + HOUR_MS, end=DAY0 + DAY_MS)
            known = list(ended.documents())
            wh = sum(row["energy_import"] for row in known if row["energy_import_mark"] == "measured")
            assert wh > 500
            standing = books.accounts.standing(meter_id(1))
            assert standing.balance == -round(wh * EURO / 1000)
            assert standing.waiting == sum(row["energy_import_mark"] == "missing" for row in known) > 0
            assert books.wrong() == []
        with pytest.raises(NoAccountError):
            books.accounts.standing(meter_id(2))
        with kept.engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM due WHERE work = 'credit'")).scalar() == 0


def test_upkeep_goes_on_without_a_file_that_is_right(sqlite_url: str, tmp_path: Path) -> None:
    file = tmp_path / "credit.toml"
    policy = Policy(also=rounds(CreditSettings(credit=file)))
    with keeping(sqlite_url) as kept:
        kept.put(*series(1, 1000))
        books = Books(kept.engine, prices(PLAIN, ""))
        books.accounts.open(meter_id(1), by=ANNA, since=moment(DAY0))
        done = upkeep(kept.engine, policy, now=NOW, pause=lambda _seconds: False)
        assert done is not None
        assert done.hours == 3
        assert books.balance(kept.meter().key or 0) == 0
        file.write_text(PLAIN)
        upkeep(kept.engine, policy, now=NOW, pause=lambda _seconds: False)
        assert books.balance(kept.meter().key or 0) < 0, "it was due still"


def test_a_balance_falls_through_the_states(books: Books) -> None:
    meter, start = books.meter(since=since()), ms("2026-11-23T00:00Z")
    accounts, states = books.accounts, []
    accounts.top_up(meter_id(meter), 6 * EURO, reference="a", by=ANNA)
    for hour, kwh in enumerate((0, 1, 5, 1, 1)):
        books.write(meter, {start + hour * HOUR_MS: (kwh * KWH, GOOD)})
        books.book(now=start + (hour + 1) * HOUR_MS)
        states.append(accounts.standing(meter_id(meter)).state)
    assert states == [State.GOOD, State.LOW, State.EMERGENCY, State.EMERGENCY, State.EXHAUSTED]
    standing = accounts.standing(meter_id(meter))
    assert standing.exhausted_since == moment(start + 5 * HOUR_MS)
    assert standing.booked_until == moment(start + 4 * HOUR_MS + SPAN)
    note(books, meter, cut_at=start, warned_at=start)
    assert accounts.standing(meter_id(meter)).state is State.CUT
    accounts.top_up(meter_id(meter), 20 * EURO, reference="b", by=ANNA)
    standing = accounts.standing(meter_id(meter))
    assert (standing.state, standing.exhausted_since, standing.warned_at) == (State.CUT, None, None)
    note(books, meter, cut_at=None, restored_at=start + 7 * HOUR_MS)
    assert accounts.standing(meter_id(meter)).state is State.RESTORED
    books.write(meter, {start + 7 * HOUR_MS: (KWH, GOOD)})
    books.book(now=start + 8 * HOUR_MS)
    assert accounts.standing(meter_id(meter)).state is State.GOOD
    assert books.wrong() == []


def note(books: Books, meter: int, **values: int | None) -> None:
    """As the service that cuts does."""
    with books.engine.begin() as connection:
        connection.execute(update(CreditAccount).where(col(CreditAccount.meter) == meter).values(**values))


def test_a_postpaid_account_has_no_states(books: Books) -> None:
    meter, start = books.meter(since=since(), prepaid=False, lifeline=True), ms("2026-11-23T00:00Z")
    books.write(meter, {start: (100 * KWH, GOOD)})
    books.book(now=start + HOUR_MS)
    standing = books.accounts.standing(meter_id(meter))
    assert (standing.balance, standing.state) == (-100 * EURO, State.GOOD)
    assert (standing.exhausted_since, standing.lifeline) == (None, True)


def test_a_payment_of_the_same_reference_is_booked_once(books: Books) -> None:
    one, other = books.meter(since=since()), books.meter(since=since())
    accounts = books.accounts
    assert accounts.top_up(meter_id(one), EURO, reference="M-1", by=ANNA) == (False, EURO)
    assert accounts.top_up(meter_id(one), EURO, reference="M-1", by=ANNA) == (True, EURO)
    with pytest.raises(ConflictingPaymentError, match=r"M-1 is that of a payment of 1\.00 of this meter"):
        accounts.top_up(meter_id(one), 2 * EURO, reference="M-1", by=ANNA)
    with pytest.raises(ConflictingPaymentError, match="of another meter"):
        accounts.top_up(meter_id(other), EURO, reference="M-1", by=ANNA)
    for amount, reference in ((0, "x"), (-1, "x"), (10**16, "x"), (1, ""), (1, "x" * 65), (1, "a\n")):
        with pytest.raises(ConfigurationError):
            accounts.top_up(meter_id(one), amount, reference=reference, by=ANNA)
    assert (books.balance(one), books.balance(other), books.wrong()) == (EURO, 0, [])
    with books.engine.connect() as connection:
        events = connection.execute(text("SELECT detail FROM audit WHERE event = 'credit'")).scalars().all()
    assert sum('"what":"top-up"' in detail for detail in events) == 1


def test_doubtful_intervals_wait_for_a_person(books: Books) -> None:
    meter, start = books.meter(since=since()), ms("2026-11-23T00:00Z")
    now, marks = start + HOUR_MS, [Mark.ESTIMATED, Mark.MISSING, Mark.MISSING, GOOD]
    books.write(meter, {start + n * SPAN: (KWH, mark) for n, mark in enumerate(marks)})
    books.write(meter, {start + 2 * SPAN: (None, Mark.MISSING)})
    books.book(now=now)
    assert books.balance(meter) == -EURO
    with books.engine.connect() as connection:
        rows = [(row.start, row.mark, row.energy) for row in waiting(connection, meter_id(meter))]
    assert rows == [
        (start, "estimated", KWH), (start + SPAN, "missing", KWH), (start + 2 * SPAN, "missing", None),
    ]  # fmt: skip
    said: dict[str, Any] = {"reason": "seen", "by": ANNA}
    both = (books.engine, books.prices, meter_id(meter))
    assert decide(*both, start=start, end=start + 1, costs=True, **said) == (1, EURO, -2 * EURO)
    with pytest.raises(ConfigurationError, match="nothing is known of the interval at 2026-11-23T00:30Z"):
        decide(*both, start=start, end=now, costs=True, **said)
    assert decide(*both, start=start, end=now, costs=False, **said) == (2, 0, -2 * EURO)
    books.write(
        meter, {start + SPAN: (KWH, GOOD), start: (2 * KWH, Mark.ESTIMATED), now - SPAN: (1, Mark.MISSING)}
    )
    books.book(now=now)
    assert books.balance(meter) == -EURO, "what became known costs, and what is in doubt again does not"
    assert books.accounts.standing(meter_id(meter)).waiting == 2
    assert books.wrong() == []


def test_a_statement_that_is_final_stays(books: Books) -> None:
    begin = ms("2026-10-31T00:00Z")
    meter = books.meter(since=since(), prepaid=False)
    after, final = datetime(2026, 11, 2, tzinfo=UTC), ms("2026-11-04T00:00Z")

    def months(now: datetime) -> list[dict[str, Any]]:
        with books.engine.connect() as connection:
            credit = books.prices.credit
            return [
                documents.statement(credit, statement(connection, credit, meter_id(meter), name, now=now))
                for name in ("2026-10", "2026-11")
            ]

    books.write(meter, {begin: (2 * KWH, GOOD), begin + DAY_MS: (KWH, GOOD)})
    books.book(now=at_ms(after))
    first, second = months(after)
    line = {"kind": "use", "tariff": "T1", "energy": 2000.0, "amount": "-2.00", "late": False}
    assert (first["opening"], first["lines"], first["closing"]) == ("0.00", [line], "-2.00")
    assert (second["opening"], second["closing"], first["final"]) == ("-2.00", "-3.00", False)
    books.write(meter, {begin: (4 * KWH, GOOD)})
    books.book(now=at_ms(after))
    assert months(after)[0]["closing"] == "-4.00", "it is not final yet"
    books.write(meter, {begin: (5 * KWH, GOOD)})
    books.book(now=final)
    first, second = months(moment(final))
    assert (first["closing"], first["final"], second["opening"], second["closing"]) == (
        "-4.00", True, "-4.00", "-6.00",
    )  # fmt: skip
    assert [(one["amount"], one["late"]) for one in second["lines"]] == [("-1.00", False), ("-1.00", True)]
    money = ledger_of(books.engine, books.prices.credit)
    november = Period("2026-11", *Calendar.named("UTC").month("2026-11"))
    told = money(Meter(meter_id=meter_id(meter)), november)
    assert told[0] == ("Balance before", "-4.00 EUR")
    assert [(label.removesuffix(", not final yet"), amount) for label, amount in told[2:]] == [
        ("Energy T1, 1.000 kWh (of earlier months)", "-1.00 EUR"),
        ("Balance after", "-6.00 EUR"),
    ]


def test_standing_charges_are_of_whole_local_days(sqlite_url: str) -> None:
    engine = database.connect(sqlite_url)
    database.migrate(engine)
    text = PLAIN.replace('"UTC"', '"Europe/Zurich"').replace("prices", "standing_charge = 0.5\nprices")
    books = Books(engine, prices(text, ""))
    meter = books.meter(since=since("2026-10-24T12:00+02:00"))
    for now in ("2026-10-25T22:59Z", "2026-10-25T22:59Z", "2026-10-25T23:00Z", "2026-10-27T12:00Z"):
        books.book(now=ms(now))
    assert books.balance(meter) == -EURO, "the 25th, which has 25 hours, and the 26th"
    keys = [key for key, _ in books.entries(meter)]
    assert keys == [f"day:{meter}:2026-10-25", f"day:{meter}:2026-10-26"]
    assert books.wrong() == []
    engine.dispose()


def test_accounts_are_opened_changed_and_closed(books: Books) -> None:
    meter, start = books.meter(), ms("2026-11-23T00:00Z")
    accounts, name = books.accounts, meter_id(meter)
    books.write(meter, {start: (KWH, GOOD), start + HOUR_MS: (KWH, GOOD)})
    with pytest.raises(ConfigurationError, match="no prices hold on 2025-12-31"):
        accounts.open(name, by=ANNA, since=since("2025-12-31T00:00Z"))
    accounts.open(name, by=ANNA, since=moment(start + HOUR_MS))
    accounts.open(name, by=ANNA, since=moment(start), lifeline=True)
    books.book(now=start + DAY_MS)
    assert (books.balance(meter), accounts.standing(name).lifeline) == (-EURO, True), "not what was before"
    assert accounts.adjust(name, 3 * EURO, reason="gift", by=ANNA) == 2 * EURO
    with pytest.raises(ConfigurationError, match="why"):
        accounts.adjust(name, EURO, reason=" ", by=ANNA)
    assert accounts.close(name, by=ANNA, reason="moved") == 2 * EURO
    assert accounts.standings() == []
    with pytest.raises(NoAccountError):
        accounts.top_up(name, EURO, reference="x", by=ANNA)
    accounts.open(name, by=ANNA, since=since())
    books.replay(meter, [start])
    books.book(now=start + DAY_MS)
    assert books.balance(meter) == 2 * EURO, "the time before it was closed is not booked again"
    assert books.wrong() == []


def test_days_left_are_those_of_the_last_week(books: Books) -> None:
    now = datetime.now(UTC)
    today = at_ms(now) - at_ms(now) % DAY_MS
    meter = books.meter(since=now - timedelta(days=30))
    books.accounts.top_up(meter_id(meter), 24 * EURO, reference="a", by=ANNA)
    assert books.accounts.standing(meter_id(meter)).days_left is None, "nobody knows"
    books.write(meter, {today - day * DAY_MS: (KWH * (9 if day == 9 else 2), GOOD) for day in (1, 3, 9)})
    books.book(now=at_ms(now))
    standing = books.accounts.standing(meter_id(meter))
    assert standing.balance == 11 * EURO
    assert standing.days_left == pytest.approx(11 / 4 * 7)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE credit_entry SET amount = amount + 1 WHERE account = 'cash'", "instead of 0"),
        ("DELETE FROM credit_entry WHERE account = 'cash'", "1 entries"),
        ("UPDATE credit_account SET balance = balance + 1", "the balance is"),
        ("UPDATE credit_interval SET amount = amount + 1", "cost: 100000 are booked"),
        ("UPDATE credit_interval SET energy = 0", "energy: 1000000 are booked"),
        ("DELETE FROM credit_interval", "its intervals make 0"),
    ],
)
def test_the_audit_finds_damage(books: Books, damage: str, said: str) -> None:
    meter, start = books.meter(since=since()), ms("2026-11-23T00:00Z")
    books.accounts.top_up(meter_id(meter), EURO, reference="a", by=ANNA)
    books.write(meter, {start: (KWH, GOOD)})
    books.book(now=start + HOUR_MS)
    assert books.wrong() == []
    with books.engine.begin() as connection:
        connection.execute(text(damage))
    assert any(said in finding for finding in books.wrong()), books.wrong()
