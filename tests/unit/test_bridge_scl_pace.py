"""A meter whose births differ all the time costs the control centres no new configuration each second."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine

from bridge.scl.pace import BURST, SECONDS, Pace
from bridge.scl.publication import Publication
from bridge.settings import BridgeSettings


def revisions(hours: int) -> int:
    """How many there are when each second something has changed."""
    pace, made = Pace(), 0
    for second in range(hours * 3600):
        if pace.wait(second) == 0:
            pace.made(second)
            made += 1
    return made


def test_a_burst_and_then_a_few_an_hour() -> None:
    assert revisions(1) <= BURST + 3600 / SECONDS + 1
    assert revisions(5) - revisions(4) <= 3600 / SECONDS + 1


def test_a_stock_comes_back_and_no_clock_that_stands_still_makes_one() -> None:
    pace = Pace()
    for _ in range(2 * BURST):
        pace.made(0.0)
    assert pace.wait(0.0) == SECONDS
    assert pace.wait(SECONDS) == 0
    assert pace.wait(0.0) == 0, "what was there once stays"


def test_a_change_waits_for_its_turn_and_a_new_connection_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    publication = Publication(create_engine("sqlite://"), BridgeSettings(), publish=lambda *_: None)
    waits = iter([0.01, 0.01, 0.0])
    monkeypatch.setattr(publication._pace, "wait", lambda _: next(waits))
    publication._all = False
    publication.changed()
    assert publication._due()
    assert next(waits, None) is None, "it asked until it may"
    publication.again()
    assert publication._due(), "it does not ask"
