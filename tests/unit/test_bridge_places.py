"""The places of meters: a birth takes a spare logical device of its kind; others are made when none fits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlmodel import Session, SQLModel, col, create_engine, select

from bridge.ingest.places import Places, Use, assign, settle
from bridge.store.ld_names import LdNames, record
from bridge.store.tables import Meter, Setting, Spare
from broker.contract.quantities import HOUSEHOLD

ONE_PHASE = ",".join(HOUSEHOLD)
THREE_PHASE = "power_l1,power_l2,power_l3"
TEN = Places(limit=50, spare=10)


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine)
    with Session(engine, autoflush=False) as made:
        made.add(Setting(name="ld_names", value=LdNames.NUMBER))
        made.flush()
        yield made


def born(number: int, *, quantities: str = ONE_PHASE, relay: bool = True, code: str = "") -> Meter:
    """A meter whose first birth was just folded in."""
    return Meter(
        meter_id=f"3f2504e0-4f89-41d3-9a0c-{number:012x}",
        quantities=quantities,
        has_relay=relay,
        address_code=code,
        first_seen=1,
        last_seen=1,
        born_at=1,
        changes=1,
    )


def join(session: Session, meters: list[Meter], rules: Places = TEN) -> list[tuple[str | None, int | None]]:
    """The places that ``meters`` get, which are born in one batch."""
    session.add_all(meters)
    assign(session, meters, rules)
    session.flush()
    return [(meter.ied, meter.number) for meter in meters]


def spares(session: Session, use: Use = Use.FREE) -> list[tuple[str, int]]:
    rows = session.exec(select(Spare).where(Spare.use == use).order_by(col(Spare.number)))
    return [(row.ied, row.number) for row in rows]


def conf_rev(session: Session, ied: str) -> int:
    """As the data sets of the IED have it."""
    meters = session.exec(select(Meter).where(Meter.ied == ied))
    made = session.exec(select(Spare).where(Spare.ied == ied))
    return sum(meter.changes for meter in meters) + sum(2 if s.use == Use.DROPPED else 1 for s in made)


def test_the_next_ten_births_change_no_configuration(session: Session) -> None:
    assert join(session, [born(1)]) == [("SMGW001", 1)]
    assert spares(session) == [("SMGW001", number) for number in range(2, 12)]
    before = conf_rev(session, "SMGW001")
    for number in range(2, 12):
        assert join(session, [born(number)]) == [("SMGW001", number)]
        assert conf_rev(session, "SMGW001") == before
    assert spares(session) == []
    assert join(session, [born(12)]) == [("SMGW001", 12)]
    assert conf_rev(session, "SMGW001") > before
    assert spares(session) == [("SMGW001", number) for number in range(13, 23)]


def test_births_of_one_batch_take_the_spares_first(session: Session) -> None:
    join(session, [born(1)])
    placed = join(session, [born(number) for number in range(2, 102)])
    assert [number for _, number in placed] == list(range(2, 102))
    assert [ied for ied, _ in placed] == ["SMGW001"] * 49 + ["SMGW002"] * 50 + ["SMGW003"]
    assert spares(session) == [("SMGW003", number) for number in range(102, 112)]


@pytest.mark.parametrize("other", [{"relay": False}, {"quantities": THREE_PHASE}])
def test_a_meter_of_another_kind_gets_a_device_of_its_own(session: Session, other: dict[str, object]) -> None:
    join(session, [born(1)])
    before = conf_rev(session, "SMGW001")
    assert join(session, [born(2, **other)]) == [("SMGW001", 12)]  # type: ignore[arg-type]
    assert conf_rev(session, "SMGW001") > before
    assert len(spares(session)) == 10, "no more than ten are free"
    assert join(session, [born(3)]) == [("SMGW001", 2)]


def test_spares_are_of_the_kind_of_most_meters(session: Session) -> None:
    three = [born(number, quantities=THREE_PHASE, relay=False) for number in (1, 2)]
    join(session, [born(3), *three])
    made = {(one.quantities, one.has_relay) for one in session.exec(select(Spare))}
    assert made == {(THREE_PHASE, False)}


def test_of_as_many_kinds_the_spares_are_of_the_plainest(session: Session) -> None:
    join(session, [born(1, quantities=THREE_PHASE), born(2, relay=False), born(3)])
    made = {(one.quantities, one.has_relay) for one in session.exec(select(Spare))}
    assert made == {(ONE_PHASE, True)}


def test_an_ied_has_no_more_devices_than_its_limit(session: Session) -> None:
    rules = Places(limit=4, spare=10)
    join(session, [born(1)], rules)
    assert spares(session) == [("SMGW001", 2), ("SMGW001", 3), ("SMGW001", 4)]
    before = conf_rev(session, "SMGW001")
    placed = join(session, [born(number) for number in range(2, 6)], rules)
    assert placed == [("SMGW001", 2), ("SMGW001", 3), ("SMGW001", 4), ("SMGW002", 5)]
    assert spares(session) == [("SMGW002", 6), ("SMGW002", 7), ("SMGW002", 8)]
    assert join(session, [born(6, relay=False)], rules) == [("SMGW003", 9)], (
        "the spare ones have their places"
    )
    assert conf_rev(session, "SMGW001") == before, "with as many spares as there is room, an IED never grows"


def test_a_spare_is_of_its_address_code(session: Session) -> None:
    rules = Places(limit=50, by_address_code=True, spare=2)
    assert join(session, [born(1, code="A")], rules) == [("SMGW001", 1)]
    assert join(session, [born(2, code="B")], rules) == [("SMGW002", 4)]
    assert join(session, [born(3, code="B"), born(4, code="A")], rules) == [("SMGW002", 5), ("SMGW001", 2)]


def test_a_withdrawn_meter_keeps_its_number_and_no_other_meter_gets_it(session: Session) -> None:
    first, second = born(1), born(2)
    join(session, [first])
    join(session, [second])
    second.retired_at = 2
    assert join(session, [born(3)]) == [("SMGW001", 3)]
    second.retired_at = None
    assert join(session, [second]) == [("SMGW001", 2)]


def test_a_meter_that_comes_and_goes_in_one_batch_changes_the_configuration(session: Session) -> None:
    """It takes a spare device, which is not in the SCD any more."""
    join(session, [born(1)])
    before, brief = conf_rev(session, "SMGW001"), born(2)
    brief.retired_at, brief.changes = 1, 2
    join(session, [brief])
    assert conf_rev(session, "SMGW001") > before


def test_without_spares_there_are_none(session: Session) -> None:
    assert join(session, [born(1), born(2)], Places(limit=50)) == [("SMGW001", 1), ("SMGW001", 2)]
    assert spares(session) == []


def test_a_start_makes_the_first_spares_and_takes_none_that_are_used_up_for_new_ones(
    session: Session,
) -> None:
    join(session, [born(1)], Places(limit=50))
    settle(session, Places(limit=50, spare=2))
    session.flush()
    assert spares(session) == [("SMGW001", 2), ("SMGW001", 3)]
    before = conf_rev(session, "SMGW001")
    join(session, [born(2), born(3)], Places(limit=50, spare=2))
    settle(session, Places(limit=50, spare=2))
    session.flush()
    assert (spares(session), conf_rev(session, "SMGW001")) == ([], before), "the next birth makes some"


def test_names_made_of_meter_ids_have_no_spares(session: Session) -> None:
    """The device's name would have to change when a meter gets it."""
    join(session, [born(1)])
    record(session.connection(), LdNames.METER_ID)
    assert join(session, [born(2)]) == [("SMGW001", 12)]
    settle(session, TEN)
    session.flush()
    assert (spares(session), len(spares(session, Use.DROPPED))) == ([], 10)
    record(session.connection(), LdNames.NUMBER)
    assert join(session, [born(3)]) == [("SMGW001", 13)]
    assert len(spares(session)) == 10


def test_spares_that_are_switched_off_are_dropped_for_good(session: Session) -> None:
    join(session, [born(1)])
    before = conf_rev(session, "SMGW001")
    settle(session, Places(limit=50))
    session.flush()
    assert (spares(session), len(spares(session, Use.DROPPED))) == ([], 10)
    assert conf_rev(session, "SMGW001") > before
    assert join(session, [born(2)], Places(limit=50)) == [("SMGW001", 12)], "their numbers are not used again"
