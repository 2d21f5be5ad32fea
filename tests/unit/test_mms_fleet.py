"""When a meter is online, when its reading is stale, which reading is the latest."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker.contract.birth import Birth, Hardware
from broker.contract.enrolment import Access
from broker.contract.fleet import Fleet, MeterState
from broker.contract.messages import utc_now
from broker.contract.reading import Reading
from broker.contract.status import ServiceStatus, Status
from mms_bridge.datamodel.behaviour import Behaviour, behaviour_of

NOW = utc_now()
METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def birth(session: str, interval: float = 10.0) -> Birth:
    return Birth(
        name="m", hardware=Hardware(serial="1"), firmware="1", interval=interval, session=session, ts=NOW
    )


def status(session: str, *, online: bool) -> Status:
    return Status(online=online, session=session, ts=NOW)


@pytest.mark.parametrize(
    ("born", "told", "online"),
    [
        (None, None, False),
        (birth("a"), None, False),
        (None, status("a", online=True), True),
        (birth("a"), status("a", online=True), True),
        (birth("a"), status("a", online=False), False),
        (birth("b"), status("a", online=False), True),  # the will of the session before
        (None, status("a", online=False), False),
    ],
)
def test_online(born: Birth | None, told: Status | None, online: bool) -> None:
    meter = MeterState("x")
    for message in filter(None, (born, told)):
        meter.hear(message, live=False, now=NOW)
    assert meter.online is online


def test_a_reading_is_fresh_for_three_intervals_from_its_arrival() -> None:
    fleet = Fleet(stale_intervals=3.0)
    meter = fleet.meter(METER)
    meter.birth = birth("a", interval=10.0)
    assert fleet.take_reading(meter, Reading(epoch=1, seq=1, ts=NOW), now=100.0, age=0.0)
    assert not meter.stale
    assert list(fleet.newly_stale(129.9)) == []
    assert list(fleet.newly_stale(130.0)) == [meter]
    assert list(fleet.newly_stale(131.0)) == []  # told once


def test_a_retained_reading_brings_its_age() -> None:
    fleet = Fleet(stale_intervals=3.0)
    meter = fleet.meter(METER)
    meter.birth = birth("a", interval=10.0)
    fleet.take_reading(meter, Reading(epoch=1, seq=1, ts=NOW), now=100.0, age=31.0)
    assert meter.stale


def test_a_birth_that_comes_after_the_reading_tells_how_long_that_is_fresh() -> None:
    """The retained readings of a town may come before the births."""
    fleet = Fleet(stale_intervals=3.0)
    often, seldom = fleet.meter(METER), fleet.meter(METER.replace("3f", "4f", 1))
    for meter, age in ((often, 100.0), (seldom, 600.0)):
        fleet.take_reading(meter, Reading(epoch=1, seq=1, ts=NOW), now=1000.0, age=age)
    for meter, interval in ((often, 10.0), (seldom, 3600.0)):
        fleet.take_state(meter, "birth", birth("a", interval).payload(), now=NOW)
        fleet.reconsider(meter, now=1000.0)
    assert (often.stale, seldom.stale) == (True, False)


def test_a_reading_that_is_heard_again_is_no_newer() -> None:
    """After a reconnect the broker tells the retained one again: a clock that is ahead must not help."""
    fleet = Fleet(stale_intervals=3.0)
    meter = fleet.meter(METER)
    meter.birth = birth("a", interval=10.0)
    fleet.take_reading(meter, Reading(epoch=1, seq=1, ts=NOW), now=100.0, age=0.0)
    fleet.take_reading(meter, Reading(epoch=1, seq=1, ts=NOW), now=125.0, age=0.0)
    assert list(fleet.newly_stale(130.0)) == [meter]


def test_without_the_meters_topics_nobody_is_known_to_be_online() -> None:
    fleet = Fleet()
    meter = fleet.meter(METER)
    fleet.take_state(meter, "status", status("a", online=True).payload(), now=NOW)
    assert meter.online
    fleet.forget_statuses()
    assert not meter.online


@pytest.mark.parametrize(
    ("epoch", "seq", "taken"), [(2, 4, False), (2, 5, True), (2, 6, True), (3, 1, True), (1, 1, True)]
)
def test_an_older_reading_never_replaces_a_newer_one(epoch: int, seq: int, taken: bool) -> None:
    """Another epoch is a new outbox, also with a smaller number: its Raspberry Pi had no time yet."""
    fleet = Fleet()
    meter = fleet.meter(METER)
    fleet.take_reading(meter, Reading(epoch=2, seq=5, ts=NOW), now=0.0, age=0.0)
    reading = Reading(epoch=epoch, seq=seq, ts=NOW)
    assert fleet.take_reading(meter, reading, now=0.0, age=0.0) is taken
    assert meter.reading is not None
    assert (meter.reading.epoch, meter.reading.seq) == ((epoch, seq) if taken else (2, 5))


def test_a_meter_is_withdrawn_once_and_until_it_is_born_again() -> None:
    fleet = Fleet()
    meter = fleet.meter(METER)
    fleet.take_state(meter, "status", status("a", online=True).payload(), now=NOW)
    fleet.take_state(meter, "birth", birth("a").payload(), now=NOW)
    assert (meter.withdrawn, meter.online) == (None, True)
    later = NOW + timedelta(seconds=1)
    fleet.take_state(meter, "birth", b"", now=NOW)
    fleet.take_state(meter, "birth", b"", now=later)  # told once more changes nothing
    assert (meter.withdrawn, meter.online, meter.birth) == (NOW, False, None)
    fleet.take_state(meter, "birth", birth("b").payload(), now=later)
    assert (meter.withdrawn, meter.online) == (None, True)


def test_a_meter_is_kept_out_until_it_is_let_in_again() -> None:
    fleet = Fleet()
    meter = fleet.meter(METER)
    fleet.take_state(meter, "birth", birth("a").payload(), now=NOW)
    fleet.take_state(meter, "status", status("a", online=True).payload(), now=NOW)
    shut = Access(allowed=False, reason="stolen", ts=NOW + timedelta(seconds=1))
    fleet.take_state(meter, "access", shut.payload(), now=NOW)
    assert (meter.out_since, meter.online, behaviour_of(meter)) == (shut.ts, False, Behaviour.OFF)
    fleet.take_state(meter, "birth", b"", now=NOW)
    assert meter.out_since == NOW  # the earlier of the two reasons
    fleet.take_state(meter, "birth", birth("a").payload(), now=NOW)
    assert meter.out_since == shut.ts  # being born again is not being let in
    fleet.take_state(meter, "access", Access(allowed=True, ts=NOW).payload(), now=NOW)
    assert behaviour_of(meter) is Behaviour.OFF  # an older decision
    later = Access(allowed=True, ts=shut.ts + timedelta(seconds=1))
    fleet.take_state(meter, "access", later.payload(), now=NOW)
    assert behaviour_of(meter) is Behaviour.ON
    assert meter.online
    fleet.take_state(meter, "access", shut.payload(), now=NOW)
    assert behaviour_of(meter) is Behaviour.ON  # an older decision, told again
    again = shut.model_copy(update={"ts": later.ts + timedelta(seconds=1)})
    fleet.take_state(meter, "access", again.payload(), now=NOW)
    assert meter.out_since == again.ts
    fleet.take_state(meter, "access", b"", now=NOW)
    assert meter.out_since is None


def test_one_bridge_is_enough() -> None:
    def told(*, online: bool) -> bytes:
        return ServiceStatus(online=online, version="1", session="s", ts=NOW).payload()

    fleet = Fleet()
    assert not fleet.bridge_up
    changes = [
        fleet.take_bridge(name, payload)
        for name, payload in [
            ("bridge_a", told(online=False)),
            ("bridge_a", told(online=True)),
            ("bridge_b", told(online=True)),
            ("bridge_a", told(online=False)),
            ("bridge_b", b""),
        ]
    ]
    assert changes == [False, True, False, False, True]
    assert not fleet.bridge_up
