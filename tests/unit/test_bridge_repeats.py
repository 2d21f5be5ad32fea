"""When the bridge looks at what a broker has lost: also while messages come all the time."""

from __future__ import annotations

import threading
from itertools import count

import pytest
from sqlalchemy import create_engine

from bridge.ingest.repeats import Repeats
from broker.mqtt.settings import MqttSettings


def test_it_looks_although_something_is_always_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that it asks, one message more has come, and one more is done; some always wait."""
    looked, done = threading.Event(), count()

    async def look(_repeats: Repeats) -> None:
        looked.set()

    monkeypatch.setattr(Repeats, "_look", look)
    repeats = Repeats(
        create_engine("sqlite://"),
        MqttSettings(),
        after=0.01,
        leads=lambda: True,
        taken=lambda: next(done) + 3,
        through=lambda: next(done),
    )
    repeats.start()
    repeats.again()
    try:
        assert looked.wait(60.0)
    finally:
        repeats.stop()
