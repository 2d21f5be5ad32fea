"""The leader's thread goes on, whatever its chores do."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import create_engine

from bridge.leader import Leader
from tests.support.bridges import eventually


def test_a_chore_that_fails_ends_neither_the_others_nor_the_thread(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.leader.POLL_SECONDS", 0.001)
    done: list[int] = []

    def bad() -> None:
        raise ValueError("a program's fault")

    engine = create_engine("sqlite://")
    leader = Leader(engine, gained=lambda: None, chores=[bad, lambda: done.append(1)])
    with caplog.at_level(logging.ERROR):
        leader.start()
        try:
            eventually(lambda: len(done) > 2)
            assert leader.leads
        finally:
            leader.stop()
            engine.dispose()
    assert leader.errors > 2
    assert caplog.text.count("a chore failed") == 1
