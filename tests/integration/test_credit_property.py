"""The ledger against a plain reference: intervals in any order, corrected, replayed, over months and DST."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bridge.credit.accounts import ConflictingPaymentError
from bridge.credit.waiting import NothingWaitsError, decide
from bridge.store import database
from bridge.store.intervals import Mark
from bridge.store.tables import DAY_MS
from tests.support.credit import ANNA, SPAN, Books, expected_cost, ms, prices
from tests.support.stores import meter_id

NOW = ms("2026-12-03T00:00Z")
"""The statement of November is not final yet, that of October is: what an interval costs is the same."""
BEGINS = [
    *(ms("2026-10-25T00:30Z") + place * SPAN for place in (0, 2, 6)),  # the clock is set back at 01:00Z
    *(ms("2026-10-31T22:30Z") + place * SPAN for place in (0, 1, 2)),  # a month begins at 23:00Z
    *(ms("2026-11-23T04:45Z") + place * SPAN for place in (0, 1)),  # T2 ends at 05:00Z
    *(ms("2026-11-30T22:45Z") + place * SPAN for place in (0, 1)),  # other prices begin at 23:00Z
]
MARKS = [Mark.MEASURED, Mark.MEASURED, Mark.INTERPOLATED, Mark.ESTIMATED, Mark.MISSING]
VALUE = st.tuples(
    st.sampled_from([0, 1, 7, 21_300, 49_999, 50_000, 120_001, 999_999]), st.sampled_from(MARKS)
)
BATCH = st.dictionaries(st.sampled_from(BEGINS), VALUE, min_size=1, max_size=8)
ACT = st.one_of(
    st.tuples(st.just("write"), BATCH),
    st.tuples(st.just("book"), st.none()),
    st.tuples(st.just("replay"), st.sampled_from(BEGINS)),
    st.tuples(st.just("decide"), st.tuples(st.sampled_from(BEGINS), st.booleans())),
    st.tuples(st.just("top-up"), st.tuples(st.integers(1, 3), st.sampled_from([500_000, 1]))),
)


class Reference:
    """What is known of one meter, by plain rules."""

    def __init__(self) -> None:
        self.written: dict[int, tuple[int | None, Mark]] = {}
        self.seen: dict[int, tuple[int | None, Mark]] = {}
        self.costs: dict[int, int] = {}
        self.decided: dict[int, int | None] = {}
        self.paid: dict[str, int] = {}

    def book(self) -> None:
        """Look at what has another value than before."""
        for at, value in self.written.items():
            if self.seen.get(at) == value:
                continue
            self.seen[at] = value
            energy, mark = value
            if mark in (Mark.MEASURED, Mark.INTERPOLATED):
                self.decided.pop(at, None)
                self.costs[at] = energy or 0
            elif at in self.decided and self.decided[at] in (None, energy):
                continue
            else:
                self.decided.pop(at, None)
                self.costs[at] = 0

    @property
    def waiting(self) -> set[int]:
        """Doubtful, and not decided."""
        doubtful = {at for at, (_, mark) in self.seen.items() if mark in (Mark.ESTIMATED, Mark.MISSING)}
        return doubtful - self.decided.keys()

    @property
    def balance(self) -> int:
        """Payments less costs."""
        return sum(self.paid.values()) - expected_cost(self.costs)


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    engine = database.connect(f"sqlite:///{tmp_path_factory.mktemp('credit') / 'meter.sqlite'}")
    database.migrate(engine)
    yield Books(engine, prices())
    engine.dispose()


numbers = count()
CORRECTED = [
    (50_000, Mark.MEASURED),
    (120_001, Mark.INTERPOLATED),
    (7, Mark.ESTIMATED),
    (21_300, Mark.MEASURED),
]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(acts=st.lists(ACT, min_size=1, max_size=14))
@example(acts=[one for value in CORRECTED for one in (("write", {BEGINS[0]: value}), ("book", None))])
def test_the_ledger_is_the_reference(books: Books, acts: list[tuple[str, object]]) -> None:
    meter = books.meter(since=datetime(2026, 1, 1, tzinfo=UTC))
    with books.engine.begin() as connection:  # no standing charges here
        connection.exec_driver_sql(f"UPDATE credit_account SET charged_until = {NOW} WHERE meter = {meter}")
    reference, prefix = Reference(), f"P{next(numbers)}"
    for act in [*acts, ("book", None), ("replay", BEGINS[0]), ("book", None)]:
        do(books, meter, reference, prefix, act)
        assert books.wrong() == [], "at every instant"
        if act[0] != "write":
            assert books.balance(meter) == reference.balance
    standing = books.accounts.standing(meter_id(meter))
    assert standing.waiting == len(reference.waiting)
    keys = [key for key, _ in books.entries(meter)]
    assert len(keys) == len(set(keys))


def do(books: Books, meter: int, reference: Reference, prefix: str, act: tuple[str, object]) -> None:
    """One act at both."""
    match act:
        case ("write", dict(batch)):
            books.write(meter, batch)
            reference.written |= batch
        case ("book", _):
            books.book(now=NOW)
            reference.book()
        case ("replay", int(at)):
            before = books.entries(meter)
            books.replay(meter, [at - at % DAY_MS])
            if reference.written == reference.seen:
                assert books.book(now=NOW) == 0
                assert books.entries(meter) == before
            reference.book()
            books.book(now=NOW)
        case ("decide", (int(at), bool(costs))):
            if at in reference.waiting and reference.seen[at] == reference.written[at]:
                energy = reference.seen[at][0]
                decide_one(books, meter, at, costs=costs)
                reference.decided[at] = energy if costs else None
                reference.costs[at] = (energy or 0) if costs else 0
            elif at not in reference.waiting:
                with pytest.raises(NothingWaitsError):
                    decide_one(books, meter, at, costs=costs)
        case ("top-up", (int(number), int(amount))):
            reference_name = f"{prefix}-{number}"
            if reference.paid.get(reference_name, amount) != amount:
                with pytest.raises(ConflictingPaymentError):
                    books.accounts.top_up(meter_id(meter), amount, reference=reference_name, by=ANNA)
                return
            payment = books.accounts.top_up(meter_id(meter), amount, reference=reference_name, by=ANNA)
            assert payment.repeated is (reference_name in reference.paid)
            reference.paid[reference_name] = amount


def decide_one(books: Books, meter: int, at: int, *, costs: bool) -> None:
    """Of one interval."""
    more = {"costs": costs, "reason": "seen", "by": ANNA}
    decide(books.engine, books.prices, meter_id(meter), start=at, end=at + 1, **more)  # type: ignore[arg-type]
