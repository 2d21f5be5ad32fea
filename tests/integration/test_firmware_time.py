"""A meter that starts with an old clock publishes nothing before it knows the time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic

import pytest

from broker import host_clock
from broker.contract.messages import utc_now
from broker.contract.reading import Reading
from meter_firmware import clock, outbox
from meter_firmware.outbox import Outbox
from meter_firmware.storage import Storage
from tests.support.brokers import Broker
from tests.support.firmware_rig import Rig
from tests.support.mms import eventually

BEHIND = timedelta(minutes=40)
A_DAY = 86_400.0
"""Longer than this machine has run, or the test says how long it has."""


@dataclass
class Time:
    """What the meter's machine believes."""

    behind: timedelta = BEHIND
    synchronized: bool = False
    uptime_ms: int = 10_000

    def now(self) -> datetime:
        """The machine's clock."""
        return utc_now() - self.behind

    def answered(self) -> None:
        """NTP has set the clock."""
        self.behind, self.synchronized = timedelta(0), True


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Time:
    """A machine that was started ten seconds ago, with the time of its last stop."""
    made, start = Time(), monotonic()
    monkeypatch.setattr(clock, "utc_now", made.now)
    monkeypatch.setattr(outbox, "utc_now", made.now)
    monkeypatch.setattr(host_clock, "clock_synchronized", lambda: made.synchronized)
    for module in (clock, outbox):
        monkeypatch.setattr(module, "uptime_ms", lambda: made.uptime_ms + round(1000 * (monotonic() - start)))
    return made


async def taken(rig: Rig, count: int) -> None:
    """Wait until the meter has taken so many readings."""
    path = rig.settings.data_dir / "meter.sqlite-wal"
    await eventually(lambda: path.exists() and path.stat().st_size > count * 4096)


async def test_times_are_put_right_before_anything_is_published(
    broker: Broker, tmp_path: Path, machine: Time
) -> None:
    async with Rig.on(broker, tmp_path, clock_wait=A_DAY) as rig:
        began = utc_now()
        async with rig.meter():
            await taken(rig, 10)
            assert rig.messages == []
            machine.answered()
            birth = await rig.heard("birth")
            history = await rig.heard("history")
            live = await rig.heard("reading", lambda reading: reading["seq"] > history["readings"][-1]["seq"])
        readings = [Reading.model_validate(reading) for reading in [*history["readings"], live]]
        assert [reading.seq for reading in readings] == sorted(reading.seq for reading in readings)
        times = [reading.ts for reading in readings]
        assert times == sorted(times)
        assert began - timedelta(milliseconds=5) <= times[0]
        assert times[-1] <= utc_now()
        assert {reading.clock_synchronized for reading in readings} == {None}
        assert birth["clock_synchronized"] is True


async def test_without_ntp_readings_are_marked_after_the_wait(
    broker: Broker, tmp_path: Path, machine: Time
) -> None:
    async with Rig.on(broker, tmp_path, clock_wait=60.0) as rig:
        async with rig.meter():
            await taken(rig, 10)
            assert rig.messages == []
            machine.uptime_ms += 60_000
            history = await rig.heard("history")
            live = await rig.heard("reading")
            assert {reading["clock_synchronized"] for reading in [*history["readings"], live]} == {False}
            since = len(rig.messages)
            machine.answered()
            later = await rig.heard("reading", lambda r: "clock_synchronized" not in r, since=since)
            assert abs(Reading.model_validate(later).ts - utc_now()) < timedelta(minutes=1)
        published = {
            (reading["seq"], reading["ts"])
            for message in rig.messages
            if message.kind in ("reading", "history")
            for reading in message.payload.get("readings", [message.payload])
        }
        assert len({seq for seq, _ in published}) == len(published), "a reading was published with two times"


@contextmanager
def opened(path: Path) -> Iterator[Outbox]:
    """An outbox in a process."""
    with Storage(path) as storage:
        made = Outbox(storage, capacity=100)
        made.open(now=clock.now())
        yield made


def times(box: Outbox) -> list[tuple[datetime, bool | None]]:
    """The readings' times and marks."""
    read = [Reading.model_validate_json(each.payload) for each in box.batch(after=0, upto=100, limit=100)]
    return [(reading.ts, reading.clock_synchronized) for reading in read]


@pytest.mark.parametrize("same_boot", [True, False])
def test_another_process_puts_them_right_but_not_after_another_boot(
    tmp_path: Path, machine: Time, monkeypatch: pytest.MonkeyPatch, same_boot: bool
) -> None:
    wrong = clock.now()
    with opened(tmp_path / "meter.sqlite") as box:
        box.add({"voltage": 230.0, "clock_synchronized": False}, ts=wrong, held=True)
    if not same_boot:
        monkeypatch.setattr(outbox, "boot_id", lambda: "another")
    machine.answered()
    with opened(tmp_path / "meter.sqlite") as box:
        assert box.release(synchronized=True) == same_boot
        [(ts, mark)] = times(box)
        if same_boot:
            assert abs(ts - wrong - BEHIND) < timedelta(seconds=20)
            assert mark is None
        else:
            assert (ts, mark) == (wrong, False)
        assert box.release(synchronized=True) == 0, "what was released is not changed again"
        assert times(box) == [(ts, mark)]


def test_a_clock_that_jumps_back_is_put_right_too(tmp_path: Path, machine: Time) -> None:
    machine.behind = -BEHIND
    with opened(tmp_path / "meter.sqlite") as box:
        box.add({"clock_synchronized": False}, ts=clock.now(), held=True)
        machine.answered()
        box.release(synchronized=True)
        [(ts, mark)] = times(box)
        assert abs(ts - utc_now()) < timedelta(seconds=20)
        assert mark is None


async def test_nobody_waits_when_the_machine_has_run_for_long(machine: Time) -> None:
    machine.uptime_ms = 181_000
    async with asyncio.timeout(30):
        await clock.until_known(asyncio.Event(), synchronized=lambda: False, wait=180)
        stop = asyncio.Event()
        stop.set()
        await clock.until_known(stop, synchronized=lambda: False, wait=A_DAY)
