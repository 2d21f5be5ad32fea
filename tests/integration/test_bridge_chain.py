"""The bridge as a process, on a real Mosquitto and a real database, with meters that speak the contract."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from tests.support.bridges import (
    BIRTH,
    METER,
    OTHER,
    READING,
    TOPICS,
    Rig,
    birth,
    chain,
    command,
    eventually,
    reading,
    result,
    stamp,
)
from tests.support.brokers import Broker

pytest_plugins = ("tests.support.databases",)


@pytest.fixture
def rig(broker: Broker, sqlite_url: str) -> Iterator[Rig]:
    with chain(broker, sqlite_url) as running:
        yield running


def test_duplicates_are_stored_once_and_confirmed_again(rig: Rig) -> None:
    told = reading(1, power=5)
    rig.client.publish(READING, told, retain=True)
    eventually(lambda: rig.confirmed() == {1})
    rig.client.all.clear()
    rig.client.publish(READING, told)
    eventually(lambda: rig.confirmed() == {1})
    eventually(lambda: rig.client.counter("duplicate") == 1)
    meter = rig.meter()
    assert meter is not None
    assert [row.power for row in rig.store.readings(meter)] == [5.0]


def test_an_old_will_does_not_mark_a_new_session_offline(rig: Rig) -> None:
    def status(session: str, *, online: bool, outbox: int) -> str:
        return json.dumps({"online": online, "session": session, "ts": stamp(), "outbox": outbox})

    def seen() -> tuple[bool, int] | None:
        meter = rig.meter()
        return (meter.online, meter.outbox) if meter else None

    topic = TOPICS.meter(METER, "status")
    rig.client.publish(topic, status("s1", online=True, outbox=1))
    rig.client.publish(topic, status("s2", online=True, outbox=2))
    rig.client.publish(topic, status("s1", online=False, outbox=3))
    rig.client.publish(READING, reading(1))
    eventually(lambda: rig.stored(1))
    assert seen() == (True, 2)
    rig.client.publish(topic, status("s2", online=False, outbox=4))
    eventually(lambda: seen() == (False, 4))


def test_every_command_leaves_a_record(rig: Rig) -> None:
    to, back = TOPICS.meter(METER, "command"), TOPICS.meter(METER, "result")
    rig.client.publish(to, command("done"))
    rig.client.publish(back, result("done", "done"))
    rig.client.publish(to, command("done"))
    rig.client.publish(back, result("done", "refused", "repeated"))
    rig.client.publish(to, command("expired"))
    rig.client.publish(back, result("expired", "expired", "came too late"))
    rig.client.publish(to, command("retained"), retain=True)
    rig.client.publish(to, b"", retain=True)
    rig.client.publish(to, command("half", position="half"))
    rig.client.publish(back, result("half", "refused", "no such position"))
    rig.client.publish(back, result("unheard", "failed", "stuck"))
    refusal = {
        "meter_id": OTHER,
        "command": json.loads(command("offline")),
        "reason": "offline",
        "ts": stamp(),
    }
    rig.client.publish(TOPICS.refused("mms"), json.dumps(refusal))
    eventually(lambda: rig.store.command("offline"))
    ledger = {row.command_id: row for row in rig.store.commands()}
    assert {name: row.outcome for name, row in ledger.items()} == {
        "done": "done", "expired": "expired", "retained": "refused", "half": "refused", "unheard": "failed",
        "offline": "refused",
    }  # fmt: skip
    assert ledger["done"].repeats == 1
    assert (ledger["done"].origin_category, ledger["done"].origin_identifier) == (
        "remote-control",
        "operator",
    )
    assert "retained" in ledger["retained"].reason
    assert ledger["half"].reason == "position: Input should be 'open' or 'closed'"
    assert (ledger["offline"].meter_id, ledger["offline"].reason) == (OTHER, "offline")


def test_a_clean_stop_stores_what_it_received_and_says_offline(rig: Rig) -> None:
    rig.client.start_publishing((READING, reading(seq)) for seq in range(1, 1001))
    eventually(lambda: rig.stored(1))
    assert rig.bridge.stop() == 0
    eventually(lambda: not rig.client.online())
    counters = [rig.client.counter(name) for name in ("waiting", "stored", "duplicate")]
    assert counters == [0, len(rig.seqs()), 0], "what was received is stored, and told"
    rig.bridge.start()
    eventually(lambda: rig.seqs() == list(range(1, 1001)), what="the broker kept the rest")


def test_the_last_will_says_offline(rig: Rig) -> None:
    rig.bridge.kill()
    eventually(lambda: not rig.client.online())


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_stop_it(rig: Rig, signal_number: signal.Signals) -> None:
    assert rig.bridge.process is not None
    rig.bridge.process.send_signal(signal_number)
    assert rig.bridge.process.wait(60) == 0


def test_everything_works_on_mqtt_3_1_1(broker: Broker, sqlite_url: str) -> None:
    mqtt = {"port": broker.port, "version": 4}
    with chain(broker, sqlite_url, mqtt=mqtt) as rig:
        rig.client.publish(BIRTH, birth(), retain=True)
        rig.client.publish(READING, reading(1), retain=True)
        eventually(lambda: rig.confirmed() == {1})
        assert rig.wait_revision().meters == 1
        rig.client.publish(BIRTH, b"", retain=True)
        rig.wait_revision(lambda new: new.meters == 0)
        assert rig.dead() == [], "on 3.1.1 the bridge hears itself, and does not mind"


def test_the_same_chain_on_postgresql(broker: Broker, postgres_url: str) -> None:
    with chain(broker, postgres_url) as rig:
        rig.client.publish(BIRTH, birth(), retain=True)
        rig.client.publish(READING, reading(1), retain=True)
        rig.client.publish(READING, b"{")
        rig.client.publish(TOPICS.meter(METER, "command"), command("c-1"))
        eventually(lambda: rig.store.command("c-1"))
        assert (rig.seqs(), len(rig.dead())) == ([1], 1)
        assert rig.wait_revision().meters == 1
