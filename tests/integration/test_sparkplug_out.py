"""``meter61850 sparkplug run`` over a real Mosquitto: births, readings, rebirth, no commands, both deaths."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from adapters.family import Outgoing, Point, Values
from broker.contract.birth import Birth, Hardware
from broker.contract.messages import Message, utc_now
from broker.contract.reading import Reading
from broker.contract.relay import Position, Relay
from broker.contract.status import Status
from broker.contract.topics import Topics
from tests.support.brokers import Broker, mosquitto
from tests.support.chain import until
from tests.support.cli import environment
from tests.support.sparkplug_host import LiveHost, listening

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
KEY = f"Village/office/{METER}"


class House:
    """A meter that publishes as the contract says."""

    def __init__(self, broker: Broker) -> None:
        self._start = utc_now().replace(microsecond=0) - timedelta(seconds=5)  # now: the suite takes long
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()

    def say(self, kind: str, message: Message) -> None:
        topic = Topics("sm/v1").meter(METER, kind)
        self._client.publish(topic, message.payload(), qos=1, retain=True).wait_for_publish(60)

    def born(self) -> None:
        hardware = Hardware(vendor="XMX", model="M1", serial="77")
        names = ("power_l1", "energy_import")
        birth = Birth(
            name="House 1",
            hardware=hardware,
            firmware="1",
            quantities=names,
            interval=600,
            session="s",
            ts=self._start,
        )
        self.say("birth", birth)
        self.say("status", Status(online=True, session="s", ts=self._start))
        self.say("relay", Relay(position=Position.CLOSED, operations=0, ts=self._start))

    def read(self, seq: int, **values: float) -> Values:
        ts = self._start + timedelta(seconds=seq)
        self.say("reading", Reading(epoch=1, seq=seq, ts=ts, **values))
        return Values(KEY, dict(values), ts)

    def leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def running(source: Broker, target: Broker, folder: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """The program; it is ended in any case."""
    where = ("--mqtt", f"{source.host}:{source.port}", "--target", f"{target.host}:{target.port}")
    name = ("--group", "Village", "--node", "office", "--data-dir", str(folder))
    program = subprocess.Popen(
        [sys.executable, "-P", "-m", "admin", "sparkplug", "run", *where, *name, *more], env=environment()
    )
    try:
        yield program
    finally:
        program.kill()
        program.wait(60)


def test_our_meters_at_a_host_on_another_broker(broker: Broker, tmp_path: Path) -> None:
    house = House(broker)
    other = tmp_path / "other"
    other.mkdir()
    with mosquitto(other) as target, listening(target.port) as host:
        house.born()
        first = house.read(1, power_l1=-5.5, energy_import=1000.0)
        with running(broker, target, tmp_path, "--host", "scada") as program:
            until(lambda: first in host.values(), why="the birth has the retained reading")
            point = next(step for step in host.steps if isinstance(step, Point))
            assert (point.key, point.vendor, point.switch) == (KEY, "XMX", True)
            second = house.read(2, power_l1=7.25)
            until(lambda: second in host.values(), why="a reading arrives")
            _ask_for_a_birth(host)
            _a_command_does_nothing(host, house, broker)
            program.kill()
            until(lambda: host.online()[-1] is False, why="the will says that the node is dead")
        with running(broker, target, tmp_path) as program:
            until(lambda: host.online()[-1] is True, why="the new session is born")
            assert json.loads((tmp_path / "sparkplug-Village-office.json").read_text())["bdSeq"] >= 1
            program.send_signal(signal.SIGTERM)
            assert program.wait(60) == 0
            until(lambda: host.online()[-1] is False, why="a clean stop says so, too")
    house.leave()


def _ask_for_a_birth(host: LiveHost) -> None:
    """The node's, and then the meter's: before it the host takes the meter for offline, and refuses."""
    births, online = host.topics.count("spBv1.0/Village/NBIRTH/office"), len(host.online())
    host.act(host.family.ask(KEY, now=1e9))
    until(lambda: host.topics.count("spBv1.0/Village/NBIRTH/office") > births, why="a birth on request")
    until(lambda: len(host.online()) > online, why="the meter's birth follows")
    assert host.online()[-1]


def _a_command_does_nothing(host: LiveHost, house: House, broker: Broker) -> None:
    """The relay's command topic stays empty, and the node goes on."""
    heard: list[str] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    subscribed: list[bool] = []
    client.on_subscribe = lambda *_: subscribed.append(True)
    client.on_message = lambda _client, _data, message: heard.append(message.topic)
    client.connect(broker.host, broker.port)
    client.subscribe(f"sm/v1/{METER}/command", qos=1)
    client.loop_start()
    until(lambda: subscribed, why="the command topic is heard")
    told = host.family.switch(KEY, Position.OPEN, token="c1", now=0.0)
    assert any(isinstance(step, Outgoing) for step in told)
    host.act(told)
    third = house.read(3, power_l1=8.0)
    until(lambda: third in host.values(), why="the node goes on")
    client.loop_stop()
    client.disconnect()
    assert heard == []
