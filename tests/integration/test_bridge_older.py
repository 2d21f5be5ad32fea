"""A broker that comes back older or empty: the registry takes nothing older, and repeats what is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.contract.messages import format_ts
from broker.mqtt.settings import MqttSettings
from tests.support.bridges import METER, OTHER, TOPICS, Client, Rig, birth, chain, eventually, reading, stamp
from tests.support.brokers import Broker, older_file

pytest_plugins = ("tests.support.databases",)

LONG = 60.0
"""Seconds for the bridge to connect again."""


def ago(seconds: float) -> str:
    return format_ts(datetime.now(UTC) - timedelta(seconds=seconds))


def status(session: str, *, online: bool = True, ts: str = "") -> str:
    return json.dumps({"online": online, "session": session, "ts": ts or stamp()})


def relay(position: str, operations: int, *, ts: str = "") -> str:
    return json.dumps({"position": position, "operations": operations, "ts": ts or stamp()})


def tell(client: Client, kind: str, payload: str, meter: str = METER) -> None:
    client.publish(TOPICS.meter(meter, kind), payload, retain=True)


@contextmanager
def running(
    broker: Broker, database_url: str, version: int = 5, *, repeat_after: float = 0.5
) -> Iterator[Rig]:
    """A bridge that repeats soon."""
    mqtt = MqttSettings.model_validate({"port": broker.port, "version": version})
    with chain(broker, database_url, mqtt=mqtt, repeat_after=repeat_after) as rig:
        yield rig


def known(rig: Rig, meter_id: str = METER) -> tuple[Any, ...]:
    meter = rig.meter(meter_id)
    if meter is None:
        return (None,) * 5
    return meter.name, meter.online, meter.relay, meter.blocked, meter.retired_at is not None


def retained(broker: Broker) -> dict[str, Any]:
    """kind → what is retained of the meter, and `OTHER` below its id."""
    with Client(broker) as client:
        client.publish("sm/v1/barrier", b"")
        eventually(lambda: "sm/v1/barrier" in client.latest, what="heard all that is retained")
        return {
            topic.removeprefix("sm/v1/").removeprefix(f"{METER}/"): json.loads(payload)
            for topic, payload in client.latest.items()
            if payload and "/scl/" not in topic
        }


@pytest.mark.parametrize("version", [4, 5])
def test_a_broker_with_an_older_file_is_not_believed_and_is_put_right(
    broker: Broker, database_url: str, version: int
) -> None:
    with running(broker, database_url, version) as rig:
        for kind, payload in (
            ("birth", birth(name="Old", session="s1")),
            ("status", status("s1")),
            ("relay", relay("closed", 0)),
            ("access", json.dumps({"allowed": False, "reason": "stolen", "ts": stamp()})),
            ("reading", reading(1)),
        ):
            tell(rig.client, kind, payload)
        tell(rig.client, "birth", birth(hardware={"serial": "2"}), OTHER)
        eventually(lambda: rig.meter(OTHER) and rig.stored(1) and known(rig)[3] == "stolen")
        with older_file(broker):
            for kind, payload in (
                ("birth", birth(name="New", session="s2")),
                ("status", status("s2")),
                ("relay", relay("open", 1)),
                ("access", json.dumps({"allowed": True, "ts": stamp()})),
                ("reading", reading(2)),
                ("status", status("s2", online=False)),
            ):
                tell(rig.client, kind, payload)
            tell(rig.client, "birth", "", OTHER)
            last = ("New", False, "open", "", False)
            eventually(lambda: known(rig) == last and rig.stored(2) and known(rig, OTHER)[4])
        wanted = {
            "birth": ("name", "New"), "status": ("session", "s2"), "relay": ("position", "open"),
            "reading": ("seq", 2),
        }  # fmt: skip

        def right() -> bool:
            found = retained(broker)
            return (
                f"{OTHER}/birth" not in found
                and not found["status"]["online"]
                and all(
                    found.get(kind, {}).get(name) == value and found[kind]["repeated"]
                    for kind, (name, value) in wanted.items()
                )
            )

        eventually(right, seconds=LONG, what="the broker has what the registry has")
        assert (known(rig), known(rig, OTHER)[4]) == (last, True)


@pytest.mark.parametrize("version", [4, 5])
def test_a_meter_whose_clock_was_set_back_is_taken(broker: Broker, database_url: str, version: int) -> None:
    """Its messages are live: their times do not matter.

    Nothing is repeated meanwhile: a real meter would have published its status behind its old session's will.
    """
    with running(broker, database_url, version, repeat_after=3600) as rig:
        for kind, payload in (
            ("birth", birth(session="s1")),
            ("status", status("s1")),
            ("relay", relay("open", 1)),
            ("birth", birth(name="Back", session="s2", ts=ago(3600))),
            ("status", status("s2", ts=ago(3600))),
            ("relay", relay("closed", 1, ts=ago(3600))),
        ):
            tell(rig.client, kind, payload)
        eventually(lambda: known(rig) == ("Back", True, "closed", "", False))
        tell(rig.client, "status", status("s1", online=False, ts=ago(60)))  # the old session's will
        tell(rig.client, "relay", relay("open", 1, ts=ago(7200)))
        tell(rig.client, "birth", birth(hardware={"serial": "2"}), OTHER)
        eventually(lambda: rig.meter(OTHER))
        assert known(rig) == ("Back", True, "closed", "", False)


def test_what_a_meter_says_itself_stays_when_the_bridge_repeats(broker: Broker, database_url: str) -> None:
    """The broker lost all; one meter is back at once, and another one stays away."""
    with running(broker, database_url) as rig:
        for meter, serial in ((METER, "1"), (OTHER, "2")):
            tell(rig.client, "birth", birth(session="s1", hardware={"serial": serial}), meter)
            tell(rig.client, "status", status("s1"), meter)
        eventually(lambda: rig.meter(OTHER) and known(rig, OTHER)[1])
        broker.kill()
        broker.config.with_name("mosquitto.db").unlink(missing_ok=True)
        broker.start()
        with Client(broker) as back:
            tell(back, "birth", birth(session="s2"))
            tell(back, "status", status("s2"))
            away = f"{OTHER}/status"
            eventually(lambda: away in retained(broker), seconds=LONG, what="the other one is repeated")
            found = retained(broker)
        assert (found[away]["online"], found[away]["repeated"]) == (False, True)
        assert found[f"{OTHER}/birth"]["repeated"] is True
        assert (found["status"]["online"], found["status"]["session"]) == (True, "s2")
        assert "repeated" not in found["birth"]
        eventually(lambda: not known(rig, OTHER)[1], what="who died with the broker is offline")
        assert known(rig)[1]
