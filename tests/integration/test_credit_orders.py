"""Orders of the service that cuts: noted once and only while the account wants them, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlmodel import col

from admin.commands.credit_run import settle
from admin.exits import NotFoundError
from bridge.credit import orders
from bridge.credit.alone import Alone
from bridge.credit.candidates import look
from bridge.credit.cutting import NOT_CARRIED_OUT, Act, Order
from bridge.credit.orders import command_id, record
from bridge.store import database
from bridge.store.tables import Audit, CreditAccount, CreditAction, at_ms, moment
from broker.contract.messages import utc_now
from tests.support.chain import until
from tests.support.credit import Books, prices
from tests.support.stores import meter_id

pytest_plugins = ("tests.support.databases",)
HOUR = timedelta(hours=1)


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    """No account yet."""
    engine = database.connect(database_url)
    database.migrate(engine)
    yield Books(engine, prices())
    engine.dispose()


def exhausted(books: Books, **changes: Any) -> Order:
    """The order to cut a new account, which is exhausted and was warned."""
    now = utc_now()
    number = books.meter(since=moment(at_ms(now - 30 * HOUR)), prepaid=True)
    since = moment(at_ms(now - 5 * HOUR))
    told = {"exhausted_since": at_ms(since), "warned_at": at_ms(now - 2 * HOUR)} | changes
    change(books, number, **told)
    name = meter_id(number)
    order_id = command_id(name, Act.CUT, since, 1)
    return Order(command_id=order_id, meter_id=name, act=Act.CUT, for_since=since, at=now, reason="why")


def change(books: Books, number: int, **values: Any) -> None:
    with books.engine.begin() as connection:
        mine = col(CreditAccount.meter) == number
        connection.execute(update(CreditAccount).where(mine).values(**values))


def noted(books: Books, order: Order, limit: int = 9) -> str:
    return record(books.engine, order, cuts_a_minute=limit)


def test_an_order_is_noted_once_with_its_audit_and_ends_once(books: Books) -> None:
    cut = exhausted(books)
    assert noted(books, cut) == ""
    assert noted(books, cut) == orders.GIVEN
    second = replace(cut, command_id=command_id(cut.meter_id, Act.CUT, cut.for_since, 2))
    assert noted(books, second) == orders.UNDER_WAY
    orders.end(books.engine, cut.command_id, "refused", now=utc_now())
    orders.end(books.engine, cut.command_id, "failed", now=utc_now())
    with books.engine.connect() as connection:
        assert connection.scalar(select(col(CreditAction.outcome))) == "refused"
        assert connection.scalar(select(col(CreditAccount.cut_at))) is None
        audited = connection.scalars(select(col(Audit.detail)).where(col(Audit.event) == "credit")).all()
    assert [cut.command_id in detail for detail in audited][-1]
    assert noted(books, second) == ""
    orders.end(books.engine, second.command_id, "done", now=utc_now())
    orders.end(books.engine, cut.command_id, "done", now=utc_now())
    with books.engine.connect() as connection:
        told = connection.scalars(select(col(CreditAction.outcome)).order_by(col(CreditAction.key))).all()
    assert told == ["done", "done"], "the meter has carried the first out after all"
    third = replace(cut, command_id=command_id(cut.meter_id, Act.CUT, cut.for_since, 3))
    assert noted(books, third) == orders.CHANGED, "it is cut"


def test_an_account_that_has_changed_meanwhile_is_not_cut(books: Books) -> None:
    for changes in (
        {"lifeline": True},
        {"prepaid": False},
        {"closed_at": 1},
        {"cut_at": 1},
        {"exhausted_since": None},
        {"exhausted_since": 1},
        {"warned_at": None},
        {"warned_at": 1},
    ):
        assert noted(books, exhausted(books, **changes)) == orders.CHANGED, changes


def test_a_ledger_out_of_balance_and_the_limit_hold_it(books: Books) -> None:
    assert noted(books, exhausted(books, balance=-1)) == orders.UNBALANCED
    first, second = exhausted(books), exhausted(books)
    assert noted(books, first, limit=1) == ""
    assert noted(books, second, limit=1) == orders.LIMIT
    assert noted(books, replace(second, at=second.at + timedelta(seconds=61)), limit=1) == ""


def test_two_at_once_note_one_and_keep_one_limit(books: Books) -> None:
    cuts = [exhausted(books) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda cut: noted(books, cut, limit=2), [cuts[0], cuts[0], *cuts[1:]]))
    assert told.count("") == 2
    with books.engine.connect() as connection:
        assert len(connection.scalars(select(col(CreditAction.command_id))).all()) == 2


def test_a_person_settles_what_is_not_known(books: Books, database_url: str) -> None:
    cut = exhausted(books)
    assert noted(books, cut) == ""
    seen = look(books.engine, books.prices.credit.limits, now=utc_now(), sum_up=[cut.meter_id])
    assert seen.unsettled == {cut.meter_id}
    assert seen.accounts[cut.meter_id].balanced
    settle(cut.meter_id, carried_out=False, reason="the lamp is on", database=database_url)
    with books.engine.connect() as connection:
        (order,) = orders.orders_of(connection, [cut.meter_id])[cut.meter_id]
        assert order.outcome in NOT_CARRIED_OUT
        last = connection.scalars(select(col(Audit.detail)).order_by(col(Audit.no).desc())).first()
    assert last is not None
    assert "the lamp is on" in last
    with pytest.raises(NotFoundError):
        settle(cut.meter_id, carried_out=True, reason="again", database=database_url)


def test_an_account_that_was_closed_while_cut_is_restored(books: Books) -> None:
    cut = exhausted(books, cut_at=1, closed_at=2)
    (account,) = look(books.engine, books.prices.credit.limits, now=utc_now()).accounts.values()
    assert (account.standing.meter_id, account.standing.prepaid) == (cut.meter_id, False)


def test_one_service_has_the_lock(books: Books) -> None:
    first, second = Alone(books.engine), Alone(books.engine)
    assert first.have()
    assert first.have()
    assert not second.have()
    first.close()
    until(second.have, why="the server has seen that the first has gone")
    second.close()
