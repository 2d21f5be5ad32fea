"""When a meter is online, when its reading is stale, which reading is the latest."""

from __future__ import annotations

import pytest

from broker.messages import Birth, Hardware, Reading, Status, utc_now
from mms_bridge.fleet import Fleet, Meter

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
    assert Meter("x", "SM_x", birth=born, status=told).online is online


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


@pytest.mark.parametrize(("epoch", "seq", "taken"), [(1, 4, False), (1, 5, True), (1, 6, True), (2, 1, True)])
def test_an_older_reading_never_replaces_a_newer_one(epoch: int, seq: int, taken: bool) -> None:
    fleet = Fleet()
    meter = fleet.meter(METER)
    fleet.take_reading(meter, Reading(epoch=1, seq=5, ts=NOW), now=0.0, age=0.0)
    reading = Reading(epoch=epoch, seq=seq, ts=NOW)
    assert fleet.take_reading(meter, reading, now=0.0, age=0.0) is taken
    assert meter.reading is not None
    assert (meter.reading.epoch, meter.reading.seq) == ((epoch, seq) if taken else (1, 5))
