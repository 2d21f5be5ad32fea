"""What the page of health calls well, and what it says is to be looked at."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from broker.contract.fleet import Fleet
from broker.contract.messages import utc_now
from broker.contract.status import ServiceStatus
from broker.contract.topics import Topic
from broker.version import VERSION
from tests.support.bridges import TOPICS
from web.api.judgement import _RISING, BROKER_AWAY, NO_BRIDGE, findings, of_service
from web.live.hub import Hub
from web.live.services import LATELY_SECONDS, Services
from web.live.state import Live


def status(
    *, online: bool = True, session: str = "s", version: str = VERSION, **counters: int
) -> ServiceStatus:
    return ServiceStatus(online=online, version=version, session=session, ts=utc_now(), counters=counters)


class Clock:
    """Monotonic seconds that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def tell(services: Services, told: ServiceStatus, *, seconds: float = 0) -> None:
    later = told.model_copy(update={"ts": told.ts + timedelta(seconds=seconds)})
    services.take(Topic("service_status", "bridge"), later.payload(), retained=False)


def test_a_counter_counts_while_it_rises(clock: Clock) -> None:
    services = Services(Hub(), Fleet())
    for seconds, count in ((0, 100), (30, 100), (60, 103)):
        clock.now = seconds
        tell(services, status(limited=count), seconds=seconds / 1000)
    assert services.risen("bridge")["limited"] == 3
    clock.now = 70 + LATELY_SECONDS
    tell(services, status(limited=103), seconds=0.1)
    assert services.risen("bridge") == {}


def test_a_service_that_began_again_counts_from_its_begin(clock: Clock) -> None:
    services = Services(Hub(), Fleet())
    tell(services, status(limited=5))
    clock.now = 30
    tell(services, status(session="t", limited=9), seconds=1)
    assert services.risen("bridge") == {}, "nobody knows when those were"
    assert services.risen("mms") == {}
    clock.now = 60
    tell(services, status(session="t", limited=11), seconds=2)
    assert services.risen("bridge")["limited"] == 2


def test_a_service_that_is_well() -> None:
    assert of_service("bridge", status(limited=1_000_000, dead=7), {}) == []


@pytest.mark.parametrize("kind", _RISING)
def test_every_rising_counter_has_words_and_a_cure(kind: str) -> None:
    for counter, what, cure in _RISING[kind]:
        (found,) = of_service(f"{kind}-2", status(), {counter: 4})
        assert found.what == f"{what}: 4 in the last ten minutes"
        assert cure == found.cure
        assert cure
    assert of_service(kind, status(), {"received": 4}) == []


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (status(online=False, dead=4), "it does not run"),
        (status(version="0.0.1"), "version 0.0.1"),
        (status(audit_broken=1), "the audit has lost"),
        (status(waiting=5000), "5000 messages wait"),
        (status().model_copy(update={"warnings": ("a certificate ends",)}), "a certificate ends"),
    ],
)
def test_what_is_not_well(told: ServiceStatus, said: str) -> None:
    (found,) = of_service("bridge", told, {})
    assert found.what.startswith(said) or said in found.what
    assert found.cure or told.warnings


def test_no_broker_no_bridge_no_database() -> None:
    live = Live(TOPICS, Hub())
    assert findings(live, "ok") == {"broker": [BROKER_AWAY], "database": []}
    live.connected(True)
    assert findings(live, "ok") == {"broker": [], "database": [], "bridge": [NO_BRIDGE]}
    live.take(TOPICS.service_status("bridge"), status().payload(), retained=True)
    told = findings(live, "no such file")
    assert told["bridge"] == []
    assert "no such file" in told["database"][0].what
