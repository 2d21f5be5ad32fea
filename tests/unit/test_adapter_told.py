"""Readings of what a device tells: with its time, or that of the arrival, marked; silence and history."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import aside as asides
from adapters.aside import Aside
from adapters.family import Values
from adapters.told import WAITING, Inbox, ToldReadings, sane
from broker.contract.messages import utc_now
from broker.contract.reading import Reading
from meter_firmware.faults import Faults
from meter_firmware.outbox import Outbox
from meter_firmware.storage import Storage

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@dataclass
class Bench:
    """Readings that run, and their outbox."""

    inbox: Inbox
    outbox: Outbox
    readings: ToldReadings
    faults: Faults
    present: bool = True

    def put(self, values: Values) -> str:
        return self.inbox.put(values, now=utc_now(), measured=values.measured)

    async def kept(self, count: int) -> list[Reading]:
        """The readings, when there are so many."""
        async with asyncio.timeout(30):
            while self.outbox.count < count:  # noqa: ASYNC110 - the disk has no event
                await asyncio.sleep(0.005)
        return [
            Reading.model_validate_json(one.payload)
            for one in self.outbox.batch(after=0, upto=10**9, limit=1000)
        ]


@asynccontextmanager
async def running(folder: Path, *, interval: float = 60, synchronized: bool = True) -> AsyncIterator[Bench]:
    with Storage(folder / "meter.sqlite") as storage:
        outbox = Outbox(storage, capacity=1000)
        outbox.open(now=utc_now())
        faults = Faults("test", logger=logging.getLogger("test"))
        bench: Bench
        inbox = Inbox()
        readings = ToldReadings(
            inbox,
            outbox,
            interval=interval,
            faults=faults,
            synchronized=lambda: synchronized,
            present=lambda: bench.present,
        )
        bench = Bench(inbox, outbox, readings, faults)
        await readings.release()
        task = asyncio.create_task(readings.run())
        try:
            yield bench
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_the_devices_time_stands_also_when_our_clock_is_not_kept(tmp_path: Path) -> None:
    at = utc_now() - timedelta(seconds=20)
    async with running(tmp_path, synchronized=False) as bench:
        assert bench.put(Values("a", {"power": 4.0}, at)) == ""
        (reading,) = await bench.kept(1)
    assert (reading.ts, reading.clock_synchronized, reading.power) == (at, None, 4.0)


@pytest.mark.parametrize(
    "at",
    [
        None,
        datetime(1970, 1, 1, 1, tzinfo=UTC),
        utc_now() + timedelta(hours=2),
        utc_now() - timedelta(hours=3),
    ],
)
async def test_otherwise_the_arrival_counts_and_is_marked(tmp_path: Path, at: datetime | None) -> None:
    async with running(tmp_path) as bench:
        assert bool(bench.put(Values("a", {"power": 4.0}, at))) == (at is not None)
        (reading,) = await bench.kept(1)
    assert abs(reading.ts - utc_now()) < timedelta(minutes=1)
    assert reading.clock_synchronized is False


async def test_what_the_device_remembers_is_history_and_no_live_value(tmp_path: Path) -> None:
    at = utc_now() - timedelta(days=2)
    async with running(tmp_path) as bench:
        bench.put(Values("a", {"power": 4.0}, utc_now()))
        await bench.kept(1)
        live = bench.readings.latest
        assert live is not None
        bench.put(Values("a", {"power": 3.0}, at, historical=True))
        assert "without a time" in bench.put(Values("a", {"power": 2.0}, historical=True))
        assert bench.put(Values("a", {"power": 1.0}, datetime(1999, 1, 1, tzinfo=UTC), historical=True))
        readings = await bench.kept(2)
        assert bench.readings.latest is live
    assert [(reading.power, reading.clock_synchronized) for reading in readings] == [(4.0, None), (3.0, None)]
    assert readings[1].ts == at


async def test_a_second_copy_of_a_message_is_none(tmp_path: Path) -> None:
    at = utc_now()
    async with running(tmp_path) as bench:
        for value in (4.0, 4.0, 5.0, 5.0):
            bench.put(Values("a", {"power": value}, at))
        bench.put(Values("a", {"power": 6.0}))
        bench.put(Values("a", {"power": 6.0}))
        readings = await bench.kept(4)
    assert [reading.power for reading in readings] == [4.0, 5.0, 6.0, 6.0]


async def test_silence_is_a_reading_without_quantities_once_per_interval(tmp_path: Path) -> None:
    async with running(tmp_path, interval=0.05) as bench:
        start = utc_now()
        readings = await bench.kept(3)
        assert utc_now() - start >= timedelta(seconds=5 * 0.05)
        bench.present = False
        count = bench.outbox.count
        bench.put(Values("a", {"power": 4.0}))
        last = (await bench.kept(count + 1))[-1]
    assert all(reading.power is None and reading.clock_synchronized is None for reading in readings)
    assert bench.faults.counts["device is silent"] >= 3
    assert last.power == 4.0


async def test_an_absent_device_is_not_silent(tmp_path: Path) -> None:
    async with running(tmp_path, interval=0.01) as bench:
        bench.present = False
        await bench.readings._told_within(0.2)
        count = bench.outbox.count
        await bench.readings._told_within(0.2)
        assert bench.outbox.count == count


async def test_what_waits_at_the_end_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.put(Values("a", {"power": 4.0}))
        bench.readings.flush()
        (reading,) = await bench.kept(1)
    assert (reading.power, reading.clock_synchronized) == (4.0, False)


def test_what_waits_is_bounded_and_the_oldest_goes() -> None:
    inbox = Inbox()
    for number in range(WAITING + 3):
        inbox.put(Values("a", {}), now=NOW, measured={"power": float(number)})
    assert (len(inbox.waiting), inbox.dropped, inbox.waiting[0].measured["power"]) == (WAITING, 3, 3.0)


@given(st.datetimes(timezones=st.just(UTC)), st.booleans())
def test_a_sane_time_is_near(at: datetime, historical: bool) -> None:
    if sane(at, now=NOW, historical=historical):
        assert NOW - timedelta(days=366 if historical else 0.05) <= at <= NOW + timedelta(minutes=5)


def test_findings_are_counted_and_some_are_kept(tmp_path: Path) -> None:
    aside = Aside("home")
    for number in range(30):
        aside.note("not JSON", "it is no JSON", topic=f"t/{number}", payload=b"\xff" * 9000)
    for number in range(300):
        aside.note(f"cause {number}", "")
    aside.save(tmp_path)
    assert aside.counts["not JSON"] == 30
    assert len(aside.counts) == asides.CAUSES + 1
    assert asides.counted(tmp_path, "home") == aside.counts
    lines = (tmp_path / asides.FOLDER / "home.jsonl").read_text().splitlines()
    assert sum('"not JSON"' in line for line in lines) == asides.KEPT
    assert asides.counted(tmp_path, "other") == {}
