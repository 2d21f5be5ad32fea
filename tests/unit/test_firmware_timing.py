"""The rhythm of readings, the backoff of reconnects, the clock, and what is logged how often."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.kernel import clock_synchronized
from broker.mqtt.backoff import Backoff
from meter_firmware import clock
from meter_firmware.faults import Faults
from meter_firmware.sampler import Rhythm


@given(
    interval=st.floats(0.05, 3600),
    offset=st.floats(0, 3600),
    elapsed=st.floats(0, 1e6),
)
def test_the_next_instant_is_on_the_grid_and_at_most_an_interval_away(
    interval: float, offset: float, elapsed: float
) -> None:
    instant = Rhythm(interval, offset).following(elapsed)
    assert instant == offset if elapsed < offset else 0 <= instant - elapsed <= interval * (1 + 1e-6)
    ticks = (instant - offset) / interval
    assert ticks == pytest.approx(round(ticks), abs=1e-6)


def test_missed_instants_are_left_out() -> None:
    assert Rhythm(10.0, 2.0).following(2.0) == 12.0
    assert Rhythm(10.0, 2.0).following(57.3) == 62.0


def test_backoff_doubles_to_its_cap_with_full_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return 0.5

    monkeypatch.setattr("random.uniform", uniform)
    backoff = Backoff(first=1.0, cap=60.0)
    assert [backoff.next() for _ in range(8)] == [0.5] * 8
    assert drawn == [(0, ceiling) for ceiling in (1, 2, 4, 8, 16, 32, 60, 60)]
    backoff.reset()
    backoff.next()
    assert drawn[-1] == (0, 1)


def test_a_cause_is_logged_at_one_ten_and_a_hundred(caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults("meter", logger=logging.getLogger("test"))
    for n in range(150):
        faults.tell("no answer", n)
    faults.tell("damaged", "x")
    assert faults.counts == {"no answer": 150, "damaged": 1}
    assert [record.getMessage() for record in caplog.records] == [
        "meter: no answer (counted 1): 0",
        "meter: no answer (counted 10): 9",
        "meter: no answer (counted 100): 99",
        "meter: damaged (counted 1): x",
    ]


def test_a_clock_that_was_never_set_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock.now().year >= 2024
    monkeypatch.setattr(clock, "utc_now", lambda: datetime(1970, 1, 1, 0, 1, tzinfo=UTC))
    with pytest.raises(clock.ClockError, match="never set"):
        clock.now()


async def test_a_meter_waits_for_the_time_and_may_be_stopped_meanwhile(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop = asyncio.Event()
    monkeypatch.setattr(clock, "utc_now", lambda: datetime(1970, 1, 1, tzinfo=UTC))
    waiting = asyncio.create_task(clock.until_set(stop))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert "waiting for the time" in caplog.text
    stop.set()
    await asyncio.wait_for(waiting, 60)
    monkeypatch.undo()
    await asyncio.wait_for(clock.until_set(asyncio.Event()), 1)


@pytest.mark.parametrize(("state", "kept"), [(0, True), (1, True), (5, False), (-1, False)])
def test_the_kernel_tells_whether_ntp_keeps_the_clock(
    state: int, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.kernel._LIBC", SimpleNamespace(adjtimex=lambda _timex: state))
    assert clock_synchronized() is kept


def test_a_system_without_adjtimex_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.kernel._LIBC", SimpleNamespace())
    assert clock_synchronized() is False
