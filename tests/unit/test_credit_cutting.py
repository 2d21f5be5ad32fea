"""When a house is cut for its credit, and above all when not: `bridge.credit.cutting`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.credit.cutting import (
    AGAIN,
    LOOK,
    NOT_CARRIED_OUT,
    SETTLES,
    Account,
    Act,
    Decision,
    Order,
    Rules,
    decide,
    settled,
)
from bridge.credit.standing import Standing, State
from broker.contract.birth import Birth, Hardware
from broker.contract.block import Block
from broker.contract.commands import NOT_MOVED
from broker.contract.known import Known
from broker.contract.relay import Origin, OriginCategory, Position, Relay
from broker.contract.status import Status

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
RULES = Rules(warning=HOUR, cuts_a_minute=3, restore_at=1000, friendly=lambda _: False)
SINCE = NOW - 5 * HOUR
ORIGIN = Origin(category=OriginCategory.MAINTENANCE, identifier="anna")


def standing(**changes: Any) -> Standing:
    """Of an account that is exhausted and was warned long enough ago: it is cut if no change forbids it."""
    told: dict[str, Any] = {
        "meter_id": METER,
        "balance": -500,
        "state": State.EXHAUSTED,
        "prepaid": True,
        "lifeline": False,
        "booked_until": NOW - HOUR / 4,
        "waiting": 0,
        "exhausted_since": SINCE,
        "warned_at": NOW - 2 * HOUR,
        "cut_at": None,
    }
    return Standing(**told | changes)


def house(position: Position = Position.CLOSED, *, online: bool = True, **relay: Any) -> Known:
    """A meter with a relay as the retained topics tell it."""
    meter = Known(METER)
    hardware = Hardware(vendor="v", model="m", serial="s")
    birth = Birth(
        name="House 1", address="a", hardware=hardware, firmware="1", relay=True, quantities=("voltage",),
        interval=10, session="s1", ts=NOW - HOUR,
    )  # fmt: skip
    told = {"position": position, "operations": 7, "ts": NOW - HOUR} | relay
    for message in (birth, Relay(**told), Status(online=online, session="s1", ts=NOW)):
        meter.hear(message, live=True, now=NOW)
    return meter


def order(act: Act = Act.CUT, **changes: Any) -> Order:
    """An earlier one of ours."""
    told: dict[str, Any] = {"command_id": "c1", "meter_id": METER, "for_since": SINCE, "at": NOW - HOUR}
    return Order(act=act, **told | {"operations": 7} | changes)


def one(account: Account, *, rules: Rules = RULES, **given: Any) -> Decision | None:
    """What is decided about one account."""
    found = decide([account], now=NOW, rules=rules, **{"recent_cuts": ()} | given)
    return found[0] if found else None


def with_block(meter: Known) -> Known:
    meter.block = Block.changed(None, opening=True, closing=None, origin=ORIGIN)
    return meter


def without_relay(meter: Known) -> Known:
    meter.relay = None
    return meter


def test_it_is_warned_then_cut_after_the_warning_time_then_restored_with_new_credit() -> None:
    def does(**changes: Any) -> Decision | None:
        return one(Account(standing(**changes), house()))

    warn = does(warned_at=None)
    assert warn is not None
    assert (warn.act, warn.do) == (Act.WARN, True)
    assert does(warned_at=SINCE - MINUTE) == warn, "a warning of an earlier time does not count"
    early = does(warned_at=NOW - HOUR + MINUTE)
    assert early is not None
    assert (early.act, early.do) == (Act.CUT, False)
    assert "has not lasted for 1 h yet" in early.held
    cut = does(warned_at=NOW - HOUR)
    assert cut is not None
    assert (cut.act, cut.do) == (Act.CUT, True)
    assert (
        cut.reason
        == "the credit is exhausted since 2026-12-01T07:00:00.000Z, warned at 2026-12-01T11:00:00.000Z"
    )
    was_cut = standing(state=State.CUT, cut_at=NOW - HOUR)
    opened = house(Position.OPEN, command_id="c1", operations=8)
    orders = (order(outcome="done"),)
    assert one(Account(was_cut, opened, orders)) is None
    back = one(Account(replace(was_cut, balance=1000), opened, orders))
    assert back is not None
    assert (back.act, back.do) == (Act.RESTORE, True)
    lifeline = one(Account(replace(was_cut, lifeline=True), opened, orders))
    assert lifeline is not None
    assert (lifeline.act, lifeline.do) == (Act.RESTORE, True)


HOUR_OLD = {"exhausted_since": SINCE, "warned_at": NOW - 2 * HOUR}
GUARDS: dict[str, tuple[Account, dict[str, Any]]] = {
    "postpaid": (Account(standing(prepaid=False), house()), {}),
    "lifeline": (Account(standing(lifeline=True), house()), {}),
    "nothing was ever booked": (Account(standing(booked_until=None), house()), {}),
    "silence never cuts": (Account(standing(booked_until=NOW - 2 * HOUR - MINUTE), house()), {}),
    "a clock is wrong": (Account(standing(booked_until=NOW + HOUR), house()), {}),
    "doubtful interval": (Account(standing(waiting=1, waiting_newest=NOW - HOUR), house()), {}),
    "missing or doubtful": (Account(standing(waiting=1), house()), {}),
    "not in balance": (Account(standing(), house(), balanced=False), {}),
    "has not lasted": (Account(standing(warned_at=NOW - HOUR / 2), house()), {}),
    "friendly hours": (Account(standing(), house()), {"rules": replace(RULES, friendly=lambda _: True)}),
    "is offline": (Account(standing(), house(online=False)), {}),
    "no such meter": (Account(standing(), Known(METER)), {}),
    LOOK: (Account(standing()), {}),
    "opening is blocked": (Account(standing(), with_block(house())), {}),
    "position is not known": (Account(standing(), without_relay(house())), {}),
    "is switched locally": (Account(standing(), house(local=True)), {}),
    "is open already": (Account(standing(), house(Position.OPEN)), {}),
    "is not known: it waits": (Account(standing(), house(), (order(),)), {}),
    "a person decides": (Account(standing(), house(), (order(outcome="done"),)), {}),
    "was timed out": (Account(standing(), house(), (order(outcome="timed out"),)), {}),
    "again after 10 min": (Account(standing(), house(), (order(outcome="refused", at=NOW - MINUTE),)), {}),
    "3 cuts were not carried out": (Account(standing(), house(), (order(outcome=NOT_MOVED),) * 3), {}),
    "3 cuts a minute": (Account(standing(), house()), {"recent_cuts": [NOW - MINUTE / 2] * 3}),
}  # fmt: skip


@pytest.mark.parametrize("words", GUARDS)
def test_each_guard_holds_a_cut_and_says_why(words: str) -> None:
    account, given = GUARDS[words]
    decision = one(account, **given)
    assert decision is not None
    assert decision.act is Act.CUT
    assert words in decision.held


def test_it_is_not_warned_of_a_cut_that_cannot_come() -> None:
    for words in ("postpaid", "lifeline", "silence never cuts", "missing or doubtful"):
        account, _ = GUARDS[words]
        decision = one(replace(account, standing=replace(account.standing, warned_at=None)))
        assert decision is not None
        assert decision.act is Act.WARN
        assert words in decision.held


@pytest.mark.parametrize(
    ("meter", "orders", "act", "words"),
    [
        (house(Position.OPEN, command_id="c9"), (order(outcome="done"),), Act.RESTORE, "others have"),
        (house(Position.OPEN), (order(outcome="done"),), Act.RESTORE, "others have"),
        (house(Position.OPEN, command_id="c1"), (), Act.RESTORE, "no cut of ours"),
        (house(Position.OPEN, command_id="c1"), (order(),), Act.RESTORE, "is not known"),
        (house(Position.OPEN, online=False, command_id="c1"), (order(outcome="done"),), Act.RESTORE, "off"),
        (house(Position.CLOSED, command_id="c9"), (order(outcome="done"),), Act.FORGET, ""),
    ],
)  # fmt: skip
def test_only_our_own_cut_is_undone(meter: Known, orders: tuple[Order, ...], act: Act, words: str) -> None:
    decision = one(Account(standing(state=State.CUT, cut_at=NOW - HOUR, balance=9999), meter, orders))
    assert decision is not None
    assert decision.act is act
    assert words in decision.held


def test_what_became_of_an_order_is_the_meters_word() -> None:
    sent = order(at=NOW - SETTLES)
    opened = house(Position.OPEN, command_id="c1", operations=8)
    assert settled(sent, opened, "", NOW) == "done"
    assert settled(sent, None, "refused", NOW) == "refused"
    assert settled(replace(sent, outcome=NOT_MOVED), opened, "", NOW) == "done", "it came after all"
    assert settled(replace(sent, outcome=NOT_MOVED), None, "refused", NOW) == ""
    assert settled(replace(sent, act=Act.RESTORE), house(command_id="c9"), "", NOW) == "done", "it has power"
    assert settled(sent, house(), "timed out", NOW) == NOT_MOVED
    assert settled(replace(sent, at=NOW - SETTLES / 2), house(), "", NOW) == "", "it may still come"
    assert settled(sent, house(online=False), "", NOW) == "", "it may have moved"
    assert settled(sent, house(operations=9), "", NOW) == "", "others have switched: a person decides"
    assert settled(sent, house(Position.OPEN, command_id="c9"), "", NOW) == ""
    assert settled(sent, None, "", NOW) == ""


CHANGES: list[tuple[str, Any]] = [
    *(("state", state) for state in State),
    ("prepaid", False),
    ("lifeline", True),
    *(("booked_until", at) for at in (None, NOW - 3 * HOUR, NOW + HOUR)),
    *(("waiting", 1), ("waiting_newest", SINCE - 3 * HOUR), ("waiting_newest", NOW)),
    *(("exhausted_since", at) for at in (None, NOW, NOW + HOUR)),
    *(("warned_at", at) for at in (None, SINCE - HOUR, NOW, NOW + HOUR)),
    ("cut_at", NOW - HOUR),
    ("balance", 5000),
]
accounts = st.builds(
    Account,
    st.lists(st.sampled_from(CHANGES), max_size=2).map(
        lambda told: standing(**{"booked_until": NOW} | dict(told))
    ),
    st.sampled_from(
        [
            house(),
            house(),
            house(),
            None,
            Known(METER),
            house(online=False),
            with_block(house()),
            house(Position.OPEN, command_id="c1"),
            house(Position.OPEN),
        ]
    ),
    st.lists(
        st.builds(
            order,
            st.sampled_from(Act),
            outcome=st.sampled_from(["", "done", "refused", "failed", NOT_MOVED]),
            at=st.sampled_from([NOW, NOW - HOUR]),
        ),
        max_size=1,
    ).map(tuple),
    balanced=st.sampled_from([True, True, True, False]),
)
NEVER: list[Callable[[Account], bool]] = [
    lambda account: account.standing.lifeline or not account.balanced,
    lambda account: not account.standing.prepaid,
    lambda account: account.standing.state is not State.EXHAUSTED,
    lambda account: account.standing.cut_at is not None,
    lambda account: account.standing.booked_until != NOW,
    lambda account: bool(account.standing.waiting and account.standing.waiting_newest in (None, NOW)),
    lambda account: account.standing.warned_at != NOW - 2 * HOUR or account.standing.exhausted_since != SINCE,
    lambda account: account.meter is None or not account.meter.online,
    lambda account: account.meter is not None and account.meter.block is not None,
    lambda account: account.meter is not None and account.meter.position is not Position.CLOSED,
    lambda account: any(not one.outcome and one.act.position for one in account.orders),
    lambda account: any(one.act is Act.CUT and one.outcome not in NOT_CARRIED_OUT for one in account.orders),
    lambda account: any(one.act is Act.CUT and one.at > NOW - AGAIN for one in account.orders),
]


@given(
    st.lists(accounts, max_size=8),
    st.lists(st.integers(0, 120).map(lambda ago: NOW - timedelta(seconds=ago)), max_size=4),
    st.booleans(),
)
def test_no_guard_is_ever_passed(town: list[Account], recent: list[datetime], friendly: bool) -> None:
    town = [replace(one, standing=replace(one.standing, meter_id=str(no))) for no, one in enumerate(town)]
    rules = replace(RULES, friendly=lambda _: friendly)
    done = [decision for decision in decide(town, now=NOW, rules=rules, recent_cuts=recent) if decision.do]
    cuts = [decision for decision in done if decision.act is Act.CUT]
    for cut in cuts:
        assert not friendly
        assert not [guard for guard in NEVER if guard(town[int(cut.meter_id)])]
    assert len(cuts) + sum(at > NOW - MINUTE for at in recent) <= max(RULES.cuts_a_minute, len(recent))
    for decision in done:
        ours = town[int(decision.meter_id)]
        if decision.act is Act.RESTORE:
            assert ours.standing.cut_at is not None
            assert any(one.act is Act.CUT and one.outcome == "done" for one in ours.orders)
    assert len({decision.meter_id for decision in done}) == len(done)


@given(
    st.lists(st.tuples(st.integers(-3, 30), st.sampled_from(["", "done", "refused", NOT_MOVED])), max_size=40)
)
def test_one_exhaustion_is_one_cut_whatever_the_clock_does(steps: list[tuple[int, str]]) -> None:
    """Time goes on, or back, some minutes a step; each order ends as drawn; the house stays closed."""
    now, cuts = NOW, 0
    orders: tuple[Order, ...] = ()
    for minutes, outcome in steps:
        now += minutes * MINUTE
        account = Account(standing(booked_until=now), house(), orders)
        recent = [one.at for one in orders]
        for decision in decide([account], now=now, rules=RULES, recent_cuts=recent):
            if decision.act is Act.CUT and decision.do:
                orders = (*orders, order(at=now, outcome=outcome))
                cuts += outcome in ("", "done")
    assert cuts <= 1
