"""One device's discovery message never costs the connection on which all others speak."""

from __future__ import annotations

import asyncio
import json

import aiomqtt
import pytest

from adapters.family import Step, Values
from adapters.settings import SourceSettings
from adapters.source import Source
from broker.mqtt.settings import MqttSettings
from tests.support.brokers import Broker

DEADLINE = 60.0


def announced(name: str, state: str) -> tuple[str, str]:
    """Topic and payload of a device's discovery message; its power is on the topic ``state``."""
    told = {"device": {"identifiers": [name]}, "device_class": "power", "unit_of_measurement": "W"}
    return f"homeassistant/sensor/{name}/config", json.dumps(told | {"state_topic": state})


@pytest.mark.parametrize(
    "state",
    ["evil/\x01", "evil/\x85", "evil/\ufffe", "/".join("a" * 250)],
    ids=("C0", "C1", "no char", "deep"),
)
async def test_a_topic_that_the_broker_refuses_costs_its_device_only(broker: Broker, state: str) -> None:
    told: list[Step] = []
    mqtt = MqttSettings(host=broker.host, port=broker.port)
    settings = SourceSettings(name="s", family="homeassistant")
    source = Source(settings, mqtt, lambda _, step: told.append(step))
    running = asyncio.create_task(source.run())
    try:
        async with asyncio.timeout(DEADLINE), aiomqtt.Client(broker.host, broker.port) as client:
            for name, topic in (("evil", state), ("good", "good/power")):
                await client.publish(*announced(name, topic), qos=1, retain=True)
            while not any(isinstance(step, Values) and step.key == "good" for step in told):
                await client.publish("good/power", "40", qos=1)
                await asyncio.sleep(0.2)
        assert source.aside.counts == {"topic is not allowed": 1}
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
