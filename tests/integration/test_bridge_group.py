"""Several bridges on one shared subscription and one PostgreSQL: they share, and one takes over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from bridge.settings import BridgeSettings
from bridge.store import Store
from broker.messages import ServiceStatus
from broker.settings import MqttSettings
from meter_firmware import simulate
from meter_firmware.settings import OutboxSettings, SimulateSettings
from tests.bridges import TOPICS, BridgeProcess, Client, bridge, eventually
from tests.brokers import Broker

pytest_plugins = ("tests.databases",)

METERS = 4


@contextmanager
def simulated(broker: Broker, folder: Path, *, first: int, count: int) -> Iterator[None]:
    """Meters that take ten readings a second and send again what is not confirmed in half a second."""
    settings = SimulateSettings(
        n=count,
        first=first,
        interval=0.1,
        data_dir=folder / "meters",
        outbox=OutboxSettings(resend_after=0.5),
        mqtt=MqttSettings(port=broker.port, keepalive=2),
    )
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(simulate.run(settings, stop=stop),))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def status(client: Client, instance: str) -> ServiceStatus | None:
    """What that bridge tells."""
    payload = client.latest.get(TOPICS.service_status(f"bridge_{instance}"))
    return ServiceStatus.model_validate_json(payload) if payload else None


def counter(client: Client, instance: str, name: str) -> int:
    """One of its counters; −1 before it has told any."""
    told = status(client, instance)
    return told.counters.get(name, -1) if told else -1


def seqs(store: Store) -> dict[str, list[int]]:
    """The stored readings of every meter."""
    return {state.meter.name: [row.seq for row in store.readings(state.meter)] for state in store.meters()}


def whole(rows: dict[str, list[int]], *, meters: int) -> bool:
    """Whether so many meters have readings without a hole."""
    return len(rows) == meters and all(row == list(range(1, len(row) + 1)) for row in rows.values())


def test_two_share_one_is_killed_and_the_other_takes_over(
    broker: Broker, postgres_url: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        running: dict[str, BridgeProcess] = {}
        for instance in ("a", "b"):
            started = bridge(broker, postgres_url, group="town", instance=instance)
            running[instance] = stack.enter_context(started)
        client = stack.enter_context(Client(broker))
        eventually(lambda: all(status(client, i) for i in running), what="both are online")
        with simulated(broker, tmp_path, first=1, count=METERS):
            eventually(lambda: min(counter(client, i, "stored") for i in running) > 20, what="both store")
            leaders = [i for i in running if counter(client, i, "leads") == 1]
            assert len(leaders) == 1
            (leader,) = leaders
            (other,) = running.keys() - leaders
            running[leader].kill()
            eventually(lambda: counter(client, other, "leads") == 1, what="the other leads", seconds=5.0)
            with simulated(broker, tmp_path, first=METERS + 1, count=1):
                revision = TOPICS.revision
                expected = b'"meters":%d' % (METERS + 1)
                eventually(
                    lambda: expected in client.latest.get(revision, b""), what="the SCD has the new one"
                )
        store = stack.enter_context(Store.open(postgres_url))
        before = {name: row[-1] for name, row in seqs(store).items()}
        with simulated(broker, tmp_path, first=1, count=METERS + 1):
            eventually(
                lambda: (
                    whole(rows := seqs(store), meters=METERS + 1)
                    and all(rows[name][-1] > last for name, last in before.items())
                ),
                what="every reading is stored, without a hole",
            )


def test_no_bridge_of_a_group_hears_what_the_others_say(
    broker: Broker, postgres_url: str, tmp_path: Path
) -> None:
    """Each reading is answered with `stored`: to hear those too would double the work of both."""
    with ExitStack() as stack:
        for instance in ("a", "b"):
            stack.enter_context(bridge(broker, postgres_url, group="town", instance=instance))
        client = stack.enter_context(Client(broker))
        eventually(lambda: all(status(client, i) for i in ("a", "b")), what="both are online")
        with simulated(broker, tmp_path, first=1, count=METERS):
            eventually(lambda: min(counter(client, i, "stored") for i in ("a", "b")) > 50, what="both store")
        for instance in ("a", "b"):
            told = status(client, instance)
            assert told is not None
            others = told.counters["received"] - told.counters["stored"] - told.counters["duplicate"]
            assert others < told.counters["stored"] / 2, told.counters


def test_a_group_needs_postgresql() -> None:
    with pytest.raises(ValidationError, match="one PostgreSQL"):
        BridgeSettings(group="town", database_url="sqlite:///x.sqlite")
