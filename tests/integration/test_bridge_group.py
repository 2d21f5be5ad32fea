"""Several bridges on one shared subscription and one PostgreSQL: they share, and one takes over."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from bridge.leader import Leader
from bridge.settings import BridgeSettings
from bridge.store import database
from bridge.store.queries import Store
from broker.contract.status import ServiceStatus
from broker.mqtt.settings import MqttSettings
from meter_firmware import simulate
from meter_firmware.settings import OutboxSettings, SimulateSettings
from tests.support.bridges import METER, TOPICS, BridgeProcess, Client, bridge, command, eventually, result
from tests.support.brokers import Broker

pytest_plugins = ("tests.support.databases",)

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
            leaders = eventually(lambda: [i for i in running if counter(client, i, "leads") == 1])
            assert len(leaders) == 1
            (leader,) = leaders
            (other,) = running.keys() - leaders
            running[leader].kill()
            eventually(lambda: counter(client, other, "leads") == 1, what="the other leads")
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
        told = {instance: status(client, instance) for instance in ("a", "b")}
        services = sum("/service/" in topic for topic, _ in client.all)  # they hear those of both
        for one in told.values():
            assert one is not None
            others = one.counters["received"] - one.counters["stored"] - one.counters["duplicate"]
            assert others - services < one.counters["stored"] / 2, one.counters


def test_a_command_is_in_the_ledger_whichever_bridge_dies(broker: Broker, postgres_url: str) -> None:
    """No outbox keeps a command or its result: on its way to one bridge alone it would be lost with it."""
    topic, answer = TOPICS.meter(METER, "command"), TOPICS.meter(METER, "result")
    with ExitStack() as stack:
        started = {
            instance: stack.enter_context(bridge(broker, postgres_url, group="town", instance=instance))
            for instance in ("a", "b")
        }
        client = stack.enter_context(Client(broker))
        eventually(lambda: all(status(client, i) for i in started), what="both are online")
        eventually(lambda: sum(counter(client, i, "leads") for i in started) == 1)
        store = stack.enter_context(Store.open(postgres_url))
        client.publish(topic, command("once"))
        client.publish(topic, command("twice"))
        client.publish(topic, command("twice"))
        eventually(lambda: min(counter(client, i, "commands") for i in started) == 3, what="both heard all")
        assert {row.command_id: row.repeats for row in store.commands()} == {"once": 0, "twice": 1}
        for process in started.values():
            assert process.process is not None
            process.process.send_signal(signal.SIGSTOP)
        for number in range(6):
            client.publish(topic, command(f"c{number}"))
            client.publish(answer, result(f"c{number}", "done"))
        started["a"].kill()
        assert started["b"].process is not None
        started["b"].process.send_signal(signal.SIGCONT)
        eventually(
            lambda: sum(row.outcome == "done" for row in store.commands()) == 6, what="all are in the ledger"
        )


def test_who_loses_the_lock_is_told_before_it_leads_again(postgres_url: str) -> None:
    """The database ended its connection, as after a cut: another bridge may lead, and publish, already."""
    told: list[str] = []
    engine = database.connect(postgres_url)
    leader = Leader(engine, gained=lambda: told.append("gained"), lost=lambda: told.append("lost"), chores=[])
    leader.start()
    try:
        eventually(lambda: told == ["gained"])
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 61851"
            )
        eventually(lambda: told == ["gained", "lost", "gained"])
    finally:
        leader.stop()
        engine.dispose()
    assert told == ["gained", "lost", "gained"]


def test_the_server_looks_after_a_client_that_may_be_dead(postgres_url: str) -> None:
    """A host without power says no goodbye: by default its locks would be held for two hours."""
    engine = database.connect(postgres_url)
    with engine.connect() as connection:
        names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
        rows = connection.exec_driver_sql("SELECT name, setting FROM pg_settings WHERE name LIKE 'tcp_%%'")
        told = {name: int(setting) for name, setting in rows}
    engine.dispose()
    assert [told[name] for name in names] == [10, 5, 3, 30_000]


def test_a_group_needs_postgresql() -> None:
    with pytest.raises(ValidationError, match="one PostgreSQL"):
        BridgeSettings(group="town", database_url="sqlite:///x.sqlite")
