"""The bridge as a process of its own, and an MQTT client that plays its meters, for tests.

>>> with chain(broker, url) as rig:  # doctest: +SKIP
...     rig.client.publish(READING, reading(1))
...     eventually(lambda: rig.stored(1))
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from bridge.settings import BridgeSettings
from bridge.store.queries import Store
from bridge.store.tables import DeadLetter, Meter
from broker.contract.messages import format_ts
from broker.contract.reading import Stored
from broker.contract.status import Revision, ServiceStatus
from broker.contract.topics import Topics
from broker.mqtt.settings import MqttSettings
from tests.support.brokers import Broker
from tests.support.forked import Forked

DEADLINE = 60.0
"""Seconds that anything may take that a test waits for."""

TOPICS = Topics("sm/v1")

T = TypeVar("T")


def eventually(condition: Callable[[], T], *, what: str = "", seconds: float = DEADLINE) -> T:
    """The first true value of ``condition``; AssertionError when none comes within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"did not happen within {seconds} s: {what or condition}"
        time.sleep(0.02)
    return value


class Client:
    """An MQTT client that publishes at QoS 1 and remembers the latest message of every topic."""

    def __init__(self, broker: Broker) -> None:
        self.latest: dict[str, bytes] = {}
        self.all: list[tuple[str, bytes]] = []
        self._ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.max_inflight_messages_set(1000)
        self._client.on_socket_open = lambda _client, _user, sock: _no_delay(sock)
        self._client.on_connect = lambda client, *_: client.subscribe(TOPICS.everything, qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _client, _user, message: self._take(message)
        self._broker = broker

    def __enter__(self) -> Self:
        self._client.connect(self._broker.host, self._broker.port)
        self._client.loop_start()
        assert self._ready.wait(DEADLINE)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, message: mqtt.MQTTMessage) -> None:
        payload = bytes(message.payload)
        self.latest[message.topic] = payload
        self.all.append((message.topic, payload))

    def publish(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        """Publish, and wait until the broker has it."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(DEADLINE)

    def start_publishing(self, messages: Iterable[tuple[str, str]]) -> None:
        """Publish many (topic, payload) without waiting for the broker."""
        for topic, payload in messages:
            self._client.publish(topic, payload, qos=1)

    def status(self) -> ServiceStatus | None:
        """The bridge's latest status."""
        payload = self.latest.get(TOPICS.service_status("bridge"))
        return ServiceStatus.model_validate_json(payload) if payload else None

    def counter(self, name: str) -> int:
        """A counter of the bridge's latest status; −1 before the first."""
        status = self.status()
        return status.counters.get(name, -1) if status else -1

    def online(self) -> bool:
        """True when the bridge says that it is there."""
        status = self.status()
        return status is not None and status.online


def _no_delay(sock: Any) -> None:
    """Do not let Nagle's algorithm wait for the broker's delayed acknowledgement."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@dataclass
class BridgeProcess:
    """The bridge; ``kill`` and ``start`` as often as a test likes."""

    settings: BridgeSettings
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start the process; it connects when it is ready."""
        settings = self.settings.model_dump_json()
        with self.log.open("ab") as log:
            self.process = Forked("tests.support.bridge_process", settings, stdout=log, stderr=log)

    def kill(self) -> None:
        """``kill -9``."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(DEADLINE)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(DEADLINE)


@contextmanager
def bridge(broker: Broker, database_url: str, **settings: object) -> Iterator[BridgeProcess]:
    """A running bridge, ended at the end."""
    made = BridgeSettings.model_validate(
        {"mqtt": MqttSettings(port=broker.port), "database_url": database_url, "status_seconds": 0.1}
        | {"clock_synchronized": True}
        | {"alarm_settle": 3600.0}  # what a slow test meets after 90 s is not its subject
        | settings
    )
    running = BridgeProcess(made, broker.config.parent / "bridge.log")
    running.start()
    try:
        yield running
    finally:
        running.kill()


METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
OTHER = "3f2504e0-4f89-41d3-9a0c-0305e82c3302"
READING = TOPICS.meter(METER, "reading")
BIRTH = TOPICS.meter(METER, "birth")


def not_at_midnight() -> bool:
    """Whether the UTC day has a minute left: what is told of today can be told."""
    return (datetime.now(UTC) + timedelta(minutes=1)).date() == datetime.now(UTC).date()


def stamp(**ahead: float) -> str:
    """Now, or as much later, as the contract writes it."""
    return format_ts(datetime.now(UTC) + timedelta(**ahead))


def reading(seq: int, **others: object) -> str:
    """A good reading, but for ``others``."""
    return json.dumps({"epoch": 1, "seq": seq, "ts": stamp(), "voltage": 231.2} | others)


def birth(**others: object) -> str:
    """A good birth, but for ``others``."""
    hardware = {"vendor": "Peacefair", "model": "PZEM-004T", "serial": "1"}
    values = {
        "name": "House 7",
        "hardware": hardware,
        "firmware": "1",
        "interval": 10,
        "session": "s1",
        "ts": stamp(),
    }
    return json.dumps(values | others)


def command(command_id: str, **others: object) -> str:
    """A good command, but for ``others``."""
    origin = {"category": "remote-control", "identifier": "operator"}
    values = {
        "command_id": command_id,
        "position": "open",
        "issued_at": stamp(),
        "expires_at": stamp(seconds=50),  # a meter obeys none that is valid for more than 60 s
    }
    return json.dumps(values | {"origin": origin} | others)


def result(command_id: str, outcome: str, reason: str = "") -> str:
    """A meter's answer."""
    return json.dumps({"command_id": command_id, "outcome": outcome, "reason": reason, "ts": stamp()})


@dataclass
class Rig:
    """Broker, bridge, database and a client."""

    broker: Broker
    bridge: BridgeProcess
    store: Store
    client: Client

    def meter(self, meter_id: str = METER) -> Meter | None:
        """The registry's row, if there is one."""
        return next((s.meter for s in self.store.meters(retired=True) if s.meter.meter_id == meter_id), None)

    def seqs(self, meter_id: str = METER) -> list[int]:
        """Stored readings of a meter."""
        meter = self.meter(meter_id)
        return [row.seq for row in self.store.readings(meter)] if meter else []

    def stored(self, seq: int) -> bool:
        """True when ``seq`` is in the database."""
        return seq in self.seqs()

    def dead(self) -> list[DeadLetter]:
        """The dead letters."""
        return self.store.dead_letters()

    def revision(self) -> Revision | None:
        """The revision that the broker retains."""
        payload = self.client.latest.get(TOPICS.revision)
        return Revision.model_validate_json(payload) if payload else None

    def wait_revision(self, condition: Callable[[Revision], bool] = lambda _: True) -> Revision:
        """The revision, once there is one that meets ``condition``."""
        found = eventually(lambda: (new := self.revision()) and condition(new) and new, what="revision")
        assert isinstance(found, Revision)
        return found

    def confirmed(self) -> set[int]:
        """Readings of the meter's epoch 1 that the bridge said are safe."""
        told = [payload for topic, payload in self.client.all if topic == TOPICS.meter(METER, "stored")]
        ranges = [Stored.model_validate_json(payload) for payload in told]
        return {seq for told in ranges for seq in range(told.first, told.seq + 1)}


@contextmanager
def chain(broker: Broker, database_url: str, **settings: object) -> Iterator[Rig]:
    """A running bridge with everything around it."""
    with bridge(broker, database_url, **settings) as running, Client(broker) as client:
        eventually(client.online, what="the bridge says that it is online")
        with Store.open(database_url) as store:
            yield Rig(broker, running, store, client)
