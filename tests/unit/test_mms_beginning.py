"""When the first servers are made: one after the other, and nobody waits for those that have begun."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from mms_bridge.beginning import SPACING, Beginnings


class Planned:
    """A loop that only notes when something is to be called."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.calls: list[tuple[float, Callable[[], object]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> None:
        self.calls.append((when, callback))

    @property
    def beginnings(self) -> Beginnings:
        """Planned in this loop."""
        return Beginnings(cast(asyncio.AbstractEventLoop, self))


def test_a_town_begins_one_ied_after_the_other() -> None:
    loop = Planned()
    beginnings = loop.beginnings
    for number in range(200):
        beginnings.later(f"SMGW{number:03d}", list)
    times = [when - loop.now for when, _ in loop.calls]
    assert times == pytest.approx([SPACING * (number + 1) for number in range(200)])


def test_an_ied_that_joins_a_running_town_begins_at_once() -> None:
    loop = Planned()
    beginnings = loop.beginnings
    for _ in range(200):
        beginnings.later("SMGW001", list)
    loop.now += 3600
    beginnings.later("SMGW201", list)
    assert loop.calls[-1][0] - loop.now == pytest.approx(SPACING)


def test_one_that_fails_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    loop = Planned()
    begun: list[str] = []

    def fail() -> None:
        raise OSError("no descriptor is free")

    beginnings = loop.beginnings
    beginnings.later("SMGW001", fail)
    beginnings.later("SMGW002", lambda: begun.append("SMGW002"))
    for _, call in loop.calls:
        call()
    assert begun == ["SMGW002"]
    assert "SMGW001: no server" in caplog.text
